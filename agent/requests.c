// What came in over REST: checked against the cluster as it is, turned into a key in the store or
// a wish of this member, and answered when it has happened (rest.md §9 to §13; the texts are read
// by tools and must stay).
#include "agent/state.h"

#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/os/log.h"
#include "dcs/records.h"

#include <stdio.h>

static void answer(Agent *agent, ApiRequest *r, int status, const char *text)
{
    agent->world.complete(r, status, NULL, text);
}

static const char *body_text(const ApiRequest *r, const char *key)
{
    const char *text = tree_get_string(r->body, key, NULL);
    return str_empty(text) ? NULL : text;
}

// --- switchover and failover (rest.md §11)

typedef struct {
    bool switchover; // also a failover that names the leader
    const char *leader, *candidate, *schedule, *word;
} Move;

static Move move_of(const ApiRequest *r)
{
    Move m = {.leader = body_text(r, "leader"),
              .candidate = body_text(r, "candidate"),
              .schedule = body_text(r, "scheduled_at")};
    if (!m.candidate)
        m.candidate = body_text(r, "member");
    m.switchover = r->kind == API_SWITCHOVER || m.leader;
    m.word = m.switchover ? "switchover" : "failover";
    return m;
}

static int check_schedule(const Agent *agent, const char *schedule, const char *word, Arena *arena,
                          const char **text)
{
    Timestamp at;
    if (!timestamp_parse(schedule, NULL, &at)) {
        *text = "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. "
                "ISO 8601";
        return 422;
    }
    if (!at.has_zone) {
        *text = arena_printf(arena, "Timezone information is mandatory for the scheduled %s", word);
        return 400;
    }
    if (timestamp_us(&at) < clock_wall_us(agent->world.clock)) {
        *text = arena_printf(arena, "Cannot schedule %s in the past", word);
        return 422;
    }
    return 0;
}

// Rows 1 to 7: what the request alone gets wrong. 0: nothing.
static int check_move(const Agent *agent, const ApiRequest *r, const Move *m, const char **text)
{
    const bool paused = settings_of(agent)->pause;
    if (r->kind == API_FAILOVER && !m->candidate) {
        *text = "Failover could be performed only to a specific candidate";
        return 400;
    }
    if (r->kind == API_SWITCHOVER && !m->leader) {
        *text = "Switchover could be performed only from a specific leader";
        return 400;
    }
    if (r->kind == API_FAILOVER && m->schedule) {
        *text = "Failover can't be scheduled";
        return 400;
    }
    if (m->schedule && paused) {
        *text = "Can't schedule switchover in the paused state";
        return 400;
    }
    if (m->schedule) {
        const int status = check_schedule(agent, m->schedule, "switchover", r->arena, text);
        if (status)
            return status;
    }
    if (paused && !m->candidate) {
        *text = "Switchover is possible only to a specific candidate in a paused state";
        return 400;
    }
    if (str_ieq(m->leader, m->candidate) && m->leader) {
        *text = "Switchover target and source are the same";
        return 400;
    }
    return 0;
}

static bool peer_is_good(const PeerAnswer *p)
{
    return p->reachable && !p->nofailover && !p->watchdog_failed;
}

// Rows 8 to 13: against the cluster as it is now. 0: nothing wrong.
static int check_move_now(Agent *agent, const ApiRequest *r, const Move *m, const char **text)
{
    const ClusterView *v = &agent->view;
    if (m->leader && !str_ieq(m->leader, v->leader.name)) {
        *text = "leader name does not match";
        return 412;
    }
    if (m->candidate && !cluster_member(v, m->candidate)) {
        *text = "candidate does not exists";
        return 412;
    }
    size_t others = 0;
    for (size_t i = 0; i < v->member_count; i++)
        others += v->members[i].api_url && !str_ieq(v->members[i].name, v->leader.name);
    if (!m->candidate && others == 0) {
        *text = arena_printf(r->arena,
                             "%s is not possible: cluster does not have members except "
                             "leader",
                             m->word);
        return 412;
    }
    PeerFacts peers;
    ask_peers(agent, &peers);
    bool good = m->candidate ? str_ieq(m->candidate, settings_of(agent)->name) : false;
    for (size_t i = 0; i < peers.count; i++) {
        const PeerAnswer *p = &peers.answers[i];
        const bool considered =
            m->candidate ? str_ieq(p->name, m->candidate) : !str_ieq(p->name, v->leader.name);
        good = good || (considered && peer_is_good(p));
    }
    // We ourselves may be the one to go to when the request came in at a replica.
    if (!m->candidate && !agent->lease.held && !settings_of(agent)->tags.nofailover)
        good = true;
    if (!good) {
        *text = arena_printf(r->arena, "%s is not possible: no good candidates have been found",
                             m->word);
        return 412;
    }
    return 0;
}

