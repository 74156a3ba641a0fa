// The keys a leader keeps right: initialize, config, history, its term record, a used-up request,
// the members' slots. All by compare-and-swap on what was seen; a lost race is read again next
// turn.
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

static bool put(Agent *agent, DcsKey key, const char *value, int64_t expected)
{
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    if (!agent->store_ok ||
        agent->writes_failed) // one has just waited in vain: not the next one too
        return false;
    const Deadline d = deadline_in(agent->world.clock, 1000);
    // Best effort: whether the store is there is for session and lease to say.
    if (dcs->ops->write(dcs, key, value, expected, d, NULL, &err))
        return true;
    agent->writes_failed = err.kind != ERR_CONFLICT;
    store_refused(
        agent, REFUSED_KEY,
        arena_printf(agent->turn_arena, "write not done key=%s", records_key_name((int)key)), &err);
    return false;
}

// The local history file, told by the leader with when and who (docs/store.md, "Keys").
static void write_history(Agent *agent)
{
    const TimelineHistory *own = &agent->server.history;
    const ClusterView *v = &agent->view;
    HistoryLine *lines = ARENA_ARRAY(agent->turn_arena, HistoryLine, own->parent_count);
    for (size_t i = 0; i < own->parent_count; i++) {
        lines[i] = (HistoryLine){.timeline = own->parents[i].timeline,
                                 .lsn = own->parents[i].switch_lsn,
                                 .reason = "no recovery target specified"};
        for (size_t k = 0; k < v->history_count; k++)
            if (v->history[k].timeline == lines[i].timeline && v->history[k].lsn == lines[i].lsn)
                lines[i] = v->history[k];
    }
    if (own->parent_count > 0) {
        HistoryLine *last = &lines[own->parent_count - 1];
        if (!last->new_leader) {
            last->new_leader = settings_of(agent)->name;
            last->timestamp =
                records_timestamp(agent->turn_arena, clock_wall_us(agent->world.clock));
            last->reason = arena_printf(agent->turn_arena, "no recovery target specified");
        }
    }
    size_t first = 0;
    const int most = settings_of(agent)->max_timelines_history;
    if (most > 0 && own->parent_count > (size_t)most)
        first = own->parent_count - (size_t)most;
    (void)put(agent, KEY_HISTORY,
              records_history(agent->turn_arena, lines + first, own->parent_count - first),
              v->history_revision);
}

static void write_term(Agent *agent, uint32_t parent, uint32_t timeline, bool confirmed)
{
    char *text = records_term(agent->turn_arena, settings_of(agent)->name, agent->instance,
                              agent->lease.term, parent, timeline, confirmed, false, LSN_NONE);
    (void)put(agent, KEY_TERM, text, agent->view.term.mod_revision);
}

static void confirm_term(Agent *agent)
{
    const ServerView *s = &agent->server;
    const uint32_t parent = s->history.timeline == s->timeline && s->history.parent_count > 0
                                ? s->history.parents[s->history.parent_count - 1].timeline
                                : 0;
    write_term(agent, parent, s->timeline, true);
}

// Before a promotion to a timeline that the record of our acquire does not name.
static void announce_timeline(Agent *agent, uint32_t timeline)
{
    write_term(agent, agent->server.timeline, timeline, false);
}

SlotFacts slot_facts(const Agent *agent)
{
    return (SlotFacts){.now = now_of(agent),
                       .settings = settings_of(agent),
                       .cluster = &agent->view,
                       .server = &agent->server,
                       .term = agent->lease.held ? agent->lease.term : 0};
}

// What is wrong with the slots, once, and not in every turn.
static void tell_about_slots(Agent *agent, const char *what)
{
    if (*what && !str_eq(agent->slots_told, what))
        log_warn("%s", what);
    (void)copy_text(agent->slots_told, sizeof agent->slots_told, what);
}

// Neither a promotion nor its checkpoint may keep a standby waiting for its slot.
static bool task_leaves_server_up(TaskKind kind)
{
    switch (kind) {
    case TASK_NONE:
    case TASK_INSPECT:
    case TASK_PROMOTE:
    case TASK_FOLLOW:
    case TASK_RELOAD:
    case TASK_CHECK_DIVERGENCE:
    case TASK_CHECKPOINT:
        return true;
    case TASK_BOOTSTRAP:
    case TASK_POST_BOOTSTRAP:
    case TASK_START_PRIMARY:
    case TASK_START_STANDBY:
    case TASK_STOP:
    case TASK_CLONE:
    case TASK_REWIND:
    case TASK_CRASH_RECOVERY:
    case TASK_WIPE:
    case TASK_COUNT:
        break;
    }
    return false;
}

static void sync_slots(Agent *agent)
{
    Arena *arena = agent->turn_arena;
    const SlotFacts f = slot_facts(agent);
    slots_remember(arena, &f, &agent->retained_slots);
    const SlotPlan plan = slots_wanted(arena, &f, &agent->retained_slots);
    const char *wrong = "";
    if (plan.clash)
        wrong = arena_printf(arena, "members share a slot name name=%s and=%s", plan.clash,
                             plan.clash_with);
    Error err = {0};
    Server *server = agent->world.server;
    if (plan.count > 0 && !server->ops->sync_slots(server, plan.steps, plan.count,
                                                   deadline_in(agent->world.clock, 1000), &err))
        wrong = arena_printf(arena, "slots not synchronised error='%s'", err.text);
    tell_about_slots(agent, wrong);
}

void write_upkeep(Agent *agent, const Decision *d)
{
    const ClusterView *v = &agent->view;
    agent->writes_failed = false;
    if (d->clear_failover && d->failover_revision != 0)
        (void)put(agent, KEY_FAILOVER, "{}", d->failover_revision);
    if (d->write_initialize && agent->server.control.known)
        (void)put(agent, KEY_INITIALIZE, agent->server.control.system_identifier,
                  v->initialize_revision);
    if (d->write_config)
        (void)put(agent, KEY_CONFIG,
                  tree_to_json(agent->turn_arena, settings_of(agent)->dynamic, JSON_COMPACT),
                  v->config_revision);
    if (d->write_history)
        write_history(agent);
    if (d->confirm_term)
        confirm_term(agent);
    if (d->announce != 0)
        announce_timeline(agent, d->announce);
    const TaskView *task = &agent->server.task;
    if (agent->view_known && task_leaves_server_up(d->task) &&
        (!task->running || task_leaves_server_up(task->kind)))
        sync_slots(agent);
}
