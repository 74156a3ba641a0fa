// A PostgreSQL: comes up, recovers, streams, is promoted, stops, crashes. Its events are its own:
// they wait while it is stopped by SIGSTOP, or its machine is frozen.
#include "tests/sim/world.h"

#include <string.h>

#define CHECKPOINT_RECORD 120
#define RECEIVER_TIMEOUT  MS(60000)

bool pg_alive(const Member *m)
{
    return m->pg.state != PG_NONE;
}

bool pg_writes(const Member *m)
{
    return m->pg.state == PG_PRIMARY;
}

bool pg_may_write(const Member *m)
{
    return pg_writes(m) || (pg_alive(m) && m->pg.state != PG_STOPPING &&
                            (m->pg.promote_sent || !m->pg.from_signal));
}

bool pg_answers(const Member *m)
{
    return (m->pg.state == PG_STANDBY || m->pg.state == PG_PRIMARY) && !actor_frozen(&m->pg.actor);
}

static bool is_stale(const Member *m, uint64_t serial)
{
    return m->pg.serial != serial || m->pg.state == PG_NONE;
}

// Nothing that has to reach the disk happens while it hangs.
static bool waits_for_disk(Sim *sim, Member *m, EventFn *fn, uint64_t serial)
{
    if (!m->disk_hung_since)
        return false;
    sim_in(sim, MS(100), &m->pg.actor, fn, m, serial);
    return true;
}

// --- streaming

static void stream_try(Sim *sim, void *context, uint64_t serial);

static void stream_retry(Member *m, int64_t from_ms, int64_t to_ms)
{
    sim_in(m->sim, roll(m->sim, MS(from_ms), MS(to_ms)), &m->pg.actor, stream_try, m,
           m->pg.stream.serial);
}

static void stream_break(Member *m, int64_t from_ms, int64_t to_ms)
{
    Stream *s = &m->pg.stream;
    *s = (Stream){.upstream = s->upstream, .serial = ++m->sim->serials};
    stream_retry(m, from_ms, to_ms);
}

static void stream_send(Member *m);

static void stream_arrives(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    Stream *s = &m->pg.stream;
    if (s->serial != serial || !s->connected || m->pg.state != PG_STANDBY)
        return;
    const Member *up = &sim->members[s->upstream];
    if (!link_up(sim, up->index, m->index)) {
        if (!s->silent_since)
            s->silent_since = sim->now;
        if (sim->now - s->silent_since > RECEIVER_TIMEOUT)
            stream_break(m, 1000, 5000);
        else
            sim_in(sim, MS(200), &m->pg.actor, stream_arrives, m, serial);
        return;
    }
    s->delivering = false;
    s->silent_since = 0;
    if (!wal_contains(sim, m->dir.lineage, s->sent, m->dir.end)) {
        sim_fail(sim, "%s streams from %s what does not contain its own WAL", m->name, up->name);
        return;
    }
    if (s->sent.lsn > m->dir.end.lsn) {
        m->pg.replay_from = wal_replayed(m);
        m->pg.replay_since = sim->now;
        m->dir.end = s->sent;
        pg_wal_grown(m);
    }
    if (up->pg.serial != s->upstream_serial || !pg_alive(up)) {
        stream_break(m, 200, 5000);
        return;
    }
    if (up->dir.end.lsn > m->dir.end.lsn)
        stream_send(m);
}

static void stream_send(Member *m)
{
    Stream *s = &m->pg.stream;
    if (s->delivering)
        return;
    s->delivering = true;
    s->sent = m->sim->members[s->upstream].dir.end;
    sim_in(m->sim, roll(m->sim, 300 * 1000, MS(3)) + m->replication_delay, &m->pg.actor,
           stream_arrives, m, s->serial);
}

void pg_wal_grown(Member *m)
{
    for (int i = 0; i < m->sim->member_count; i++) {
        Member *down = &m->sim->members[i];
        const Stream *s = &down->pg.stream;
        if (down->pg.state == PG_STANDBY && s->connected && s->upstream == m->index &&
            s->upstream_serial == m->pg.serial)
            stream_send(down);
    }
}

