// The inside of local_server.c, shared by the files of this room and nobody else.
//
// Two threads: the turn's calls the ServerOps; the disk thread runs tasks, one at a time, and small
// jobs between them. What both see is under lock, and copied out.
#pragma once
#include "agent/postgres/control_data.h"
#include "agent/postgres/disk.h"
#include "agent/postgres/local_server.h"
#include "agent/postgres/pg_conn.h"
#include "agent/postgres/pg_query.h"
#include "agent/postgres/settings_copy.h"

#include <pthread.h>

#define APPLICATION_NAME "Howdah"

// The data directory as last looked at.
typedef struct {
    DirState dir;
    int major; // PG_VERSION, 0: not known
    ControlFile control;
    Instant control_at; // when it was read; what ended since then may have changed it
    bool standby_signal, from_backup;
    char upstream[256];      // "": nobody
    char upstream_host[256]; // where that member was to be found; "": not known
    int upstream_port;
} Inspection;

// What the disk thread and the turn tell each other. Under LocalServer.lock.
typedef struct {
    Inspection inspection;
    Arena *history_arena; // owns history, replaced with it
    TimelineHistory history;
    uint32_t history_wanted; // by the turn; 0: none
    uint32_t history_missed; // looked for in vain
    Instant history_missed_at;

    // Facts about one postmaster are keyed by when it was started.
    Instant stopped;        // the one a task of ours stopped
    Instant promoted;       // the one we asked to promote
    Instant refusing;       // accepts no connections, says the probe: a cached one proves nothing
    Instant custom_start;   // the one started after a custom bootstrap
    uint32_t self_timeline; // what IDENTIFY_SYSTEM told of it, and for which postmaster
    Instant self_timeline_of;
    bool self_timeline_wanted;
    bool self_timeline_at_once; // however lately it was asked

    Role role; // the last one known for certain
    bool role_known;

    Arena *pending_arena; // owns pending
    const Tree *pending;  // NULL: nothing is pending
} Shared;

typedef struct {
    Arena *arena; // owns the task's strings
    ServerTask task;
    SettingsCopy *settings;
} Job;

// What only the turn's thread touches.
typedef struct {
    PgConn *monitor;
    Instant monitor_of; // the postmaster it is connected to
    Monitored last;     // scalars of the last answer
    Instant last_of, answered_at;
    uint32_t end_timeline; // of the end of its WAL, as last worked out for this postmaster
    Instant end_timeline_of;
    bool had_receiver; // at the last look
} TurnSide;

typedef struct LocalServer {
    Server base; // first
    Processes *processes;
    Clock *clock;
    Resolver *resolver;
    Arena *environment_arena;
    const char *const *environment; // of the children, before it is scrubbed
    Disk disk;

    pthread_t thread;
    pthread_mutex_t lock;
    int wake_fd;   // a job, a wish or the end
    int cancel_fd; // readable while the running task is to end
    int event_fd;  // for the turn
    atomic_bool cancelled;

    // Under lock.
    SettingsCopy *settings;
    Job *job; // waiting or running
    TaskView task;
    Shared shared;
    bool quitting, finished;

    TurnSide turn;

    // What only the disk thread touches.
    struct {
        Arena *arena;        // owns upstream's strings
        bool upstream_known; // what we wrote last; false: the file says
        Upstream upstream;
        Instant probe_at;
        Instant settings_checked; // the postmaster whose settings were compared last
        Instant promotion_asked, promotion_nudged;
        Instant promotion_until; // watch for the end of recovery until then
        PgConn *promotion;
        PgConn *spare;      // open, so that a task in a hurry need not connect; NULL: none
        Instant spare_of;   // the postmaster it is connected to
        bool bootstrapping; // the new cluster is of this agent's making, its roles are missing
        Instant self_at, self_of; // when whose timeline was last asked for
    } worker;
} LocalServer;

// The postmaster by the warden's account; NULL: it has never heard of one.
const ChildView *postmaster_of(const WardenView *view);
bool postmaster_runs(LocalServer *server, ChildView *out); // out may be NULL

// Where and as whom we talk to our own server.
ConnParams local_params(Arena *arena, const Settings *settings);

void server_wake(int fd);
void server_drain(int fd);

// observe.c
void server_observe(Server *base, Arena *arena, Deadline deadline, ServerView *out);
// slots.c
bool server_sync_slots(Server *base, const SlotStep *steps, size_t count, Deadline deadline,
                       Error *err);
// idle.c: the disk thread's small jobs. Returns how long it may sleep, in ms.
int64_t server_idle(LocalServer *server, SettingsCopy *settings);
