// The local PostgreSQL as observed: plain facts, each with "not known" as a value of its own.
#pragma once
#include "common/base/lsn.h"
#include "common/base/text.h"
#include "common/base/time.h"
#include "common/base/timeline.h"
#include "common/model/words.h"

typedef enum {
    DIR_UNKNOWN,      // not inspected yet
    DIR_MISSING,      // or empty
    DIR_VALID,        // global/pg_control and PG_VERSION are there
    DIR_PARTIAL,      // not empty, and no data directory; or our own half-made copy
    DIR_INACCESSIBLE, // the system would not say
} DirState;

// pg_controldata's "Database cluster state".
typedef enum {
    CONTROL_UNKNOWN,
    CONTROL_STARTING_UP,
    CONTROL_SHUT_DOWN,
    CONTROL_SHUT_DOWN_IN_RECOVERY,
    CONTROL_SHUTTING_DOWN,
    CONTROL_IN_CRASH_RECOVERY,
    CONTROL_IN_ARCHIVE_RECOVERY,
    CONTROL_IN_PRODUCTION,
} ControlState;

typedef struct {
    bool known;
    ControlState state;
    char system_identifier[24];
    uint32_t timeline;  // of the latest checkpoint
    Lsn checkpoint_lsn; // its record's start
    Lsn redo_lsn;
    uint32_t min_recovery_timeline;
    Lsn min_recovery_lsn;
    bool wal_log_hints, checksums;
    int max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions,
        max_locks_per_transaction;
    int major; // of the data directory, PG_VERSION
} ControlData;

typedef enum {
    TASK_NONE,
    TASK_INSPECT,        // data directory, control data, signal files, own timeline history
    TASK_BOOTSTRAP,      // initdb and configuration; does not start
    TASK_POST_BOOTSTRAP, // roles, passwords, post_bootstrap script
    TASK_START_PRIMARY,  // without standby.signal; the caller has armed the fence
    TASK_START_STANDBY,  // with standby.signal, following upstream (or nobody)
    TASK_STOP,
    TASK_PROMOTE,          // reserve higher timelines, then ask; done once asked
    TASK_FOLLOW,           // re-point a running standby by reload
    TASK_RELOAD,           // write configuration, reload
    TASK_CLONE,            // base backup or replica method, then configuration; does not start
    TASK_CHECK_DIVERGENCE, // compare with the leader's history
    TASK_REWIND,           // save what would be discarded, pg_rewind; does not start
    TASK_CRASH_RECOVERY,   // single-user recovery of a dirty directory before a rewind
    TASK_WIPE,             // empty the data directory: only ever with its proof
    TASK_CHECKPOINT,
    TASK_COUNT,
} TaskKind;

const char *task_name(TaskKind kind);

typedef enum { STOP_FAST, STOP_IMMEDIATE } StopMode;

typedef enum {
    DIVERGENCE_UNKNOWN, // undecided: ask again
    DIVERGENCE_NONE,
    DIVERGENCE_FOUND,
} Divergence;

typedef struct {
    TaskKind kind;   // TASK_NONE: none has run
    uint64_t number; // counts the tasks begun
    bool running;
    Instant began_at, ended_at;
    bool ok;          // once ended
    bool unchanged;   // failed before it changed anything: safe to begin again
    bool source_lost; // TASK_REWIND: failed, and its source was gone by then or had been restarted
    char error[240];
    Divergence divergence; // TASK_CHECK_DIVERGENCE's answer
    const char *phase;     // what it is at, for people
} TaskView;

typedef struct {
    const char *application_name, *client_addr, *state, *sync_state, *usename;
    int sync_priority;
    Lsn sent_lsn, write_lsn, flush_lsn, replay_lsn;
} WalSenderView;

typedef struct {
    const char *name;
    bool physical, active, temporary, lost;
    Lsn restart_lsn;
    bool has_xmin;
} SlotView;

// One step towards the physical slots that a server is to have.
typedef enum {
    SLOT_CREATE,  // unless it is there
    SLOT_DROP,    // unless it is in use
    SLOT_RENEW,   // drop and create, unless it is in use
    SLOT_ADVANCE, // to lsn, unless it is there already or in use
} SlotAction;

typedef struct {
    SlotAction action;
    const char *name;
    Lsn lsn;
} SlotStep;

typedef struct {
    // --- the process, by the warden
    bool warden;  // a warden is attached; if not, nothing below is current
    bool running; // the postmaster exists
    bool remains; // processes of the data directory exist
    Instant started_at;
    bool exited_by_itself; // it is gone, and no task of ours stopped it
    // --- the monitoring query
    bool answered;       // this turn
    bool refused;        // it is there and says it is starting up or shutting down
    Instant answered_at; // the last time
    bool in_recovery;
    uint32_t timeline;           // primary: of its WAL; standby: of what it replays; 0: not known
    Lsn flush_lsn;               // primary
    Lsn receive_lsn, replay_lsn; // standby; receive is max(receive, written)
    bool replay_paused;
    bool streaming;            // the WAL receiver streams
    bool archive_recovery;     // no receiver, but a restore_command
    const char *receiver_host; // whom it streams from, NULL: nobody
    int receiver_port;
    Lsn latest_end_lsn;                // what its upstream last reported
    int server_version;                // 150018
    int64_t postmaster_start_us;       // wall clock
    const char *postmaster_start_text; // as the REST API shows it
    int64_t replayed_us;               // last replayed transaction; 0: none
    const char *replayed_text;
    const WalSenderView *senders;
    size_t sender_count;
    const SlotView *slots;
    size_t slot_count;
    bool slots_known;
    bool checkpoint_pending; // promoted, and the control file is still on the old timeline
    // --- the data directory, by the last inspection
    DirState dir;
    ControlData control;
    bool standby_signal;       // it would start as a standby
    bool from_backup;          // backup_label is there
    TimelineHistory history;   // of control.timeline, or of the running server's timeline
    const char *upstream;      // the member the written configuration follows; NULL: nobody
    const char *upstream_host; // where it looks for that member; NULL: not known
    int upstream_port;
    // --- the disk
    int64_t disk_busy_ms; // how long the file operation now under way has been out; 0: none
    // --- what the agent makes of it
    Role role;         // role as published
    ServerState state; // state as published
    bool pending_restart;
    const struct Tree *pending_restart_reason;
    TaskView task;
} ServerView;

// Where its WAL ends: primary flush; standby max(receive, replay); stopped: by the control file.
WalPosition server_position(const ServerView *server);
const char *control_state_name(ControlState state); // as pg_controldata prints it