// As the walreceiver does it: the upstream's timeline history first; then its WAL from our end on,
// if ours is part of it. What was received but not replayed beyond the fork is left lying.
static bool stream_connects(Sim *sim, Member *m, const Member *up)
{
    if (!link_up(sim, m->index, up->index) || !link_up(sim, up->index, m->index) ||
        !pg_answers(up) || up->dir.lineage != m->dir.lineage)
        return false;
    if (up->dir.end.timeline > m->dir.newest_timeline)
        m->dir.newest_timeline = up->dir.end.timeline;
    if (!wal_contains(sim, m->dir.lineage, up->dir.end, m->dir.end)) {
        const Lsn replayed = wal_replayed(m);
        const WalPosition at = {wal_timeline_at(sim, m->dir.lineage, m->dir.end.timeline, replayed),
                                replayed};
        if (!wal_contains(sim, m->dir.lineage, up->dir.end, at))
            return false;
        m->dir.end = at;
        m->pg.replay_from = replayed;
    }
    m->dir.target = up->dir.end.timeline;
    return true;
}

static void stream_try(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    Stream *s = &m->pg.stream;
    if (s->serial != serial || s->connected || m->pg.state != PG_STANDBY || m->pg.promote_sent ||
        s->upstream < 0)
        return;
    Member *up = &sim->members[s->upstream];
    if (!stream_connects(sim, m, up)) {
        stream_retry(m, 500, 5000);
        return;
    }
    s->connected = true;
    s->delivering = false;
    s->upstream_serial = up->pg.serial;
    m->pg.received = true;
    trace(sim, "pg     %s: streams from %s, timeline %u", m->name, up->name, up->dir.end.timeline);
    if (up->dir.end.lsn > m->dir.end.lsn)
        stream_send(m);
}

// A reload. The receiver that streams from there goes on; one that is waited for is tried at once.
void pg_follow(Member *m, int upstream)
{
    const bool goes_on = m->pg.stream.connected && m->pg.stream.upstream == upstream;
    m->pg.stream.upstream = upstream;
    if (m->pg.state == PG_STANDBY && !goes_on)
        stream_break(m, 5, 100);
}

// --- the end

static void was_told(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (m->pg.serial != serial || m->pg.state != PG_NONE)
        return;
    warden_server_gone(m);
}

static void receiver_gives_up(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (m->pg.state == PG_STANDBY && m->pg.stream.serial == serial && m->pg.stream.connected)
        stream_break(m, 200, 2000);
}

// Connections to it are reset where that can be heard; else they look alive for a time yet.
static void break_downstream(Member *m)
{
    Sim *sim = m->sim;
    for (int i = 0; i < sim->member_count; i++) {
        Member *down = &sim->members[i];
        Stream *s = &down->pg.stream;
        if (down->pg.state != PG_STANDBY || !s->connected || s->upstream != m->index ||
            s->delivering)
            continue;
        if (link_up(sim, m->index, i))
            stream_break(down, 200, 5000);
        else
            sim_in(sim, roll(sim, MS(5000), RECEIVER_TIMEOUT), &down->pg.actor, receiver_gives_up,
                   down, s->serial);
    }
}

static void gone(Member *m, const char *how)
{
    Sim *sim = m->sim;
    Postgres *pg = &m->pg;
    if (pg->state == PG_NONE)
        return;
    const uint64_t serial = pg->serial;
    trace(sim, "pg     %s: gone, %s, at %u/%s", m->name, how, m->dir.end.timeline,
          lsn_format(m->dir.end.lsn).text);
    actor_forget(&pg->actor);
    pg->state = PG_NONE;
    pg->gone_at = sim->now;
    break_downstream(m);
    sim_in(sim, roll(sim, 100 * 1000, MS(2)), &m->actor, was_told, m, serial);
}

// Without a shutdown checkpoint.
static void crashed(Member *m, const char *how)
{
    Postgres *pg = &m->pg;
    DataDir *dir = &m->dir;
    if (pg->state == PG_STANDBY) {
        const Lsn replayed = wal_replayed(m);
        // It moves on only as pages are written.
        if (chance(m->sim, 500))
            dir->min_recovery = (WalPosition){
                wal_timeline_at(m->sim, dir->lineage, dir->end.timeline, replayed), replayed};
        // Between the last steps of a promotion: no longer a standby, and not yet on its timeline.
        if (pg->promoting && chance(m->sim, 150)) {
            dir->standby_signal = false;
            dir->newest_timeline++;
        }
    }
    gone(m, how);
}

static void quit(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    (void)sim;
    if (!is_stale(m, serial))
        crashed(m, "SIGQUIT");
}