// True: the request has been answered.
static bool begin_move(Agent *agent, ApiRequest *r)
{
    const Move m = move_of(r);
    const char *text = NULL;
    int status = check_move(agent, r, &m, &text);
    if (!status && !m.schedule)
        status = check_move_now(agent, r, &m, &text);
    if (status) {
        answer(agent, r, status, text);
        return true;
    }
    char *value = records_failover(agent->turn_arena, m.leader, m.candidate, m.schedule);
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok =
        store_outcome(agent,
                      dcs->ops->write(dcs, KEY_FAILOVER, value, agent->view.failover.mod_revision,
                                      deadline_in(agent->world.clock, 2000), &r->revision, &err),
                      &err);
    if (!ok) {
        answer(agent, r, 503, "failed to write failover key into DCS");
        return true;
    }
    log_info("%s asked for leader=%s candidate=%s at=%s", m.word, str_or(m.leader, "-"),
             str_or(m.candidate, "-"), str_or(m.schedule, "now"));
    if (m.schedule) {
        answer(agent, r, 202, "Switchover scheduled");
        return true;
    }
    r->old_leader = arena_strdup(r->arena, str_or(agent->view.leader.name, ""));
    return false;
}

static bool settle_move(Agent *agent, ApiRequest *r)
{
    const ClusterView *v = &agent->view;
    const Move m = move_of(r);
    if (!agent->view_known || v->revision < r->revision)
        return false;
    const char *leader = v->leader.name;
    const MemberView *member = cluster_leader_member(v);
    // Patroni answers when the key has changed hands; that the new leader also writes is what
    // people wait for, and costs a few milliseconds more.
    if (leader && !str_ieq(leader, r->old_leader) && member && member->role == ROLE_PRIMARY) {
        const bool wanted = !m.candidate || str_ieq(m.candidate, leader);
        const char *done = m.switchover ? "Successfully switched over" : "Successfully failed over";
        const char *other = m.switchover ? "Switched over" : "Failed over";
        answer(agent, r, 200,
               wanted ? arena_printf(r->arena, "%s to \"%s\"", done, leader)
                      : arena_printf(r->arena, "%s to \"%s\" instead of \"%s\"", other, leader,
                                     m.candidate));
        return true;
    }
    const bool gone = str_empty(v->failover.leader) && str_empty(v->failover.candidate);
    if (gone && leader && str_ieq(leader, r->old_leader) &&
        v->failover.mod_revision > r->revision) {
        answer(agent, r, 503, m.switchover ? "Switchover failed" : "Failover failed");
        return true;
    }
    const int64_t loop_s = settings_of(agent)->loop_wait_ms / MS_PER_S;
    const int64_t most_s = 2 * (loop_s > 10 ? loop_s : 10);
    if (instant_ms_between(r->begun_at, now_of(agent)) > most_s * MS_PER_S) {
        answer(agent, r, 503,
               arena_printf(r->arena,
                            "%s status unknown after %lld seconds; operation may still be in "
                            "progress",
                            m.switchover ? "Switchover" : "Failover", (long long)most_s));
        return true;
    }
    return false;
}

