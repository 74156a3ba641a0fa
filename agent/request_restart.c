// A restart that was asked for over REST, now or at a time; its filters and values were checked by
// the API (api/actions.c).
#include "agent/requests.h"

#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/os/log.h"

#include <stdio.h>

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

static void schedule_restart(Agent *agent, ApiRequest *r)
{
    if (agent->scheduled_restart) {
        request_answer(agent, r, 409, "Another restart is already scheduled");
        return;
    }
    Timestamp at = {0};
    arena_reset(agent->scheduled_arena);
    Tree *kept = tree_copy(agent->scheduled_arena, r->body);
    if (agent->server.postmaster_start_text)
        tree_set(agent->scheduled_arena, kept, "postmaster_start_time",
                 tree_string(agent->scheduled_arena, agent->server.postmaster_start_text));
    const bool checked = timestamp_parse(tree_get_string(kept, "schedule", ""), NULL, &at);
    ASSERT(checked); // by the API
    agent->scheduled_us = timestamp_us(&at);
    agent->scheduled_restart = kept;
    agent->member_dirty = true;
    request_answer(agent, r, 202, "Restart scheduled");
}

bool restart_begin(Agent *agent, ApiRequest *r)
{
    if (tree_get(r->body, "schedule")) {
        schedule_restart(agent, r);
        return true;
    }
    if (!restart_applies(agent, r->body)) {
        request_answer(agent, r, 503, "restart conditions are not satisfied");
        return true;
    }
    const TaskKind obstacle = request_obstacle(agent);
    if (obstacle != TASK_NONE || agent->memory.restarting || agent->restart_wanted) {
        const char *what = obstacle != TASK_NONE ? task_name(obstacle) : "restart";
        request_answer(agent, r, 503, arena_printf(r->arena, "%s already in progress", what));
        return true;
    }
    agent->restart_wanted = true;
    r->revision = agent->server.postmaster_start_us;
    return false;
}

bool restart_settle(Agent *agent, ApiRequest *r)
{
    const ServerView *s = &agent->server;
    if (agent->memory.restarting) {
        agent->restart_wanted = false; // under way
        r->started = true;
    } else if (r->started && s->running && s->answered) {
        // Started anew, or stopped in vain?
        const bool anew = s->postmaster_start_us != r->revision;
        request_answer(agent, r, anew ? 200 : 503,
                       anew ? "restarted successfully" : "restart failed");
        return true;
    }
    int64_t seconds = settings_of(agent)->primary_start_timeout_ms / MS_PER_S;
    seconds = tree_get_int(r->body, "timeout", seconds);
    if (instant_ms_between(r->begun_at, now_of(agent)) > seconds * MS_PER_S) {
        agent->restart_wanted = false;
        request_answer(agent, r, 503, s->running ? "postgres is still starting" : "restart failed");
        return true;
    }
    return false;
}

// A scheduled restart that is due, too late, or overtaken by another start of the server.
void restart_settle_scheduled(Agent *agent)
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

void restart_delete(Agent *agent, ApiRequest *r)
{
    const bool scheduled = agent->scheduled_restart != NULL;
    agent->scheduled_restart = NULL;
    agent->member_dirty = agent->member_dirty || scheduled;
    request_answer(agent, r, scheduled ? 200 : 404,
                   scheduled ? "scheduled restart deleted" : "no restarts are scheduled");
}

Instant restart_due(const Agent *agent)
{
    if (!agent->scheduled_restart)
        return (Instant){0};
    const int64_t left_us = agent->scheduled_us - clock_wall_us(agent->world.clock);
    return instant_plus_ms(now_of(agent), left_us > 0 ? left_us / 1000 + 1 : 200);
}
