// What the world gets to see of a turn: the member record, the snapshot for REST, the ledger.
#include "agent/announce.h"
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

#include <stdlib.h>
#include <string.h>

#define PATRONI_VERSION "4.1.4" // whose records and answers ours are compatible with

// As an Event, if people should hear of it.
static void announce_decision(Agent *agent, const LedgerEntry *entry)
{
    Announcer *announcer = agent->world.announcer;
    const AnnouncedReason event = announced_reason(entry->reason);
    if (!announcer || !event.name)
        return;
    const int64_t term = agent->lease.term;
    if (event.demotion && term != 0 && agent->demotion_told == term)
        return;
    agent->demotion_told = event.demotion ? term : event.promotion ? 0 : agent->demotion_told;
    if (event.promotion) {
        if (!agent->lease.held || agent->memory.promoted_term != term ||
            agent->promotion_told == term)
            return;
        agent->promotion_told = term;
    }
    const Announcement announcement = {
        .reason = event.name,
        .message = arena_printf(agent->turn_arena, "%s: %s%s%s%s%s", reason_name(entry->reason),
                                reason_text(entry->reason), *entry->evidence ? "; " : "",
                                entry->evidence, *entry->outcome ? "; " : "", entry->outcome),
        .warning = event.warning,
        .of_cluster = event.of_cluster,
        .wall_us = entry->wall_us,
    };
    announcer->ops->event(announcer, &announcement);
}

void ledger_add(Agent *agent, const Decision *d, const char *outcome)
{
    const size_t newest = (agent->ledger_next + LEDGER_KEPT - 1) % LEDGER_KEPT;
    const LedgerEntry *kept_last = &agent->ledger[newest].entry;
    const char *pg_action = d->strike ? "strike" : task_name(d->task);
    const bool same = agent->ledger_count > 0 && kept_last->reason == d->reason &&
                      str_eq(kept_last->key_action, key_action_name(d->key)) &&
                      str_eq(kept_last->pg_action, pg_action) &&
                      str_eq(kept_last->outcome, outcome);
    const Instant wake_at = agent->last.wake_at;
    agent->last = *d;
    agent->last.wake_at = wake_at;
    // That a task goes on, or that the directory is looked at, is no news.
    const bool dull = (d->reason == REASON_TASK_RUNNING && !d->cancel_task) ||
                      (d->task == TASK_INSPECT && agent->ledger_count > 0);
    if (same || (dull && !*outcome))
        return;
    KeptEntry *kept = &agent->ledger[agent->ledger_next];
    agent->ledger_next = (agent->ledger_next + 1) % LEDGER_KEPT;
    if (agent->ledger_count < LEDGER_KEPT)
        agent->ledger_count++;
    (void)copy_text(kept->evidence, sizeof kept->evidence, d->evidence);
    (void)copy_text(kept->outcome, sizeof kept->outcome, outcome);
    kept->entry = (LedgerEntry){
        .wall_us = clock_wall_us(agent->world.clock),
        .turn = agent->turns,
        .reason = d->reason,
        .key_action = key_action_name(d->key),
        .pg_action = pg_action,
        .evidence = kept->evidence,
        .outcome = kept->outcome,
    };
    log_info("decision reason=%s key=%s postgres=%s %s", reason_name(d->reason),
             kept->entry.key_action, kept->entry.pg_action, d->evidence);
    announce_decision(agent, &kept->entry);
    if (agent->world.keep)
        agent->world.keep(agent->world.keep_context,
                          ledger_format(agent->turn_arena, &kept->entry));
}

// --- the member record

static MemberRecordInput record_input(const Agent *agent, const ServerView *server)
{
    return (MemberRecordInput){
        .settings = settings_of(agent),
        .server = server,
        .leader = agent->lease.held,
        .paused = settings_of(agent)->pause,
        .scheduled_restart = agent->scheduled_restart,
    };
}

// Somebody else wrote our record, or took it away. A view may be a moment behind our own write.
static bool record_was_changed(const Agent *agent)
{
    if (!agent->view_known || !agent->member_text ||
        instant_ms_between(agent->member_written_at, now_of(agent)) < 1000)
        return false;
    const MemberView *mine = cluster_member(&agent->view, settings_of(agent)->name);
    return !mine || !str_eq(mine->session, agent->lease.session) ||
           !str_eq(mine->api_url, settings_of(agent)->restapi.api_url);
}

// A standby that loses its primary streams from the next one half a second later. Until then the
// store has that to do, and all who watch it, and what a member says of itself decides nothing, for
// candidates ask each other: it may wait. So may what a leader says that is about to let go, or has
// just done so.
static bool member_is_held(Agent *agent)
{
    enum { HOLD_MS = 1000 };
    const ServerView *s = &agent->server;
    const bool stands_by = agent->member_role == ROLE_REPLICA &&
                           agent->member_state == STATE_RUNNING && s->state == STATE_RUNNING &&
                           (s->role == ROLE_REPLICA || s->role == ROLE_PROMOTED) && !s->streaming;
    const bool hands_over = agent->lease.held ? agent->memory.handover != HANDOVER_NONE
                                              : instant_is_set(agent->memory.released_at);
    const Instant now = now_of(agent);
    if (!instant_is_set(agent->member_changed_at))
        agent->member_changed_at = now;
    const Instant until = instant_plus_ms(agent->member_changed_at, HOLD_MS);
    if (agent->ended || !(stands_by || hands_over) || !instant_before(now, until))
        return false;
    agent->last.wake_at = instant_earliest(agent->last.wake_at, until);
    return true;
}