static void delete_switchover(Agent *agent, ApiRequest *r)
{
    if (!agent->view.failover.scheduled_at) {
        answer(agent, r, 404, "no switchover is scheduled");
        return;
    }
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok =
        store_outcome(agent,
                      dcs->ops->write(dcs, KEY_FAILOVER, "{}", agent->view.failover.mod_revision,
                                      deadline_in(agent->world.clock, 2000), NULL, &err),
                      &err);
    answer(agent, r, ok ? 200 : 409, ok ? "scheduled switchover deleted" : "failover key changed");
}

// --- restart (rest.md §12)

static bool version_is_lower(int server_version, const char *wanted)
{
    int major = 0, minor = 0;
    return sscanf(wanted, "%d.%d", &major, &minor) == 2 && server_version < major * 10000 + minor;
}

// The filters of a restart against the server as it is.
static bool restart_applies(const Agent *agent, const Tree *filters)
{
    const ServerView *s = &agent->server;
    const char *role = tree_get_string(filters, "role", NULL);
    const char *version = tree_get_string(filters, "postgres_version", NULL);
    if (role && role_parse(role) != s->role)
        return false;
    if (version && !version_is_lower(s->server_version, version))
        return false;
    return !tree_get(filters, "restart_pending") || s->pending_restart;
}

static int check_restart(const Agent *agent, const ApiRequest *r, const char **text)
{
    const Tree *schedule = tree_get(r->body, "schedule");
    if (schedule && settings_of(agent)->pause) {
        *text = "Can't schedule restart in the paused state";
        return 500;
    }
    for (size_t i = 0; i < r->body->count; i++) {
        const char *key = r->body->entries[i].key;
        const char *value = tree_scalar_text(r->arena, r->body->entries[i].value);
        if (str_eq(key, "schedule")) {
            const int status = check_schedule(agent, str_or(value, ""), "restart", r->arena, text);
            if (status)
                return status;
        } else if (str_eq(key, "role")) {
            const Role role = role_parse(str_or(value, ""));
            if (str_eq(value, "master") ||
                (role != ROLE_PRIMARY && role != ROLE_STANDBY_LEADER && role != ROLE_REPLICA)) {
                *text = "PostgreSQL role should be either primary, standby_leader, or replica";
                return 400;
            }
        } else if (str_eq(key, "postgres_version")) {
            int major = 0, minor = 0;
            if (!value || sscanf(value, "%d.%d", &major, &minor) != 2 || major < 9) {
                *text = arena_printf(r->arena,
                                     "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: "
                                     "%s",
                                     str_or(value, ""));
                return 400;
            }
        } else if (str_eq(key, "timeout")) {
            int64_t seconds = 0;
            if (!value || !parse_int64(value, &seconds) || seconds <= 0) {
                *text = "Timeout should be a positive number of seconds";
                return 400;
            }
        } else if (!str_eq(key, "restart_pending")) {
            *text = arena_printf(r->arena, "Unknown filter for the scheduled restart: %s", key);
            return 400;
        }
    }
    return 0;
}

static void schedule_restart(Agent *agent, ApiRequest *r)
{
    if (agent->scheduled_restart) {
        answer(agent, r, 409, "Another restart is already scheduled");
        return;
    }
    Timestamp at = {0};
    arena_reset(agent->scheduled_arena);
    Tree *kept = tree_copy(agent->scheduled_arena, r->body);
    if (agent->server.postmaster_start_text)
        tree_set(agent->scheduled_arena, kept, "postmaster_start_time",
                 tree_string(agent->scheduled_arena, agent->server.postmaster_start_text));
    const bool checked = timestamp_parse(tree_get_string(kept, "schedule", ""), NULL, &at);
    ASSERT(checked); // by check_restart
    agent->scheduled_us = timestamp_us(&at);
    agent->scheduled_restart = kept;
    agent->member_dirty = true;
    answer(agent, r, 202, "Restart scheduled");
}

