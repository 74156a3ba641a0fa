// What the simulated world is made of; for the files of this room alone.
//
// True time is Sim.now; every host's clocks are functions of it. Whatever happens is an event, and
// belongs to an actor: a frozen actor's events wait until it is thawed.
#pragma once
#include "agent/agent.h"
#include "agent/warden/fence_rules.h"
#include "common/base/text.h"
#include "dcs/etcd_cache.h"
#include "tests/sim/fiber.h"
#include "tests/sim/sim.h"

#include <stdlib.h>

typedef struct Member Member;
typedef struct AgentProc AgentProc;
typedef struct Actor Actor;

#define MS(n) ((int64_t)(n)*1000 * 1000) // of true time, which is in nanoseconds

#define INHERITED_GRACE MS(500) // of a new warden, for what its killed predecessor left behind
#define WAKE_UP         MS(100) // frozen together, they overlap by no more than the wake-up

// --- events

typedef void EventFn(Sim *sim, void *context, uint64_t argument);

typedef struct {
    int64_t at;
    uint64_t order;
    EventFn *fn;
    void *context;
    uint64_t argument;
    Actor *actor; // NULL: the world's own
} Event;

struct Actor {
    Actor *parent; // frozen with it
    bool frozen;
    Event *waiting;
    size_t waiting_count, waiting_capacity;
};

// --- WAL. A timeline is written by one data directory alone, so a position says what is before it.

typedef struct {
    uint32_t timeline;
    TimelineSwitch *parents;
    size_t parent_count;
    Lsn begin, end;
    uint64_t writer; // DataDir.identity
    int member;
} Branch;

typedef struct {
    char system_identifier[24];
    Branch *branches; // by no order
    size_t count;
} Lineage; // one initdb and all that came from it

typedef struct {
    size_t lineage;
    WalPosition end; // of the commit record
    int64_t at;
    int member;
} Commit;

// --- a member's machine

typedef enum { FILES_EMPTY, FILES_PARTIAL, FILES_VALID } Files;

typedef struct {
    char name[64];
    Lsn restart_lsn;
} SimSlot;

typedef struct {
    Files files;
    bool torn;         // a rewind was broken off: must not be started
    bool unfinished;   // a bootstrap that has not come to its end
    uint64_t identity; // of what lies there; new with every initdb, copy and rewind
    size_t lineage;
    WalPosition end;          // of the WAL on disk
    uint32_t target;          // newest timeline aimed at: a history file was fetched
    uint32_t newest_timeline; // of any history file, tombstones included
    ControlState state;
    uint32_t control_timeline;
    Lsn checkpoint_lsn;
    WalPosition min_recovery;
    bool standby_signal, from_backup;
    char upstream[32]; // a member's name in the configuration files, "": nobody
    SimSlot slots[MEMBERS_MAX];
    size_t slot_count;
} DataDir;

typedef enum {
    PG_NONE,
    PG_STARTING,
    PG_STANDBY,
    PG_PRIMARY,
    PG_STOPPING, // fast shutdown: no client is served any more
    PG_DYING,    // SIGQUIT was delivered
} PgState;

typedef struct {
    int upstream; // member, -1: nobody
    bool connected;
    uint64_t upstream_serial; // of the postmaster it is connected to
    bool delivering;          // what it sent is under way
    WalPosition sent;
    int64_t silent_since; // nothing gets through; 0: it does
    uint64_t serial;
} Stream;

typedef struct {
    Actor actor;
    PgState state;
    uint64_t serial; // of the postmaster, counts the starts
    Instant started_at;
    int64_t started_wall_us;
    bool from_signal; // started with standby.signal
    bool promote_sent, promoting;
    bool orphan;  // its warden has died
    bool unheard; // … and it was stopped (SIGSTOP), so that it did not come to it
    bool stubborn;
    bool received; // WAL, since it was started
    Lsn replay_from;
    int64_t replay_since;
    int64_t replay_bytes_per_ms;
    bool checkpoint_pending;
    bool stopped_by_task;
    Stream stream;
    int64_t primary_since, gone_at;
} Postgres;