void pg_quit(Member *m)
{
    if (!pg_alive(m))
        return;
    // The postmaster kills what does not listen after five seconds.
    const int64_t takes =
        m->pg.stubborn ? MS(5000) : roll(m->sim, MS(1), m->sim->faulty ? MS(60) : MS(20));
    sim_in(m->sim, takes, &m->pg.actor, quit, m, m->pg.serial);
}

void pg_kill(Member *m)
{
    if (pg_alive(m))
        crashed(m, "SIGKILL");
}

void pg_orphaned(Member *m)
{
    m->pg.orphan = true;
    m->pg.unheard = m->pg.actor.frozen;
    pg_quit(m);
}

// --- a fast shutdown

// A walsender sends all there is, the shutdown checkpoint too, before it goes.
static bool last_words_heard(Member *m)
{
    Sim *sim = m->sim;
    bool all = true;
    for (int i = 0; i < sim->member_count; i++) {
        Member *down = &sim->members[i];
        Stream *s = &down->pg.stream;
        if (down->pg.state != PG_STANDBY || !s->connected || s->upstream != m->index ||
            s->upstream_serial != m->pg.serial || down->dir.end.lsn == m->dir.end.lsn)
            continue;
        if (s->silent_since && sim->now - s->silent_since > MS(3000)) {
            stream_break(down, 1000, 5000); // cut: it does not answer
            continue;
        }
        stream_send(down);
        all = false;
    }
    return all;
}

static void stop_ends(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    DataDir *dir = &m->dir;
    if (is_stale(m, serial) || waits_for_disk(sim, m, stop_ends, serial))
        return;
    const bool hurried = sim->now - m->pg.primary_since > MS(4000);
    if (dir->state == CONTROL_SHUTTING_DOWN && !last_words_heard(m) && !hurried) {
        sim_in(sim, MS(2), &m->pg.actor, stop_ends, m, serial);
        return;
    }
    if (dir->state == CONTROL_SHUTTING_DOWN)
        dir->state = CONTROL_SHUT_DOWN;
    gone(m, control_state_name(dir->state));
}

static void stop_checkpoint(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    DataDir *dir = &m->dir;
    if (is_stale(m, serial) || waits_for_disk(sim, m, stop_checkpoint, serial))
        return;
    dir->state = CONTROL_SHUTTING_DOWN;
    dir->control_timeline = dir->end.timeline;
    dir->checkpoint_lsn = dir->end.lsn;
    if (!wal_append(sim, m, CHECKPOINT_RECORD))
        return;
    m->pg.primary_since = sim->now; // from here on it waits for its walsenders
    stop_ends(sim, m, serial);
}

void pg_stop_fast(Member *m)
{
    Sim *sim = m->sim;
    DataDir *dir = &m->dir;
    const PgState was = m->pg.state;
    if (was == PG_NONE || was == PG_STOPPING)
        return;
    if (was == PG_STANDBY) {
        const Lsn replayed = wal_replayed(m);
        dir->min_recovery = (WalPosition){
            wal_timeline_at(sim, dir->lineage, dir->end.timeline, replayed), replayed};
        if (chance(sim, 700))
            dir->control_timeline = dir->min_recovery.timeline; // a restartpoint
        dir->state = CONTROL_SHUT_DOWN_IN_RECOVERY;
    }
    m->pg.state = PG_STOPPING;
    sim_in(sim, roll(sim, MS(10), MS(200)), &m->pg.actor,
           was == PG_PRIMARY ? stop_checkpoint : stop_ends, m, m->pg.serial);
}

// --- coming up

static void as_primary(Member *m)
{
    m->pg.state = PG_PRIMARY;
    m->pg.primary_since = m->sim->now;
    m->dir.state = CONTROL_IN_PRODUCTION;
    clients_serve(m);
}

static void ready(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    DataDir *dir = &m->dir;
    if (is_stale(m, serial) || m->pg.state != PG_STARTING || waits_for_disk(sim, m, ready, serial))
        return;
    if (m->start_fails) {
        gone(m, "could not start");
        return;
    }
    dir->from_backup = false;
    if (!m->pg.from_signal) {
        dir->control_timeline = dir->end.timeline;
        dir->checkpoint_lsn = dir->end.lsn;
        if (!wal_append(sim, m, CHECKPOINT_RECORD))
            return;
        trace(sim, "pg     %s: primary, timeline %u", m->name, dir->end.timeline);
        as_primary(m);
        return;
    }
    m->pg.state = PG_STANDBY;
    dir->state = CONTROL_IN_ARCHIVE_RECOVERY;
    Lsn consistent = dir->min_recovery.lsn;
    if (dir->checkpoint_lsn > consistent)
        consistent = dir->checkpoint_lsn;
    m->pg.replay_from = consistent < dir->end.lsn ? consistent : dir->end.lsn;
    m->pg.replay_since = sim->now;
    trace(sim, "pg     %s: standby at %u/%s", m->name, dir->end.timeline,
          lsn_format(dir->end.lsn).text);
    m->pg.stream.serial = ++sim->serials;
    stream_retry(m, 5, 300);
    pg_wal_grown(m);
}

