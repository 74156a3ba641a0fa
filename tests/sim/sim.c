// The simulation as scenarios drive it.
#include "tests/sim/world.h"

#include "common/os/log.h"

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static Sim *reported; // the one a crash would be about

// --- its life

static void log_line(void *context, LogLevel level, const char *line)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    Sim *sim = context;
    if (sim->current && !sim->current->zombie)
        trace(sim, "log    %s: %s: %.180s", sim->current->member->name, names[level], line);
}

static void set_links(Sim *sim, bool up)
{
    for (size_t i = 0; i < COUNT_OF(sim->link); i++)
        for (size_t k = 0; k < COUNT_OF(sim->link[i]); k++)
            sim->link[i][k] = up;
}

Sim *sim_new(const SimOptions *options)
{
    Sim *sim = calloc(1, sizeof *sim);
    ASSERT(sim);
    sim->options = *options;
    SimOptions *o = &sim->options;
    o->members = o->members ? o->members : 3;
    o->ttl_s = o->ttl_s ? o->ttl_s : 30;
    o->loop_wait_s = o->loop_wait_s ? o->loop_wait_s : 10;
    o->retry_timeout_s = o->retry_timeout_s ? o->retry_timeout_s : 10;
    sim->rng = rng_seeded(o->seed);
    sim->now = sim->began = MS(1000);
    sim->member_count = o->members;
    sim->acknowledger = -1;
    sim->writes = !o->quiet_clients;
    sim->respawn = true;
    reported = sim;
    log_capture(log_line, sim);
    set_links(sim, true);
    store_init(sim);
    for (int i = 0; i < sim->member_count; i++)
        member_init(sim, i);
    for (int i = 0; i < sim->member_count && !o->all_stopped; i++)
        member_power_on(&sim->members[i]);
    return sim;
}

void sim_free(Sim *sim)
{
    if (!sim)
        return;
    agents_done(sim);
    mails_done(sim);
    for (int i = 0; i < sim->member_count; i++)
        member_done(&sim->members[i]);
    store_done(sim);
    wal_done(sim);
    loop_done(sim);
    log_capture(NULL, NULL);
    reported = NULL;
    free(sim);
}

void sim_release(Sim **sim)
{
    sim_free(*sim);
    *sim = NULL;
}

// --- time

static bool run_to(Sim *sim, int64_t until)
{
    while (sim_ok(sim) && sim_step(sim, until))
        check_all(sim);
    return sim_ok(sim);
}

bool sim_run(Sim *sim, int64_t ms)
{
    return run_to(sim, sim->now + MS(ms));
}

bool sim_run_until(Sim *sim, SimCondition *condition, int64_t ms)
{
    const int64_t until = sim->now + MS(ms);
    while (!condition(sim)) {
        if (sim->now >= until || !sim_run(sim, 10))
            return false;
    }
    return sim_ok(sim);
}

bool sim_run_until_at(Sim *sim, bool (*condition)(Sim *, int), int argument, int64_t ms)
{
    const int64_t until = sim->now + MS(ms);
    while (!condition(sim, argument)) {
        if (sim->now >= until || !sim_run(sim, 10))
            return false;
    }
    return sim_ok(sim);
}

int64_t sim_now_ms(const Sim *sim)
{
    return (sim->now - sim->began) / MS(1);
}

bool sim_ok(const Sim *sim)
{
    return !sim->failure[0];
}

const char *sim_failure(const Sim *sim)
{
    return sim->failure;
}

void sim_report(const Sim *sim)
{
    trace_dump(sim);
    fprintf(stderr, "seed %llu, %d members, ttl %d: %s\n", (unsigned long long)sim->options.seed,
            sim->member_count, sim->options.ttl_s, sim_ok(sim) ? "(no failure)" : sim->failure);
}

void sim_note(Sim *sim, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    trace(sim, "note   %s", text);
}

static void report_crash(void)
{
    if (reported)
        sim_report(reported);
}