typedef enum { STOP_NONE, STOP_HANDING_OVER, STOP_ORDERED, STOP_ENDED } WardenStop;

typedef struct {
    bool alive;
    uint64_t serial, epoch;
    AgentProc *client;
    Fence fence;
    char note[FENCE_NOTE_SIZE];
    uint64_t fenced_total;
    int64_t fenced_at, struck_at;
    uint64_t tick; // serial of the tick that counts
    WardenStop stop;
    int64_t started_at, alone_since, stop_since;
} Warden;

struct Member {
    Sim *sim;
    int index;
    char name[8], host[24];
    Actor actor; // the whole machine
    bool powered;
    uint64_t boots;
    int64_t boot_offset, rate_ppm; // CLOCK_BOOTTIME
    int64_t wall_offset;
    int64_t disk_hung_since; // 0: it answers
    int64_t replication_delay, promotion_delay;
    bool start_fails;
    bool reinit_asked;
    bool proven_diverged; // by a comparison with a leader
    DataDir dir;
    Postgres pg;
    Warden warden;
    AgentProc *agent; // NULL: none runs
    Arena *local_arena;
    const Tree *local;
    int exit_code;
    bool stay_down; // ended on purpose
    int64_t thawed_at;
    uint64_t retired; // postmasters up to this one have been succeeded
};

// --- one run of the agent's program

typedef struct {
    Dcs base;
    EtcdCache cache;
    Arena *scratch;
    char session[24];
    int64_t session_ttl_ms;
    bool watching; // the stream is open
    size_t seen;   // entries of the store's log given to the cache
    int64_t last_delivery, stalled_until;
    bool resume; // continue the stream where it broke
    int64_t own_term;
    uint32_t own_parent; // its timeline's parent
} SimDcs;

typedef struct {
    Server base;
    TaskView task;
    ServerTask wanted; // without the strings
    char upstream[32];
    uint64_t step; // serial of the step that counts
    bool cancelled, bootstrapping;
    int phase;
    int64_t phase_began;
    uint64_t source; // postmaster of the source, when the copy began
    // the data directory as last looked at
    DataDir seen;
    bool inspected;
    int64_t seen_stopped_at; // 0: a postmaster ran then
    uint32_t history_of;
    bool history_wanted;
    // postmasters, by the time of their start
    Instant stopped, promoted, answering, answered_at, alive_last;
    Role role;
    bool role_known;
} SimServer;

typedef struct {
    Processes base;
} SimProcesses;

typedef struct {
    PeerAnswer answer; // without the strings
    const char *why;   // not reachable: a constant
    size_t lineage;
    WalPosition end; // what it really had
    int member;      // -1: not known
} PeerSlot;

typedef struct {
    Peers base;
    uint64_t serial;
    PeerSlot slots[MEMBERS_MAX + 1];
    size_t count, left;
    int64_t asked_at;
} SimPeers;

typedef struct {
    Clock base;
    Member *member;
} SimClock;

typedef struct Mail Mail; // a request to the store, and its reply

struct AgentProc {
    Actor actor; // frozen by SIGSTOP
    Sim *sim;
    Member *member;
    AgentProc *next; // all there ever were
    uint64_t number;
    Fiber *fiber;
    Agent *agent;
    SimDcs dcs;
    SimServer server;
    SimProcesses processes;
    SimPeers peers;
    SimClock clock;
    Rng rng;
    bool zombie; // killed: nothing it does has any effect
    bool finished;
    bool idle; // sleeps between turns
    bool notified;
    bool attached; // to the warden
    bool replaced;
    uint64_t fenced_base;
    uint64_t waiting; // serial of the wait that counts
    uint64_t call;    // serial of the store call that counts
    Mail *reply;      // to that call; NULL: not there
    int kill_at_call, freeze_at_call;
    int64_t order_ttl_ms; // the warden refuses more; told between turns
    bool want_shutdown, want_leave;
    // what its last turn believed
    int64_t lease_until; // true time
    // the peers that had answered when it got the key, for the check at a promotion
    PeerSlot beaten[MEMBERS_MAX + 1];
    size_t beaten_count;
    bool by_request; // it was named as the candidate
};

