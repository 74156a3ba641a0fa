// A whole cluster in one process and one thread, from one seed: real agents (agent_turn and all
// below it but the four interfaces) over a simulated store, warden, PostgreSQL, network and clocks.
//
// After every event the invariants of sim_check.c are looked at. The first that is broken stops the
// simulation: sim_run returns false from then on, and sim_failure says what it was.
#pragma once
#include "common/base/lsn.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Sim Sim;

#define SECONDS(n)  ((int64_t)(n)*1000)
#define MEMBERS_MAX 7

typedef struct {
    uint64_t seed;
    int members;                             // 0: 3
    int ttl_s, loop_wait_s, retry_timeout_s; // 0: 30, 10, 10
    const char *dynamic;                // more of the dynamic configuration, JSON map; NULL: none
    const char *tags[MEMBERS_MAX];      // JSON map; NULL: none
    const char *revisions[MEMBERS_MAX]; // of their pods' templates; NULL: none
    bool no_rewind;                     // use_pg_rewind: false
    bool remove_diverged;               // remove_data_directory_on_diverged_timelines
    int lost_reply_permille;            // of the store's replies
    int slow_permille;  // of the store's replies, that come late, up to past every deadline
    bool quiet_clients; // nobody writes
    // As on Kubernetes: a session outlives a change of the ttl, and a renewal tells the new one.
    bool sessions_stay;
    bool twins;       // the last member bears the name of the one before it
    bool all_stopped; // members are started by sim_start, one by one
    bool trace;       // every event to stderr as it happens
} SimOptions;

Sim *sim_new(const SimOptions *options);
void sim_free(Sim *sim);
void sim_release(Sim **sim); // for AUTO

