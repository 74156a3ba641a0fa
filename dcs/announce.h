// Telling the world outside of the store what has become of a cluster: labels on its Services, and
// Events. It never blocks, and never fails as far as the teller knows: whoever implements it has a
// thread of its own, tries again, and says in the log what cannot be had. docs/kubernetes.md,
// "Watch".
#pragma once
#include "common/model/signs.h"

#include <stdbool.h>

typedef struct {
    const char *reason;  // "Promoted"
    const char *message; // for people
    bool warning;
    bool of_cluster; // concerns the Service too, not this member alone
    int64_t wall_us; // when it happened
} Announcement;

// Our own pod, as the API server said it when it was asked last.
typedef enum { POD_NOT_KNOWN, POD_STAYS, POD_GOES } PodFate;

typedef struct Announcer Announcer;

typedef struct {
    // These four by one thread, the turn's. Everything is copied.
    // The latest wins. NULL: it is not ours to say any more, also what has not been written yet.
    void (*show)(Announcer *, const ClusterSigns *);
    void (*event)(Announcer *, const Announcement *); // the oldest goes when there are too many
    // Asks whether our pod is being deleted; until the answer is there its fate is not known.
    void (*ask_fate)(Announcer *);
    PodFate (*fate)(Announcer *);
    void (*free)(Announcer *); // what was told last is tried once more, for at most a second
} AnnouncerOps;

struct Announcer {
    const AnnouncerOps *ops; // first member of every implementation's own struct
};

static inline void announcer_free(Announcer *announcer)
{
    if (announcer != NULL)
        announcer->ops->free(announcer);
}