static bool begin_restart(Agent *agent, ApiRequest *r)
{
    const char *text = NULL;
    const int status = check_restart(agent, r, &text);
    if (status) {
        answer(agent, r, status, text);
        return true;
    }
    if (tree_get(r->body, "schedule")) {
        schedule_restart(agent, r);
        return true;
    }
    if (!restart_applies(agent, r->body)) {
        answer(agent, r, 503, "restart conditions are not satisfied");
        return true;
    }
    if (agent->server.task.running || agent->memory.restarting || agent->restart_wanted) {
        const char *what =
            agent->server.task.running ? task_name(agent->server.task.kind) : "restart";
        answer(agent, r, 503, arena_printf(r->arena, "%s already in progress", what));
        return true;
    }
    agent->restart_wanted = true;
    r->revision = agent->server.postmaster_start_us;
    return false;
}

static bool settle_restart(Agent *agent, ApiRequest *r)
{
    const ServerView *s = &agent->server;
    if (agent->memory.restarting) {
        agent->restart_wanted = false; // under way
        r->started = true;
    } else if (r->started && s->running && s->answered) {
        // Started anew, or stopped in vain?
        const bool anew = s->postmaster_start_us != r->revision;
        answer(agent, r, anew ? 200 : 503, anew ? "restarted successfully" : "restart failed");
        return true;
    }
    int64_t seconds = settings_of(agent)->primary_start_timeout_ms / MS_PER_S;
    seconds = tree_get_int(r->body, "timeout", seconds);
    if (instant_ms_between(r->begun_at, now_of(agent)) > seconds * MS_PER_S) {
        agent->restart_wanted = false;
        answer(agent, r, 503, s->running ? "postgres is still starting" : "restart failed");
        return true;
    }
    return false;
}

// A scheduled restart that is due, too late, or overtaken by another start of the server.
static void settle_scheduled_restart(Agent *agent)
{
    if (!agent->scheduled_restart)
        return;
    const int64_t late_ms = (clock_wall_us(agent->world.clock) - agent->scheduled_us) / 1000;
    const char *start = tree_get_string(agent->scheduled_restart, "postmaster_start_time", NULL);
    const bool overtaken = start && agent->server.postmaster_start_text &&
                           !str_eq(start, agent->server.postmaster_start_text);
    const bool too_late = 2 * late_ms > 3 * settings_of(agent)->loop_wait_ms;
    const bool unmet = late_ms >= 0 && !restart_applies(agent, agent->scheduled_restart);
    if (!(overtaken || too_late || unmet || (late_ms >= 0 && agent->memory.restarting)))
        return;
    if (overtaken || too_late || unmet)
        log_warn("scheduled restart dropped why='%s'", overtaken  ? "the server was started since"
                                                       : too_late ? "its time has passed"
                                                                  : "its conditions are not met");
    agent->scheduled_restart = NULL;
    agent->member_dirty = true;
}

// --- configuration (rest.md §9)

static void change_config(Agent *agent, ApiRequest *r)
{
    const ClusterView *v = &agent->view;
    const bool patch = r->kind == API_PATCH_CONFIG;
    if (patch && !v->config) {
        answer(agent, r, 503, "the cluster has no configuration yet");
        return;
    }
    bool changed = true;
    const Tree *wanted = r->body;
    if (patch)
        wanted = tree_patch(r->arena, v->config, r->body, &changed);
    else
        changed = !v->config || !tree_equal(v->config, wanted);
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok =
        !changed ||
        store_outcome(agent,
                      dcs->ops->write(dcs, KEY_CONFIG, tree_to_json(r->arena, wanted, JSON_COMPACT),
                                      patch ? v->config_revision : REVISION_ANY,
                                      deadline_in(agent->world.clock, 2000), NULL, &err),
                      &err);
    if (!ok) {
        answer(agent, r, patch ? 409 : 502, err.text);
        return;
    }
    agent->world.complete(r, 200, "application/json", tree_to_json(r->arena, wanted, JSON_SPACED));
}

// --- reinitialize (rest.md §13)

static void reinitialize(Agent *agent, ApiRequest *r)
{
    const bool force = tree_get_bool(r->body, "force", false);
    const TaskView *task = &agent->server.task;
    if (!agent->view.leader.name)
        answer(agent, r, 503, "Cluster has no leader, can not reinitialize");
    else if (agent->lease.held)
        answer(agent, r, 503, "I am the leader, can not reinitialize");
    else if ((task->running || agent->memory.reinit) && !force)
        answer(agent, r, 503,
               arena_printf(r->arena, "%s already in progress",
                            agent->memory.reinit ? "reinitialize" : task_name(task->kind)));
    else {
        agent->reinit_wanted = true;
        agent->reinit_force = force;
        answer(agent, r, 200, "reinitialize started");
    }
}

