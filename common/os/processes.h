// Children, as the agent sees them: they belong to the warden, are named by id, and outlive us.
// Implemented by agent/warden/warden_client.c and by the simulator.
//
// Every call may come from any thread and returns by its deadline. ERR_UNAVAILABLE: the warden is
// not there, nothing was done. ERR_UNCERTAIN: sent, not answered. ERR_INVALID: refused, text says
// why.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/time.h"

#include <stddef.h>
#include <stdint.h>

#define CHILD_ID_SIZE   32         // with NUL
#define FENCE_NOTE_SIZE 257        // with NUL
#define CHILD_POSTGRES  "postgres" // the id of the postmaster

typedef struct {
    const char *id;          // free while no running child has it
    const char *const *argv; // NULL-terminated; argv[0] is searched in PATH
    const char *const *env;  // NULL-terminated "K=V", the whole environment
    const char *cwd;         // NULL: "/"
    const char *stdin_text;  // NULL: /dev/null
    bool postmaster;         // its output is inherited; it is what the fence kills
} SpawnRequest;

typedef struct {
    char id[CHILD_ID_SIZE];
    bool running;
    bool postmaster;
    int32_t pid;    // in the warden's pid namespace: for logs only
    int32_t status; // wait status, once not running
    Instant started_at, exited_at;
} ChildView;

typedef struct {
    bool connected;   // a warden is attached
    bool replaced;    // a newer agent took our place: exit, touch nothing
    bool terminating; // it was told to stop: hand over
    uint64_t epoch;
    bool fence_armed;
    bool fence_weak; // adopted postmaster: no parent-death signal until its first restart
    Instant quit_at, kill_at;
    char note[FENCE_NOTE_SIZE]; // the last fence's or unfence's note
    uint64_t fenced_count;      // how often the deadline struck since we attached
    Instant fenced_at;          // the last time
    bool remains; // processes of the data directory exist, a running postmaster's included
    size_t child_count;
    ChildView children[16];
} WardenView;

typedef struct {
    int32_t status;     // wait status
    const char *output; // standard output and error, the last 64 KiB, NUL-terminated
} ChildExit;

typedef struct Processes Processes;

typedef struct {
    void (*view)(Processes *processes, WardenView *out); // never blocks
    bool (*spawn)(Processes *processes, const SpawnRequest *request, Deadline deadline, Error *err);
    bool (*signal)(Processes *processes, const char *id, int signal, Deadline deadline, Error *err);
    // Postmaster started by somebody else; start_time is field 22 of /proc/<pid>/stat.
    bool (*adopt)(Processes *processes, int32_t pid, uint64_t start_time, Deadline deadline,
                  Error *err);
    bool (*fence)(Processes *processes, Instant quit_at, Instant kill_at, const char *note,
                  Deadline deadline, Error *err);
    // Refused while a postmaster runs that might be writing, unless sure is said by the caller:
    // it was started with standby.signal and no promote was sent to it.
    bool (*unfence)(Processes *processes, const char *note, bool sure, Deadline deadline,
                    Error *err);
    // Blocks until the child with this id has exited (or is not known: ERR_INVALID).
    bool (*wait)(Processes *processes, Arena *arena, const char *id, Deadline deadline,
                 ChildExit *out, Error *err);
} ProcessesOps;

struct Processes {
    const ProcessesOps *ops; // first member of every implementation's own struct
};