// --- the store

typedef struct {
    char *key, *value;
    size_t length;
    int64_t create_revision, mod_revision;
    int64_t lease; // 0: none
} StoreKey;

typedef struct {
    char *key, *value; // value NULL: deleted
    int64_t create_revision, mod_revision, lease;
    uint64_t store; // which one it belongs to: a wiped store is another
} StoreChange;

typedef struct {
    int64_t id, ttl_ms, expires_at; // true time; id 0: free
    uint64_t told_by;               // the last call that changed the ttl
} StoreLease;

typedef struct {
    StoreState state;
    uint64_t cluster_id;
    int64_t revision, lease_ids;
    StoreKey *keys;
    size_t key_count, key_capacity;
    StoreChange *log;
    size_t log_count, log_capacity;
    StoreLease *leases; // those with id 0 are free
    size_t lease_count;
    int64_t tampered_at; // somebody else than an agent touched the keys
    int64_t wiped_at;
    int64_t vacant_since; // the leader key went away then
} Store;

typedef struct {
    bool set, request; // the request, or its reply
    StoreOp op;
} PlannedLoss;

struct Sim {
    SimOptions options;
    Rng rng;
    int64_t now; // true time, ns; starts well above 0
    int64_t began;
    Event *queue; // a heap
    size_t queue_count, queue_capacity;
    uint64_t orders, serials, agents;
    Member members[MEMBERS_MAX];
    int member_count;
    AgentProc *procs;
    AgentProc *current; // whose code runs
    Store store;
    bool link[MEMBERS_MAX + 1][MEMBERS_MAX + 1];
    PlannedLoss loss[MEMBERS_MAX];
    Mail *mails; // all under way
    int64_t extra_store_delay;
    bool writes, respawn, faulty, healing;
    bool storm; // faults come faster than anything can be mended
    int64_t healed_at;
    // WAL
    Lineage *lineages;
    size_t lineage_count;
    Commit *commits;
    size_t commit_count, commit_capacity;
    uint64_t identities;
    // the last request over REST
    int answer_status;
    char answer[256];
    // checks
    char failure[512];
    int acknowledger;             // the last one; -1
    uint64_t acknowledger_serial; // its postmaster
    int64_t unavailable, no_writer_since;
    uint64_t member_writes_between;
    // trace
    char (*ring)[240];
    size_t ring_next, ring_count;
};

