// Random faults, each with its end; and a whole random run from one seed.
#include "tests/sim/world.h"

#include "api/api.h"

#include <stdio.h>

typedef void Fault(Sim *sim, Member *m, int64_t ms);

static int64_t ttl_ms(const Sim *sim)
{
    return SECONDS(sim->options.ttl_s);
}

// --- how they end

static void undo_agent_start(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_start(sim, ((Member *)context)->index);
}

static void undo_agent_freeze(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_agent_thaw(sim, ((Member *)context)->index);
}

static void undo_host_freeze(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_host_thaw(sim, ((Member *)context)->index);
}

static void undo_server_freeze(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_server_thaw(sim, ((Member *)context)->index);
}

static void undo_isolate(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_isolate(sim, ((Member *)context)->index, false);
}

static void undo_disk(Sim *sim, void *context, uint64_t argument)
{
    (void)argument;
    sim_disk_hang(sim, ((Member *)context)->index, false);
}

static void undo_delays(Sim *sim, void *context, uint64_t argument)
{
    Member *m = context;
    (void)sim, (void)argument;
    m->replication_delay = m->promotion_delay = 0;
    m->start_fails = false;
}

static void undo_store(Sim *sim, void *context, uint64_t argument)
{
    (void)context, (void)argument;
    sim->extra_store_delay = 0;
    sim->options.lost_reply_permille = sim->options.slow_permille = sim->faulty ? 5 : 0;
    sim_store(sim, STORE_UP);
}

static void undo_in(Sim *sim, int64_t ms, EventFn *undo, Member *m)
{
    sim_in(sim, MS(ms), NULL, undo, m, 0);
}

// --- processes

static void agent_killed(Sim *sim, Member *m, int64_t ms)
{
    sim_agent_kill(sim, m->index);
    undo_in(sim, ms, undo_agent_start, m);
}

static void agent_frozen(Sim *sim, Member *m, int64_t ms)
{
    sim_agent_freeze(sim, m->index);
    undo_in(sim, ms, undo_agent_freeze, m);
}

static void host_frozen(Sim *sim, Member *m, int64_t ms)
{
    sim_host_freeze(sim, m->index);
    undo_in(sim, ms, undo_host_freeze, m);
}

static void server_killed(Sim *sim, Member *m, int64_t ms)
{
    (void)ms;
    sim_server_kill(sim, m->index);
}

static void server_frozen(Sim *sim, Member *m, int64_t ms)
{
    sim_server_freeze(sim, m->index);
    undo_in(sim, ms, undo_server_freeze, m);
}

static void warden_killed(Sim *sim, Member *m, int64_t ms)
{
    (void)ms;
    sim_warden_kill(sim, m->index);
}

static void agent_and_warden_killed(Sim *sim, Member *m, int64_t ms)
{
    sim_agent_kill(sim, m->index);
    sim_warden_kill(sim, m->index);
    undo_in(sim, ms, undo_agent_start, m);
}

static void power_lost(Sim *sim, Member *m, int64_t ms)
{
    sim_power_off(sim, m->index);
    undo_in(sim, ms, undo_agent_start, m);
}

static void all_power_lost(Sim *sim, Member *m, int64_t ms)
{
    (void)m;
    for (int i = 0; i < sim->member_count; i++) {
        sim_power_off(sim, i);
        undo_in(sim, roll(sim, 1, ms + 1), undo_agent_start, &sim->members[i]);
    }
}

static void told_to_stop(Sim *sim, Member *m, int64_t ms)
{
    sim_shutdown(sim, m->index);
    undo_in(sim, ms + 1000, undo_agent_start, m);
}

static void pod_ends(Sim *sim, Member *m, int64_t ms)
{
    sim_terminate(sim, m->index);
    undo_in(sim, ms + 1000, undo_agent_start, m);
}

static void upgraded(Sim *sim, Member *m, int64_t ms)
{
    sim_leave(sim, m->index);
    undo_in(sim, ms / 10, undo_agent_start, m);
}

static void start_fails(Sim *sim, Member *m, int64_t ms)
{
    sim_start_fails(sim, m->index, true);
    undo_in(sim, ms, undo_delays, m);
}

// --- network and store

static void isolated(Sim *sim, Member *m, int64_t ms)
{
    sim_isolate(sim, m->index, true);
    undo_in(sim, ms, undo_isolate, m);
}

static void cut_off(Sim *sim, Member *m, int64_t ms)
{
    sim_cut_store(sim, m->index, true);
    undo_in(sim, ms, undo_isolate, m);
}

static void half_deaf(Sim *sim, Member *m, int64_t ms)
{
    const int other = (int)roll(sim, 0, sim->member_count);
    const int to = other == sim->member_count ? THE_STORE : other;
    const bool deaf = chance(sim, 500);
    trace(sim, "fault  %s: %s %s is down", m->name, deaf ? "the way from" : "the way to",
          to == THE_STORE ? "the store" : sim->members[to].name);
    if (deaf)
        sim_link(sim, to, m->index, false);
    else
        sim_link(sim, m->index, to, false);
    undo_in(sim, ms, undo_isolate, m);
}