// --- time
bool sim_run(Sim *sim, int64_t ms); // false: an invariant is broken
typedef bool SimCondition(Sim *sim);
// Until the condition holds, looked at every 10 ms. False: it did not by then, or see sim_run.
bool sim_run_until(Sim *sim, SimCondition *condition, int64_t ms);
bool sim_run_until_at(Sim *sim, bool (*condition)(Sim *, int), int argument, int64_t ms);
int64_t sim_now_ms(const Sim *sim); // since the beginning
bool sim_ok(const Sim *sim);
const char *sim_failure(const Sim *sim); // "": none
void sim_fail(Sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_report(const Sim *sim); // seed, failure and the last events, to stderr
void sim_note(Sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); // into the trace
void sim_report_on_crash(void); // an abort or a sanitizer's finding prints the report, too

// --- what is to be seen
int sim_leader(Sim *sim);            // who holds the key in the store; -1: nobody
int sim_primary(Sim *sim);           // whose server takes writes; -1: none
bool sim_settled(Sim *sim);          // one primary with the key, everybody else streams from it
const char *sim_unsettled(Sim *sim); // why not; NULL: it is
bool sim_has_primary(Sim *sim);
bool sim_no_primary(Sim *sim);
bool sim_streams(Sim *sim, int member);
bool sim_is_primary(Sim *sim, int member);
bool sim_server_runs(Sim *sim, int member);
bool sim_agent_runs(Sim *sim, int member);
int sim_exit_code(Sim *sim, int member);           // of the last agent that ended; -1: none has
const char *sim_last_reason(Sim *sim, int member); // of the last decision published
uint32_t sim_timeline(Sim *sim, int member);
uint64_t sim_server_starts(Sim *sim, int member); // how often its PostgreSQL was started
uint64_t sim_commits(Sim *sim);                   // acknowledged
uint64_t sim_lost_commits(Sim *sim);              // acknowledged, and not in the primary's history
uint64_t sim_member_writes_between(Sim *sim);     // of member records, while no server takes writes
uint64_t sim_unavailable_ms(Sim *sim); // how long nobody took writes, since the first primary
bool sim_waiting_for_wipe(Sim *sim, int member);
const char *sim_wall_text(Sim *sim, int member,
                          int64_t ms);          // its wall clock in ms from now, ISO 8601
const char *sim_key(Sim *sim, const char *key); // its value in the store; NULL: absent

// --- what can be done to it. Members are 0, 1, 2, …
void sim_start(Sim *sim, int member);     // the machine, the warden, the agent
void sim_power_off(Sim *sim, int member); // everything on it dies at once
void sim_agent_kill(Sim *sim, int member);
void sim_agent_start(Sim *sim, int member);
void sim_agent_freeze(Sim *sim, int member); // SIGSTOP
void sim_agent_thaw(Sim *sim, int member);
void sim_agent_kill_at_call(Sim *sim, int member,
                            int calls); // within its Nth outside call from now
void sim_agent_freeze_at_call(Sim *sim, int member, int calls); // likewise; thawed by sim_heal
void sim_shutdown(Sim *sim, int member);                        // SIGTERM, on a VM
void sim_leave(Sim *sim, int member);                           // SIGUSR2: upgrade
void sim_terminate(Sim *sim, int member);   // the pod: the warden is told to stop
void sim_host_freeze(Sim *sim, int member); // agent, warden and PostgreSQL together
void sim_host_thaw(Sim *sim, int member);
void sim_server_kill(Sim *sim, int member); // SIGKILL to all of PostgreSQL
void sim_server_freeze(Sim *sim, int member);
void sim_server_thaw(Sim *sim, int member);
void sim_server_stubborn(Sim *sim, int member, bool stubborn); // does not die of SIGQUIT
void sim_warden_kill(Sim *sim, int member);
void sim_clock_step(Sim *sim, int member, int64_t ms); // the wall clock
void sim_disk_hang(Sim *sim, int member, bool hung);
void sim_replication_delay(Sim *sim, int member, int64_t ms);
void sim_promotion_slow(Sim *sim, int member, int64_t ms);
void sim_start_fails(Sim *sim, int member, bool fails);
void sim_writes(Sim *sim, bool on);
void sim_respawn(Sim *sim, bool on); // agents that end by themselves are started again

enum { THE_STORE = MEMBERS_MAX };
void sim_link(Sim *sim, int from, int to, bool up);    // one direction
void sim_isolate(Sim *sim, int member, bool isolated); // from everybody and the store
void sim_cut_store(Sim *sim, int member, bool cut);    // both directions

typedef enum { STORE_UP, STORE_REFUSES, STORE_HANGS } StoreState;
void sim_store(Sim *sim, StoreState state);
void sim_store_elects(Sim *sim); // a new leader of the store: every lease starts anew
void sim_store_wipe(Sim *sim,
                    bool same_store); // all keys are deleted; or it is another, empty store
void sim_put_key(Sim *sim, const char *key, const char *value); // by hand, without a lease
void sim_delete_key(Sim *sim, const char *key);
void sim_watch_stall(Sim *sim, int member, int64_t ms); // its view stays as it is
typedef enum { OP_ANY, OP_KEEPALIVE, OP_ACQUIRE, OP_RENEW, OP_RELEASE, OP_WRITE } StoreOp;
void sim_lose_reply(Sim *sim, int member, StoreOp op);   // the next one: applied, not answered
void sim_lose_request(Sim *sim, int member, StoreOp op); // the next one: not applied, not answered

// A request as over REST; the answer is sim_answer_status once it is there (0: not yet).
void sim_request(Sim *sim, int member, int api_kind, const char *body);
int sim_answer_status(Sim *sim);
const char *sim_answer(Sim *sim);

void sim_heal(Sim *sim); // no fault from here on: everything up, started and thawed
// Random faults until sim_heal.
void sim_faults(Sim *sim);
// The longest a healed cluster may take to be settled.
int64_t sim_settle_ms(const Sim *sim);
int64_t sim_writer_ms(const Sim *sim); // and until somebody takes writes

// --- sim_seed.c: one whole random run
bool sim_run_seed(uint64_t seed, int members, int64_t seconds, bool trace);