void pg_start(Member *m, bool standby)
{
    Sim *sim = m->sim;
    DataDir *dir = &m->dir;
    ASSERT(!pg_alive(m));
    dir->standby_signal = standby;
    check_start(m, standby);
    const bool clean =
        dir->state == CONTROL_SHUT_DOWN || dir->state == CONTROL_SHUT_DOWN_IN_RECOVERY;
    m->pg = (Postgres){.actor = {.parent = &m->actor},
                       .state = PG_STARTING,
                       .serial = m->pg.serial + 1,
                       .started_at = host_now(m),
                       .started_wall_us = host_wall_us(m),
                       .from_signal = standby,
                       .replay_bytes_per_ms = chance(sim, 30) ? 500 : 500000,
                       .stream = {.upstream = standby ? member_named(sim, dir->upstream) : -1}};
    if (!clean)
        dir->state = standby ? CONTROL_IN_ARCHIVE_RECOVERY : CONTROL_IN_CRASH_RECOVERY;
    trace(sim, "pg     %s: starts as %s%s", m->name, standby ? "standby" : "primary",
          clean ? "" : ", after a crash");
    const int64_t takes = clean ? roll(sim, MS(30), MS(300)) : roll(sim, MS(100), MS(2500));
    sim_in(sim, takes, &m->pg.actor, ready, m, m->pg.serial);
}

// --- promotion

static void checkpoint_done(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    if (is_stale(m, serial) || m->pg.state != PG_PRIMARY ||
        waits_for_disk(sim, m, checkpoint_done, serial))
        return;
    m->dir.control_timeline = m->dir.end.timeline;
    m->dir.checkpoint_lsn = m->dir.end.lsn;
    m->pg.checkpoint_pending = false;
    if (wal_append(sim, m, CHECKPOINT_RECORD))
        pg_wal_grown(m);
    if (m->agent)
        agent_notify(m->agent);
}

static void promotion_ends(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    DataDir *dir = &m->dir;
    if (is_stale(m, serial) || m->pg.state != PG_STANDBY ||
        waits_for_disk(sim, m, promotion_ends, serial))
        return;
    if (wal_replayed(m) < dir->end.lsn) {
        sim_in(sim, MS(20), &m->pg.actor, promotion_ends, m, serial);
        return;
    }
    uint32_t newest = dir->newest_timeline;
    newest = dir->target > newest ? dir->target : newest;
    newest = dir->end.timeline > newest ? dir->end.timeline : newest;
    const uint32_t timeline = newest + 1;
    check_promoted(m, timeline);
    if (!sim_ok(sim))
        return;
    (void)wal_fork(sim, m, timeline);
    dir->end.timeline = dir->target = dir->newest_timeline = timeline;
    dir->standby_signal = false;
    m->pg.promoting = false;
    m->pg.checkpoint_pending = true;
    trace(sim, "pg     %s: promoted to timeline %u at %s", m->name, timeline,
          lsn_format(dir->end.lsn).text);
    if (!wal_append(sim, m, 48))
        return;
    as_primary(m);
    pg_wal_grown(m);
    if (m->agent) // its disk thread watches for that
        agent_notify(m->agent);
    sim_in(sim, roll(sim, MS(30), MS(2000)), &m->pg.actor, checkpoint_done, m, serial);
}

void pg_promote(Member *m)
{
    Sim *sim = m->sim;
    if (m->pg.state != PG_STANDBY || m->pg.promote_sent)
        return;
    trace(sim, "pg     %s: is asked to promote", m->name);
    m->pg.promote_sent = m->pg.promoting = true;
    Stream *s = &m->pg.stream;
    *s = (Stream){.upstream = s->upstream, .serial = ++sim->serials};
    sim_in(sim, roll(sim, MS(10), MS(250)) + m->promotion_delay, &m->pg.actor, promotion_ends, m,
           m->pg.serial);
}