static void store_down(Sim *sim, Member *m, int64_t ms)
{
    sim_store(sim, chance(sim, 500) ? STORE_REFUSES : STORE_HANGS);
    undo_in(sim, ms, undo_store, m);
}

static void store_slow(Sim *sim, Member *m, int64_t ms)
{
    sim->extra_store_delay = roll(sim, MS(5), MS(700));
    trace(sim, "fault  store slow by %lld ms", (long long)(sim->extra_store_delay / MS(1)));
    undo_in(sim, ms, undo_store, m);
}

static void replies_lost(Sim *sim, Member *m, int64_t ms)
{
    sim->options.lost_reply_permille = (int)roll(sim, 50, 500);
    sim->options.slow_permille = (int)roll(sim, 0, 300);
    trace(sim, "fault  store loses %d of 1000 replies, and delays %d",
          sim->options.lost_reply_permille, sim->options.slow_permille);
    undo_in(sim, ms, undo_store, m);
}

static void store_elects(Sim *sim, Member *m, int64_t ms)
{
    (void)m, (void)ms;
    sim_store_elects(sim);
}

static void watch_stalls(Sim *sim, Member *m, int64_t ms)
{
    sim_watch_stall(sim, m->index, ms);
}

static void key_tampered(Sim *sim, Member *m, int64_t ms)
{
    (void)ms;
    if (chance(sim, 500))
        sim_delete_key(sim, "leader");
    else
        sim_put_key(sim, "leader", chance(sim, 500) ? m->name : "nobody");
}

// --- the machine

static void disk_hangs(Sim *sim, Member *m, int64_t ms)
{
    sim_disk_hang(sim, m->index, true);
    undo_in(sim, ms, undo_disk, m);
}

static void clock_steps(Sim *sim, Member *m, int64_t ms)
{
    sim_clock_step(sim, m->index, chance(sim, 500) ? ms : -ms);
}

static void lags(Sim *sim, Member *m, int64_t ms)
{
    m->replication_delay = MS(roll(sim, 50, 4000));
    m->promotion_delay = MS(roll(sim, 0, 4000));
    trace(sim, "fault  %s: lags by %lld ms", m->name, (long long)(m->replication_delay / MS(1)));
    undo_in(sim, ms, undo_delays, m);
}

// --- people

static void moved(Sim *sim, Member *m, int64_t ms)
{
    char body[120];
    const int leader = sim_leader(sim);
    const Member *to = &sim->members[roll(sim, 0, sim->member_count - 1)];
    (void)ms;
    if (leader < 0)
        return;
    if (chance(sim, 300))
        (void)snprintf(body, sizeof body, "{\"candidate\":\"%s\"}", to->name);
    else if (chance(sim, 500))
        (void)snprintf(body, sizeof body, "{\"leader\":\"%s\"}", sim->members[leader].name);
    else
        (void)snprintf(body, sizeof body, "{\"leader\":\"%s\",\"candidate\":\"%s\"}",
                       sim->members[leader].name, to->name);
    sim_request(sim, m->index, body[2] == 'c' ? API_FAILOVER : API_SWITCHOVER, body);
}

static void restarted(Sim *sim, Member *m, int64_t ms)
{
    (void)ms;
    sim_request(sim, m->index, API_RESTART, "{}");
}

static void made_anew(Sim *sim, Member *m, int64_t ms)
{
    (void)ms;
    sim_request(sim, m->index, API_REINITIALIZE, chance(sim, 500) ? "{}" : "{\"force\":true}");
}

static void reconfigured(Sim *sim, Member *m, int64_t ms)
{
    char body[160];
    const int ttl = sim->options.ttl_s;
    (void)ms;
    (void)snprintf(body, sizeof body,
                   "{\"ttl\":%d,\"maximum_lag_on_failover\":%d,\"primary_start_timeout\":%d}",
                   (int)roll(sim, ttl < 10 ? 5 : ttl / 2, ttl), (int)roll(sim, 10, 2000) * 1024,
                   (int)roll(sim, 5, 300));
    sim_request(sim, m->index, API_PATCH_CONFIG, body);
}

// Whatever people, or other programs, may write into the keys. Not `howdah`: it is the one record
// of a timeline that was taken by somebody who died before he could say so. Not `config` and
// `sync`: they would be obeyed.
static void garbage_written(Sim *sim, Member *m, int64_t ms)
{
    static const char *const keys[] = {"status", "history", "failover", "failsafe"};
    static const char *const values[] = {"",
                                         "{}",
                                         "[]",
                                         "garbage",
                                         "[[1,",
                                         "{\"leader\":\"nobody\",\"member\":\"nobody\"}",
                                         "{\"member\":\"b\",\"scheduled_at\":\"tomorrow\"}",
                                         "{\"leader\":\"a\",\"member\":\"a\"}"};
    char member[20];
    (void)ms;
    (void)snprintf(member, sizeof member, "members/%s", m->name);
    const size_t which = (size_t)roll(sim, 0, (int64_t)COUNT_OF(keys));
    const char *key = which < COUNT_OF(keys) ? keys[which] : member;
    if (chance(sim, 300))
        sim_delete_key(sim, key);
    else
        sim_put_key(sim, key, values[roll(sim, 0, (int64_t)COUNT_OF(values) - 1)]);
}

