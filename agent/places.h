// The agent's own places: state directory, run directory, the lock on the data directory, and who
// we are beyond our name: docs/operating.md, "Places"; docs/store.md, "The term record".
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/model/settings.h"

typedef struct {
    const char *state_dir; // 0700, exists
    const char *run_dir;
    const char *socket;   // of the warden
    bool external_warden; // somebody else keeps it: howdah.socket is an absolute path
    const char *warden;   // program
    // "<boot id>/<device and inode of the state directory>", in a pod "/<pod_id>"
    const char *instance;
    const char *pod_id; // NULL: not in a pod
    int lock_fd;        // held until the process ends: two agents on one data directory
} Places;

// Makes what is missing. ERR_CONFLICT: another agent has the lock.
bool places_open(Arena *arena, const Settings *settings, Places *out, Error *err) MUST_CHECK;
// PostgreSQL was stopped and this pod ends: the one that gets its volume may go on in its place.
void places_pass_on(const Places *places);