static void on_abort(int signal_number)
{
    report_crash();
    (void)signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void sim_report_on_crash(void)
{
    (void)signal(SIGABRT, on_abort);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(report_crash);
#endif
}

// --- what is to be seen

int sim_leader(Sim *sim)
{
    const StoreKey *leader = store_key(sim, "leader");
    return leader && leader->lease ? member_named(sim, leader->value) : -1;
}

int sim_primary(Sim *sim)
{
    for (int i = 0; i < sim->member_count; i++)
        if (pg_writes(&sim->members[i]))
            return i;
    return -1;
}

bool sim_has_primary(Sim *sim)
{
    return sim_primary(sim) >= 0;
}

bool sim_no_primary(Sim *sim)
{
    return sim_primary(sim) < 0;
}

bool sim_streams(Sim *sim, int member)
{
    const Member *m = &sim->members[member];
    const Stream *s = &m->pg.stream;
    if (m->pg.state != PG_STANDBY || !s->connected || s->silent_since)
        return false;
    const Member *up = &sim->members[s->upstream];
    return up->pg.serial == s->upstream_serial && pg_alive(up) &&
           (pg_writes(up) || sim_streams(sim, up->index));
}

bool sim_is_primary(Sim *sim, int member)
{
    return pg_writes(&sim->members[member]);
}

bool sim_server_runs(Sim *sim, int member)
{
    return pg_alive(&sim->members[member]);
}

bool sim_agent_runs(Sim *sim, int member)
{
    return sim->members[member].agent != NULL;
}

// Whoever may be promoted has a slot for everybody who would then follow.
static bool has_all_slots(const Sim *sim, const Member *m)
{
    if (agent_settings(m->agent->agent)->tags.nofailover && !pg_writes(m))
        return true;
    for (int i = 0; i < sim->member_count; i++) {
        const Member *other = &sim->members[i];
        bool there = other == m || other->stay_down;
        for (size_t k = 0; k < m->dir.slot_count && !there; k++)
            there = str_eq(m->dir.slots[k].name, other->name);
        if (!there)
            return false;
    }
    return true;
}

const char *sim_unsettled(Sim *sim)
{
    const int primary = sim_primary(sim);
    if (primary < 0)
        return "no primary";
    if (sim_leader(sim) != primary)
        return "the primary has not the key";
    const AgentProc *agent = sim->members[primary].agent;
    if (!agent || agent->lease_until <= sim->now)
        return "the primary has no lease";
    for (int i = 0; i < sim->member_count; i++) {
        const Member *m = &sim->members[i];
        static char text[40];
        (void)snprintf(text, sizeof text, "%s does not stream", m->name);
        if (m->stay_down)
            continue;
        if (!m->powered || !m->agent || !m->agent->agent || (i != primary && !sim_streams(sim, i)))
            return text;
        if (!has_all_slots(sim, m)) {
            (void)snprintf(text, sizeof text, "%s lacks a slot", m->name);
            return text;
        }
    }
    return NULL;
}

bool sim_settled(Sim *sim)
{
    return sim_unsettled(sim) == NULL;
}

int sim_exit_code(Sim *sim, int member)
{
    return sim->members[member].exit_code;
}

const char *sim_last_reason(Sim *sim, int member)
{
    const AgentProc *proc = sim->members[member].agent;
    Snapshot *s = proc && proc->agent ? agent_snapshot(proc->agent) : NULL;
    const char *name = s ? reason_name(s->decision.reason) : "";
    snapshot_unref(s);
    return name;
}

uint32_t sim_timeline(Sim *sim, int member)
{
    return sim->members[member].dir.end.timeline;
}

uint64_t sim_server_starts(Sim *sim, int member)
{
    return sim->members[member].pg.serial;
}

uint64_t sim_commits(Sim *sim)
{
    return sim->commit_count;
}

uint64_t sim_lost_commits(Sim *sim)
{
    const int primary = sim_primary(sim);
    if (primary < 0)
        return 0;
    const DataDir *dir = &sim->members[primary].dir;
    uint64_t lost = 0;
    for (size_t i = 0; i < sim->commit_count; i++) {
        const Commit *c = &sim->commits[i];
        lost += c->lineage != dir->lineage || !wal_contains(sim, dir->lineage, dir->end, c->end);
    }
    return lost;
}

uint64_t sim_member_writes_between(Sim *sim)
{
    return sim->member_writes_between;
}

uint64_t sim_unavailable_ms(Sim *sim)
{
    const int64_t now = sim->no_writer_since ? sim->now - sim->no_writer_since : 0;
    return (uint64_t)((sim->unavailable + now) / MS(1));
}

bool sim_waiting_for_wipe(Sim *sim, int member)
{
    return sim->members[member].reinit_asked;
}

const char *sim_wall_text(Sim *sim, int member, int64_t ms)
{
    const int64_t us = host_wall_us(&sim->members[member]) + ms * 1000;
    const time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    static char text[40];
    if (!gmtime_r(&seconds, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", &tm) == 0)
        return "";
    return text;
}

int64_t sim_writer_ms(const Sim *sim)
{
    const SimOptions *o = &sim->options;
    return SECONDS(o->ttl_s + 2 * o->loop_wait_s + 20);
}

int64_t sim_settle_ms(const Sim *sim)
{
    return sim_writer_ms(sim) + SECONDS(sim->options.ttl_s + 60);
}
