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
    log_debug("write not done key=%s error='%s'", records_key_name((int)key), err.text);
    return false;
}

// The local history file, told by the leader with when and who (dcs.md §5).
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

static void confirm_term(Agent *agent)
{
    const ServerView *s = &agent->server;
    const uint32_t parent = s->history.timeline == s->timeline && s->history.parent_count > 0
                                ? s->history.parents[s->history.parent_count - 1].timeline
                                : 0;
    char *text = records_term(agent->turn_arena, settings_of(agent)->name, agent->instance,
                              agent->lease.term, parent, s->timeline, true, false, LSN_NONE);
    (void)put(agent, KEY_TERM, text, agent->view.term.mod_revision);
}

// When this leader first saw a slot that nobody wants, or last saw it wanted.
static Instant slot_wanted_at(Agent *agent, const char *name, bool wanted)
{
    const Instant now = now_of(agent);
    if (agent->slots_term != agent->lease.term) {
        agent->slots_term = agent->lease.term;
        agent->slot_count = 0;
    }
    for (size_t i = 0; i < agent->slot_count; i++) {
        if (!str_eq(agent->slots[i].name, name))
            continue;
        if (wanted)
            agent->slots[i].at = now;
        return agent->slots[i].at;
    }
    if (agent->slot_count < COUNT_OF(agent->slots)) {
        (void)copy_text(agent->slots[agent->slot_count].name, sizeof agent->slots[0].name, name);
        agent->slots[agent->slot_count++].at = now;
    }
    return now;
}

// Physical slots for the members that stream from us (ha.md §17). A member that is away keeps its
// slot on the leader for member_slots_ttl, or it could not come back without a copy.
static void sync_slots(Agent *agent)
{
    const Settings *s = settings_of(agent);
    const ClusterView *v = &agent->view;
    const ServerView *server = &agent->server;
    if (!s->postgresql.use_slots || !server->answered || !server->slots_known)
        return;
    const bool leading = agent->lease.held && !server->in_recovery;
    const size_t room = v->member_count + server->slot_count;
    const char **names = ARENA_ARRAY(agent->turn_arena, const char *, room);
    Lsn *advance = ARENA_ARRAY(agent->turn_arena, Lsn, room);
    size_t count = 0;
    for (size_t i = 0; i < v->member_count; i++) {
        const MemberView *m = &v->members[i];
        const bool mine = str_ieq(m->tags.replicatefrom, s->name);
        const bool direct = leading && (!m->tags.replicatefrom || mine ||
                                        !cluster_member(v, m->tags.replicatefrom));
        if (str_ieq(m->name, s->name) || m->tags.nostream || !(direct || mine))
            continue;
        names[count++] = slot_name_of(agent->turn_arena, m->name);
    }
    const size_t wanted = count;
    bool differs = false;
    for (size_t i = 0; i < wanted; i++) {
        bool there = false;
        for (size_t k = 0; k < server->slot_count; k++)
            there = there || (str_eq(server->slots[k].name, names[i]) && !server->slots[k].lost);
        differs = differs || !there;
    }
    for (size_t k = 0; k < server->slot_count; k++) {
        const SlotView *slot = &server->slots[k];
        bool known = slot->temporary || slot->active || !slot->physical;
        for (size_t i = 0; i < wanted && !known; i++)
            known = str_eq(slot->name, names[i]);
        // A standby keeps none it does not need.
        if (leading && slot->physical && !slot->temporary) {
            const Instant at = slot_wanted_at(agent, slot->name, known);
            const int64_t idle_ms = instant_ms_between(at, now_of(agent));
            known = known || (!slot->lost && idle_ms < s->member_slots_ttl_ms);
        }
        if (known && !slot->temporary && slot->physical) {
            bool listed = false;
            for (size_t i = 0; i < count && !listed; i++)
                listed = str_eq(slot->name, names[i]);
            if (!listed)
                names[count++] = slot->name;
        }
        differs = differs || !known;
    }
    if (!differs)
        return;
    Error err = {0};
    Server *srv = agent->world.server;
    if (!srv->ops->sync_slots(srv, names, advance, count, deadline_in(agent->world.clock, 1000),
                              &err))
        log_warn("slots not synchronised error='%s'", err.text);
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
    if (agent->view_known && !agent->server.task.running && d->task == TASK_NONE)
        sync_slots(agent);
}