// Positions alone are written once a loop.
static bool member_due(Agent *agent, const char *text, const char *fixed)
{
    if (agent->member_dirty || !agent->member_text || record_was_changed(agent))
        return true;
    if (!str_eq(fixed, agent->member_fixed))
        return !member_is_held(agent);
    agent->member_changed_at = (Instant){0};
    if (str_eq(text, agent->member_text))
        return false;
    const Instant due = instant_plus_ms(agent->member_written_at, settings_of(agent)->loop_wait_ms);
    return !instant_before(now_of(agent), due);
}

static void publish_member(Agent *agent)
{
    if (!agent->lease.session[0] || !agent->store_ok ||
        instant_before(now_of(agent), agent->member_retry_at))
        return;
    agent->member_retry_at = (Instant){0};
    const MemberRecordInput input = record_input(agent, &agent->server);
    char *text = records_member(agent->turn_arena, &input);
    ServerView still = agent->server;
    still.flush_lsn = still.receive_lsn = still.replay_lsn = LSN_NONE;
    const MemberRecordInput fixed_input = record_input(agent, &still);
    char *fixed = records_member(agent->turn_arena, &fixed_input);
    if (!member_due(agent, text, fixed))
        return;
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    // Best effort: whether the store is there is for session and lease to say.
    if (!dcs->ops->put_member(dcs, text, deadline_in(agent->world.clock, 1000), &err)) {
        store_refused(agent, REFUSED_MEMBER, "member record not written", &err);
        agent->member_dirty = true;
        agent->member_retry_at = instant_plus_ms(now_of(agent), 500);
        return;
    }
    free(agent->member_text);
    free(agent->member_fixed);
    agent->member_text = strdup(text);
    agent->member_fixed = strdup(fixed);
    agent->member_written_at = now_of(agent);
    agent->member_role = agent->server.role;
    agent->member_state = agent->server.state;
    agent->member_changed_at = (Instant){0};
    agent->member_dirty = false;
}

// --- the snapshot

static void snapshot_ledger(const Agent *agent, Snapshot *s)
{
    LedgerEntry *entries = ARENA_ARRAY(s->arena, LedgerEntry, agent->ledger_count);
    for (size_t i = 0; i < agent->ledger_count; i++) {
        const size_t at =
            (agent->ledger_next + LEDGER_KEPT - agent->ledger_count + i) % LEDGER_KEPT;
        entries[i] = agent->ledger[at].entry;
        entries[i].evidence = arena_strdup(s->arena, entries[i].evidence);
        entries[i].outcome = arena_strdup(s->arena, entries[i].outcome);
    }
    s->ledger = entries;
    s->ledger_count = agent->ledger_count;
    if (s->ledger_count > 0)
        s->decision = entries[s->ledger_count - 1];
}

static void snapshot_settings(const Agent *agent, Snapshot *s)
{
    const Settings *settings = settings_of(agent);
    s->name = arena_strdup(s->arena, settings->name);
    s->scope = arena_strdup(s->arena, settings->scope);
    s->howdah_version = HOWDAH_VERSION;
    s->patroni_version = PATRONI_VERSION;
    s->tags = settings->tags_tree ? tree_copy(s->arena, settings->tags_tree) : NULL;
    s->tag_values = tags_parse(s->tags);
    s->ttl_ms = settings->ttl_ms;
    s->loop_wait_ms = settings->loop_wait_ms;
    s->maximum_lag_on_failover = settings->maximum_lag_on_failover;
    s->paused = settings->pause;
    s->failsafe_enabled = settings->failsafe_mode;
    s->dynamic = tree_copy(s->arena, settings->dynamic);
}

static void publish_snapshot(Agent *agent)
{
    Snapshot *s = snapshot_new();
    s->published_at = now_of(agent);
    snapshot_settings(agent, s);
    ClusterView view;
    Dcs *dcs = agent->world.dcs;
    const bool known = dcs->ops->view(dcs, s->arena, &view);
    const int64_t age_ms = known ? instant_ms_between(view.seen_at, s->published_at) : 0;
    s->cluster_known = known && age_ms < s->ttl_ms;
    if (known)
        s->cluster = view;
    s->dcs_last_seen_s = agent->dcs_last_seen_s;
    if (agent->lease.held && !agent->giving_up) {
        s->leader_until = agent->lease.proof.valid_until;
        s->term = agent->lease.term;
    }
    s->fenced = !agent->view_known || cluster_is_all_howdah(&agent->view);
    s->fence_armed = agent->warden.fence_armed;
    s->next_turn_at = instant_plus_ms(s->published_at, s->loop_wait_ms);
    server_view_copy(s->arena, &agent->server, &s->server);
    s->scheduled_restart =
        agent->scheduled_restart ? tree_copy(s->arena, agent->scheduled_restart) : NULL;
    snapshot_ledger(agent, s);
    s->turns = agent->turns;
    s->log_dropped = log_dropped();

    pthread_mutex_lock(&agent->lock);
    Snapshot *old = agent->snapshot;
    agent->snapshot = s;
    pthread_mutex_unlock(&agent->lock);
    snapshot_unref(old);
}

void publish_no_leader(Agent *agent)
{
    agent->giving_up = true;
    publish_snapshot(agent);
    agent->giving_up = false;
}

// Whose it is to say, says it; nobody else may write over that.
static void announce_signs(Agent *agent)
{
    Announcer *announcer = agent->world.announcer;
    if (!announcer)
        return;
    const Facts facts = facts_of(agent, NULL);
    ClusterSigns signs = {0};
    bool ours = signs_of(&facts, &signs);
    // One that ends with the lease in its hands has stopped its server, and leads nobody.
    if (agent->ended && facts.lease.held) {
        signs = (ClusterSigns){0};
        ours = true;
    }
    announcer->ops->show(announcer, ours ? &signs : NULL);
}

void publish(Agent *agent)
{
    publish_member(agent);
    publish_snapshot(agent);
    announce_signs(agent);
}