// --- the queue

// True: answered.
static bool begin(Agent *agent, ApiRequest *r)
{
    if (!agent->view_known) {
        answer(agent, r, 503, "the store cannot be read");
        return true;
    }
    switch (r->kind) {
    case API_SWITCHOVER:
    case API_FAILOVER:
        return begin_move(agent, r);
    case API_RESTART:
        return begin_restart(agent, r);
    case API_DELETE_SWITCHOVER:
        delete_switchover(agent, r);
        return true;
    case API_DELETE_RESTART:
        if (agent->scheduled_restart) {
            agent->scheduled_restart = NULL;
            agent->member_dirty = true;
            answer(agent, r, 200, "scheduled restart deleted");
        } else {
            answer(agent, r, 404, "no restarts are scheduled");
        }
        return true;
    case API_REINITIALIZE:
        reinitialize(agent, r);
        return true;
    case API_PATCH_CONFIG:
    case API_PUT_CONFIG:
        change_config(agent, r);
        return true;
    case API_RELOAD: // answered by the loop, which reads the files
        answer(agent, r, 202, "reload scheduled");
        return true;
    }
    ASSERT(false);
}

void requests_take(Agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    ApiRequest *fresh = agent->queue;
    agent->queue = NULL;
    pthread_mutex_unlock(&agent->lock);
    ApiRequest *in_order = NULL;
    while (fresh) {
        ApiRequest *next = fresh->next;
        fresh->next = in_order;
        in_order = fresh;
        fresh = next;
    }
    int moves = 0;
    while (in_order) {
        ApiRequest *r = in_order;
        in_order = r->next;
        // Each of these may wait for peers and store: one a pass, or renewal would wait for them.
        const bool move = r->kind == API_SWITCHOVER || r->kind == API_FAILOVER;
        if (move && moves++ > 0) {
            agent_submit(agent, r);
            continue;
        }
        r->begun_at = now_of(agent);
        if (begin(agent, r))
            continue;
        r->next = agent->pending;
        agent->pending = r;
    }
}

void requests_settle(Agent *agent)
{
    // A wish is a fact for one turn; what came of it is in Memory.
    agent->reinit_wanted = agent->reinit_force = false;
    ApiRequest **at = &agent->pending;
    while (*at) {
        ApiRequest *r = *at;
        ApiRequest *next = r->next;
        const bool done = r->kind == API_RESTART ? settle_restart(agent, r) : settle_move(agent, r);
        if (done)
            *at = next;
        else
            at = &r->next;
    }
    settle_scheduled_restart(agent);
}

Instant requests_due(const Agent *agent)
{
    Instant at = {0};
    if (agent->pending)
        at = instant_plus_ms(now_of(agent), 100);
    if (agent->scheduled_restart) {
        const int64_t left_us = agent->scheduled_us - clock_wall_us(agent->world.clock);
        const int64_t left_ms = left_us > 0 ? left_us / 1000 + 1 : 200;
        at = instant_earliest(at, instant_plus_ms(now_of(agent), left_ms));
    }
    return at;
}

void requests_done(Agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    ApiRequest *rest = agent->queue; // what has not begun does not begin any more
    agent->queue = NULL;
    pthread_mutex_unlock(&agent->lock);
    ApiRequest *lists[] = {rest, agent->pending};
    agent->pending = NULL;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        while (lists[i]) {
            ApiRequest *r = lists[i];
            lists[i] = r->next;
            answer(agent, r, 503, "the agent is stopping");
        }
}

void agent_submit(Agent *agent, ApiRequest *request)
{
    pthread_mutex_lock(&agent->lock);
    request->next = agent->queue;
    agent->queue = request;
    pthread_mutex_unlock(&agent->lock);
}