// --- sim_loop.c
void sim_at(Sim *sim, int64_t at, Actor *actor, EventFn *fn, void *context, uint64_t argument);
void sim_in(Sim *sim, int64_t delay, Actor *actor, EventFn *fn, void *context, uint64_t argument);
bool sim_step(Sim *sim, int64_t until); // one event; false: none left before until
void loop_done(Sim *sim);
void actor_freeze(Actor *actor);
void actor_thaw(Sim *sim, Actor *actor);
bool actor_frozen(const Actor *actor);
void actor_forget(Actor *actor);                  // its waiting events are gone
int64_t roll(Sim *sim, int64_t from, int64_t to); // both included
bool chance(Sim *sim, int permille);
void trace(Sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
void trace_dump(const Sim *sim);
Instant host_now(const Member *member);
int64_t host_wall_us(const Member *member);
int64_t host_to_true(const Member *member, Instant t); // when its clock has reached t

// --- sim_store.c: the store itself
void store_init(Sim *sim);
void store_done(Sim *sim);
const StoreKey *store_key(const Sim *sim, const char *key);
int64_t store_grant(Sim *sim, int64_t ttl_ms);
bool store_keepalive(Sim *sim, int64_t id, int64_t ttl_ms, int64_t *out_ttl_ms);
StoreLease *store_lease(Sim *sim, int64_t id); // NULL: gone
// One transaction: begin, any puts and deletes, end. Returns the revision.
void store_begin(Sim *sim);
void store_put(Sim *sim, const char *key, const char *value, int64_t lease);
void store_delete(Sim *sim, const char *key);
int64_t store_end(Sim *sim, const char *who);
bool link_up(const Sim *sim, int from, int to);
int member_named(const Sim *sim, const char *name); // -1: none

// --- sim_dcs.c, sim_watch.c: an agent's way to it
void dcs_init(AgentProc *proc);
void dcs_done(AgentProc *proc);
void mails_done(Sim *sim);
void mails_forget(AgentProc *proc); // a reply that nobody will read
void dcs_news(Sim *sim);            // the store's log has grown: everybody's watch gets it

// --- sim_warden.c
void warden_start(Member *m);
void warden_die(Member *m);
void warden_attach(AgentProc *proc);
void warden_detach(AgentProc *proc);
void warden_server_gone(Member *m);
void warden_terminate(Member *m);
void warden_poke(Member *m); // its clocks may have changed
void processes_init(AgentProc *proc);

// --- sim_wal.c
size_t wal_initdb(Sim *sim, Member *m);
Branch *wal_branch(Sim *sim, size_t lineage, uint32_t timeline);
Branch *wal_fork(Sim *sim, Member *m, uint32_t timeline);
bool wal_on_path(Sim *sim, size_t lineage, WalPosition at, uint32_t timeline);
uint32_t wal_timeline_at(Sim *sim, size_t lineage, uint32_t timeline, Lsn lsn);
// Is everything before a also before b?
bool wal_contains(Sim *sim, size_t lineage, WalPosition b, WalPosition a);
TimelineHistory wal_history(Sim *sim, Arena *arena, size_t lineage, uint32_t timeline);
bool wal_append(Sim *sim, Member *m, Lsn bytes); // at the primary's end
void wal_commit(Sim *sim, Member *m);
void wal_done(Sim *sim);
uint64_t wal_new_identity(Sim *sim);
Lsn wal_replayed(const Member *m);

// --- sim_postgres.c
void pg_start(Member *m, bool standby);
void pg_promote(Member *m);
void pg_stop_fast(Member *m);
void pg_quit(Member *m); // SIGQUIT
void pg_kill(Member *m); // SIGKILL to all of it
void pg_follow(Member *m, int upstream);
bool pg_alive(const Member *m);
bool pg_writes(const Member *m);    // could acknowledge a commit
bool pg_may_write(const Member *m); // or might begin to, by itself
bool pg_answers(const Member *m);   // accepts connections, and says something
void pg_orphaned(Member *m);
void pg_wal_grown(Member *m); // who streams from it gets it

// --- sim_server.c, sim_tasks.c
void server_init(AgentProc *proc);
void server_done(AgentProc *proc);
void server_inspect(AgentProc *proc);
bool server_begin(Server *server, const ServerTask *task, Error *err);
void server_cancel(Server *server);
AgentProc *proc_of_server(Server *server);
void server_ask(Member *m, Arena *arena, ServerView *out); // what SQL would say now

// --- sim_peers.c
void peers_init(AgentProc *proc);

// --- sim_agent.c
void member_init(Sim *sim, int index);
void member_done(Member *m);
void agent_spawn(Member *m);
void agent_die(Member *m, const char *why);
void agent_notify(AgentProc *proc); // something happened: the next turn comes now
void agents_done(Sim *sim);
// In a call of the agent's: lets time pass. Returns when it is over, or the process was woken.
void proc_wait_until(AgentProc *proc, int64_t at);
void proc_wait(AgentProc *proc, int64_t delay);
void proc_wake(AgentProc *proc);
// A step between two effects: here a process may die. False: it has.
bool proc_boundary(AgentProc *proc, const char *what);
void member_power_on(Member *m);
int64_t proc_deadline(const AgentProc *proc, Deadline deadline);

// --- sim_check.c
bool is_unguarded(const Member *m);
void check_all(Sim *sim);
void check_start(Member *m, bool standby);
void check_promote_asked(AgentProc *proc);
void check_promoted(Member *m, uint32_t timeline);
void check_acknowledged(Member *m);
void check_acquired(AgentProc *proc);
void check_release(AgentProc *proc);
void check_wipe(AgentProc *proc);
void check_initialize(Sim *sim, const char *before, const char *after);

// --- sim_clients.c
void clients_serve(Member *m); // its server has begun to take writes
// --- sim_faults.c
void faults_next(Sim *sim);
