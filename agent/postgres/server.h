// The local PostgreSQL, as the turn drives it. Implemented by agent/postgres/local_server.c over
// the warden, libpq and the disk thread, and by the simulator.
//
// observe() is the only call that may wait, and for at most its deadline, on our own connection to
// our own server. Everything long or that touches the data volume is a task: begun, then seen in
// ServerView.task. One at a time; its absence after a crash of the agent is a normal state.
#pragma once
#include "common/model/server_view.h"
#include "common/model/settings.h"

typedef struct {
    const char *member; // NULL: follow nobody
    const char *host;
    int port;
    const char *slot; // primary_slot_name; NULL: none
    const char *conn_url;
    bool checkpoint_pending; // the leader has not yet written its timeline to its control file
} Upstream;

typedef struct {
    TaskKind kind;
    Upstream upstream;        // START_STANDBY, FOLLOW, CLONE, CHECK_DIVERGENCE, REWIND
    StopMode stop_mode;       // STOP
    bool checkpoint_first;    // STOP: CHECKPOINT before the signal, outside the outage
    uint32_t reserve_through; // PROMOTE: no timeline up to this one may be taken again
    const char *clone_method; // CLONE: NULL tries the configured ones in order
    bool keep_running;        // RELOAD while it runs; else only the files are written
    // CLONE, REWIND, CHECK_DIVERGENCE: the cluster's; an upstream with another one is refused.
    // NULL: not known.
    const char *system_identifier;
} ServerTask;

typedef struct Server Server;

typedef struct {
    // Facts; silence is one. Runs the monitoring query when the postmaster is there. The strings of
    // *out live in the arena. warden is the current view of the warden.
    void (*observe)(Server *, Arena *, Deadline, ServerView *out);
    // ERR_CONFLICT: another task runs. The task's strings are copied.
    bool (*begin)(Server *, const ServerTask *, Error *);
    // Asks the running task to stop: its children get SIGTERM, then SIGKILL. It ends with ok false.
    void (*cancel)(Server *);
    // New settings, copied: what differs in the files is written by the next task that writes them.
    void (*configure)(Server *, const Settings *);
    // Physical replication slots, by one query a step. False: one of them failed, *err says which;
    // the others were tried all the same.
    bool (*sync_slots)(Server *, const SlotStep *steps, size_t count, Deadline, Error *);
    int (*event_fd)(Server *); // readable when a task has ended; read it to clear
    void (*free)(Server *);
} ServerOps;

struct Server {
    const ServerOps *ops; // first member of every implementation's own struct
};
