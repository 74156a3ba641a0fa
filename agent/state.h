// What an Agent is made of; for the files of this room alone.
#pragma once
#include "agent/agent.h"
#include "agent/core/decide.h"
#include "agent/core/slots_wanted.h"

#include <pthread.h>

typedef struct {
    char session[32];        // "": none
    Instant session_sent_at; // last proof of the session
    Instant session_valid_until;
    Instant session_retry_at;
    int session_failures;
    int64_t session_ttl_ms; // what was asked for when it was opened
    bool held;
    bool resuming; // term and session are our predecessor's, not yet proven ours
    int64_t term;
    int64_t abandoned_term; // released, perhaps: never continued
    bool release_unknown;   // asked again until the store has answered
    ReleaseRequest release; // its strings are in release_arena
    Arena *release_arena;
    Instant status_retry_at; // the store would not take the status: without it until then
    LeaseProof proof;
    bool probe_first; // see store_hears_and_speaks
    bool check_now;   // the view says that something is odd with our key
    bool tampered;
    int64_t tampered_revision;
    Instant retry_at; // a renewal failed; the next try
    int failures;
} Lease;

// What is asked of the store, as far as its refusals go: each of them is told for itself.
typedef enum { REFUSED_LEASE, REFUSED_MEMBER, REFUSED_KEY, REFUSED_COUNT } RefusedKind;

typedef struct {
    Arena *arena;
    Settings settings;
} SettingsBox;

typedef struct {
    LedgerEntry entry; // its strings are the two below
    char evidence[200], outcome[240];
} KeptEntry;

struct Agent {
    World world;
    Arena *turn_arena; // of this pass; the last pass's values live until the one after
    Arena *arenas[2];
    unsigned passes;
    Arena *members_arena; // old_members
    Arena *memory_arena;  // what lives as long as the agent
    const char *instance;
    Instant started_at;    // of the agent
    Instant first_view_at; // since when it sees the store; 0: not yet
    uint64_t turns;

    // settings
    Arena *local_arena;
    const Tree *local;
    SettingsBox *box;
    int64_t config_revision_tried; // a dynamic configuration that could not be applied
    bool settings_changed, reload_files;
    bool all_howdah; // of the settings in force

    // observation
    ClusterView view;
    bool view_known;
    bool store_ok;
    char refused_told[REFUSED_COUNT][240]; // what the store refused last, logged once
    int64_t dcs_last_seen_s;
    WardenView warden;
    bool warden_seen;
    ServerView server;
    PeerTarget *old_members; // who was there while somebody led
    size_t old_member_count;
    int64_t old_members_revision;

    bool refresh_wanted;  // read the store itself, not the watcher's cache
    uint64_t task_told;   // number of the last task whose failure was logged
    bool giving_up;       // about to release: probes are told first
    bool writes_failed;   // of this pass's best-effort writes
    int act_failures;     // in a row
    Instant act_retry_at; // a key could not be had or given: the next try
    RetainedSlots retained_slots;
    char slots_told[240]; // what was last wrong with them, logged once

    // state
    Lease lease;
    bool fence_writer; // see WardenFacts.writer
    Memory memory;
    Decision last;
    bool shutdown, leave, ended;
    int exit_code;
    uint64_t fenced_count;
    int64_t promotion_told; // term whose promotion was announced
    int64_t demotion_told;  // … and whose end

    // publishing
    char *member_text, *member_fixed; // last written record; without positions (malloc)
    Instant member_written_at;
    Instant member_retry_at;
    Role member_role; // in that record, as the next one
    ServerState member_state;
    Instant member_changed_at; // the first change that is not written yet; 0: there is none
    bool member_dirty;
    KeptEntry ledger[LEDGER_KEPT]; // ring
    size_t ledger_next, ledger_count;

    // requests
    pthread_mutex_t lock; // guards snapshot and queue
    Snapshot *snapshot;
    ApiRequest *queue;   // new, newest first
    ApiRequest *pending; // being worked on
    bool restart_wanted, reinit_wanted;
    bool reinit_force, reinit_from_leader; // how
    const Tree *scheduled_restart;
    Arena *scheduled_arena;
    int64_t scheduled_us;
};

static inline const Settings *settings_of(const Agent *agent)
{
    return &agent->box->settings;
}
static inline Instant now_of(const Agent *agent)
{
    return clock_now(agent->world.clock);
}

// --- lease.c: session, renewal, fence
void lease_attach(Agent *agent); // after the warden was (re-)attached: our predecessor's note
void lease_notice(Agent *agent); // a new view: does it agree with what we hold?
void lease_keep(Agent *agent);   // whatever renewal is due; first in every turn
bool lease_prove(Agent *agent, Error *err) MUST_CHECK; // now, before a promote or start as primary
bool lease_acquire(Agent *agent, const Decision *d, Error *err) MUST_CHECK;
bool lease_release(Agent *agent, const Decision *d, Error *err) MUST_CHECK;
bool lease_fence(Agent *agent, bool writer, Error *err) MUST_CHECK; // arm or move
Instant lease_due(const Agent *agent); // when lease_keep wants to run next
Instant lease_stop_at(const Agent *agent);
char *lease_status_text(Agent *agent); // the status record as of now; NULL: nothing to write
// What a store call's outcome says about the store.
bool store_outcome(Agent *agent, bool ok, const Error *err);
// A line in the log for what will never be done (ERR_INVALID: rights, garbage), one for each text;
// of other failures one at debug level. what: what was not done.
void store_refused(Agent *agent, RefusedKind kind, const char *what, const Error *err);

// --- fence.c
LeaseProof lease_capped(const Agent *agent, LeaseProof proof); // by the ttl in force
Instant fence_quit_at(const Agent *agent); // by what the lease has been proven to be
bool fence_may_move(const Agent *agent);   // armed, and has not struck
void fence_catch_up(Agent *agent);         // where it lags behind what the lease allows

// --- observe.c
void observe_warden(Agent *agent);
void observe(Agent *agent);
Facts facts_of(Agent *agent, const PeerFacts *peers);
void ask_peers(Agent *agent, PeerFacts *out);

// --- act.c
void act(Agent *agent, const Decision *d, bool *again);
// --- writes.c: what a leader keeps right in the store
void write_upkeep(Agent *agent, const Decision *d);
SlotFacts slot_facts(const Agent *agent);
// --- publish.c
void publish(Agent *agent);
void publish_no_leader(Agent *agent); // right before a release
void ledger_add(Agent *agent, const Decision *d, const char *outcome);
// --- configure.c
bool configure(Agent *agent, const Tree *local, const Tree *dynamic, int64_t revision, Error *err)
    MUST_CHECK;
void configure_from_store(Agent *agent);
void configure_done(Agent *agent);
// --- requests.c
void requests_take(Agent *agent);   // before deciding
void requests_settle(Agent *agent); // after acting
void requests_done(Agent *agent);   // ends them all
Instant requests_due(const Agent *agent);
