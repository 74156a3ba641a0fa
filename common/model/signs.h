// A cluster in short, as it is shown outside of the store: labels on its Services.
// docs/kubernetes.md, "Watch".
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
    SIGN_NO_LEADER,    // nobody leads, nor is anybody about to
    SIGN_FAILING_OVER, // the lease changes hands, or its holder does not serve yet
    SIGN_DEGRADED,     // served, but by fewer than there should be
    SIGN_HEALTHY,
    SIGN_PAUSED,
    SIGN_NOT_KNOWN, // a Patroni member leads: who it is, is all that others know
    SIGN_STATE_COUNT
} SignState;

typedef enum {
    SIGN_SYNC_OFF,
    SIGN_SYNC_ON,
    SIGN_SYNC_STRICT,
    SIGN_SYNC_QUORUM,
    SIGN_SYNC_COUNT
} SignSync;

// All zero is a cluster without a leader.
typedef struct {
    SignState state;
    SignSync sync;      // as it is in force, not as it is asked for; nothing while not known
    const char *leader; // NULL: nobody
    uint32_t timeline;  // 0: not known
    size_t replicas;    // members that stream from the leader; nothing while not known
} ClusterSigns;

const char *sign_state_name(SignState state); // "no-leader", "failing-over", …; NULL: not known
const char *sign_sync_name(SignSync sync);    // "off", …