// --- which and when

static const struct {
    Fault *fault;
    int weight;
} faults[] = {
    {agent_killed, 12},  {agent_frozen, 12},   {host_frozen, 5},  {server_killed, 10},
    {server_frozen, 4},  {warden_killed, 5},   {power_lost, 10},  {agent_and_warden_killed, 4},
    {all_power_lost, 2}, {told_to_stop, 6},    {pod_ends, 4},     {upgraded, 3},
    {start_fails, 2},    {isolated, 8},        {cut_off, 10},     {half_deaf, 8},
    {store_down, 10},    {store_slow, 4},      {replies_lost, 6}, {store_elects, 3},
    {watch_stalls, 6},   {key_tampered, 4},    {disk_hangs, 5},   {clock_steps, 2},
    {reconfigured, 3},   {garbage_written, 4}, {lags, 6},         {moved, 14},
    {restarted, 3},      {made_anew, 3},
};

static void strike(Sim *sim, void *context, uint64_t argument)
{
    (void)context, (void)argument;
    if (!sim->faulty)
        return;
    int all = 0;
    for (size_t i = 0; i < COUNT_OF(faults); i++)
        all += faults[i].weight;
    int64_t left = roll(sim, 0, all - 1);
    size_t which = 0;
    for (; left >= faults[which].weight; which++)
        left -= faults[which].weight;
    // The leader is the interesting one.
    int member = (int)roll(sim, 0, sim->member_count - 1);
    if (chance(sim, 400) && sim_leader(sim) >= 0)
        member = sim_leader(sim);
    // Most are short, some outlast every deadline.
    const int64_t most = chance(sim, 400) ? 2 * ttl_ms(sim) : ttl_ms(sim) / 2;
    faults[which].fault(sim, &sim->members[member], roll(sim, 10, most));
    faults_next(sim);
}

void faults_next(Sim *sim)
{
    const int64_t ttl = ttl_ms(sim);
    const int64_t most = sim->storm || chance(sim, 300) ? ttl / 10 : 2 * ttl;
    sim_in(sim, MS(roll(sim, 1, most)), NULL, strike, NULL, 0);
}

void sim_faults(Sim *sim)
{
    sim->faulty = true;
    sim->storm = chance(sim, 100);
    sim->options.lost_reply_permille = sim->options.slow_permille = 5;
    faults_next(sim);
}

// --- a whole run

static SimOptions options_of(uint64_t seed, int members, bool traced)
{
    static const struct {
        int ttl, loop_wait, retry_timeout;
    } profiles[] = {{30, 10, 10}, {20, 5, 5}, {5, 1, 2}, {5, 1, 2}};
    static const int sizes[] = {3, 3, 3, 3, 2, 1, 4, 5};
    Rng rng = rng_seeded(seed ^ UINT64_C(0x5EED));
    const size_t profile = rng_below(&rng, COUNT_OF(profiles));
    SimOptions o = {.seed = seed,
                    .members = sizes[rng_below(&rng, COUNT_OF(sizes))],
                    .ttl_s = profiles[profile].ttl,
                    .loop_wait_s = profiles[profile].loop_wait,
                    .retry_timeout_s = profiles[profile].retry_timeout,
                    .trace = traced};
    if (members > 0)
        o.members = members;
    if (rng_below(&rng, 5) == 0)
        o.no_rewind = o.remove_diverged = true;
    if (rng_below(&rng, 5) == 0)
        o.tags[o.members - 1] = "{\"failover_priority\":2}";
    if (rng_below(&rng, 8) == 0 && o.members > 2)
        o.tags[o.members - 2] = "{\"nofailover\":true}";
    o.sessions_stay = rng_below(&rng, 3) == 0;
    return o;
}

static bool live(Sim *sim)
{
    if (!sim_run_until(sim, sim_has_primary, sim_writer_ms(sim)) && sim_ok(sim))
        sim_fail(sim, "nobody takes writes %lld ms after the last fault",
                 (long long)sim_writer_ms(sim));
    if (!sim_run_until(sim, sim_settled, sim_settle_ms(sim)) && sim_ok(sim))
        sim_fail(sim, "not settled %lld ms after there was a writer: %s",
                 (long long)sim_settle_ms(sim), sim_unsettled(sim));
    return sim_ok(sim);
}

bool sim_run_seed(uint64_t seed, int members, int64_t seconds, bool traced)
{
    const SimOptions options = options_of(seed, members, traced);
    AUTO(sim_release) Sim *sim = sim_new(&options);
    bool ok = live(sim);
    if (ok) {
        sim_faults(sim);
        ok = sim_run(sim, SECONDS(seconds > 0 ? seconds : 7 * options.ttl_s));
    }
    if (ok) {
        sim_heal(sim);
        ok = live(sim);
    }
    if (!ok)
        sim_report(sim);
    return ok;
}
