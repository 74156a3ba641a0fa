// switchover, failover.
#include "ctl/answers.h"
#include "ctl/cluster_table.h"
#include "ctl/connect.h"
#include "ctl/prompts.h"
#include "ctl/timestamps.h"

#include "common/model/cluster_document.h"
#include "dcs/records.h"

#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_LOOP_WAIT_S = 10,
    GRACE_S = 10, // beyond what the server itself waits
    S_PER_HOUR = 3600,
    US_PER_S = 1000000,
};

typedef struct {
    Ctl *ctl;
    const Args *args;
    bool switchover; // or failover
    bool force;
    ClusterInfo cluster;
    const Tree *config;
    const char *leader;    // NULL: none
    const char *candidate; // "": any
    Schedule schedule;
} Move;

static const char *verb(const Move *m)
{
    return m->switchover ? "switchover" : "failover";
}

static const char *title(const Move *m)
{
    return m->switchover ? "Switchover" : "Failover";
}

static bool choose_leader(Move *m, Error *err)
{
    m->leader = m->cluster.leader;
    if (!m->switchover)
        return true;
    if (m->leader == NULL)
        return error_set(err, ERR_INVALID, "This cluster has no leader");
    const char *named = args_text(m->args, OPT_LEADER);
    const MemberInfo *member = cluster_info_leader(&m->cluster);
    if (named == NULL && !m->force) {
        const bool standby = member != NULL && str_eq(member->role, "standby_leader");
        if (!prompt_text(m->ctl, standby ? "Standby Leader" : "Primary", m->leader, &named, err))
            return false;
    }
    if (named != NULL && !str_eq(named, m->leader))
        return error_set(err, ERR_INVALID, "Member %s is not the leader of cluster %s", named,
                         m->cluster.scope);
    return true;
}

// Everybody else who may lead, in the order of names; the list is shown as Python shows one.
static const char *list_candidates(const Move *m, StringList *out)
{
    Text text = text_new(m->ctl->arena);
    for (size_t i = 0; i < m->cluster.count; i++) {
        const MemberInfo *member = &m->cluster.members[i];
        if (str_eq(member->name, m->leader) || member->nofailover)
            continue;
        text_addf(&text, "%s'%s'", out->count > 0 ? ", " : "", member->name);
        string_list_add(out, m->ctl->arena, member->name);
    }
    return text.data;
}

static bool list_has(const StringList *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_eq(list->items[i], name))
            return true;
    return false;
}

static bool choose_candidate(Move *m, Error *err)
{
    StringList candidates = {0};
    const char *shown = list_candidates(m, &candidates);
    if (candidates.count == 0)
        return error_set(err, ERR_INVALID, "No candidates found to %s to", verb(m));
    m->candidate = args_text(m->args, OPT_CANDIDATE);
    if (m->candidate == NULL && !m->force &&
        !prompt_text(m->ctl, arena_printf(m->ctl->arena, "Candidate [%s]", shown), "",
                     &m->candidate, err))
        return false;
    m->candidate = str_or(m->candidate, "");
    const bool named = m->candidate[0] != '\0';
    if (!named && !m->switchover)
        return error_set(err, ERR_INVALID,
                         "Failover could be performed only to a specific candidate");
    if (named && str_eq(m->candidate, m->leader))
        return error_set(err, ERR_INVALID, "Member %s is already the leader of cluster %s",
                         m->candidate, m->cluster.scope);
    if (named && !list_has(&candidates, m->candidate))
        return error_set(err, ERR_INVALID,
                         "Member %s does not exist in cluster %s or is tagged as nofailover",
                         m->candidate, m->cluster.scope);
    return true;
}

static bool is_synchronous(const Move *m)
{
    const MemberInfo *candidate = cluster_info_member(&m->cluster, m->candidate);
    if (str_eq(candidate->role, "sync_standby") || str_eq(candidate->role, "quorum_standby"))
        return true;
    if (!m->cluster.over_store)
        return false;
    const SyncView *sync = &m->cluster.view.sync;
    return str_ieq(sync->leader, m->candidate) || sync->leader == NULL;
}

// Others may hold what the chosen one does not: then commits that were acknowledged are lost.
static bool confirm_asynchronous(Move *m, Error *err)
{
    const ClusterView configured = {.config = m->config};
    if (m->switchover || m->force || !cluster_modes(&configured).sync_mode || is_synchronous(m))
        return true;
    bool sure;
    const char *question = arena_printf(
        m->ctl->arena, "Are you sure you want to failover to the asynchronous node %s?",
        m->candidate);
    if (!prompt_confirm(m->ctl, question, &sure, err))
        return false;
    return sure || error_set(err, ERR_INVALID, "Aborting failover");
}

static bool choose_time(Move *m, Error *err)
{
    Ctl *ctl = m->ctl;
    const char *when = args_text(m->args, OPT_SCHEDULED);
    const int64_t now_us = clock_wall_us(ctl->clock);
    if (m->switchover && when == NULL && !m->force) {
        const char *question =
            arena_printf(ctl->arena, "When should the switchover take place (e.g. %s ) ",
                         time_in_minutes(ctl->arena, now_us + (int64_t)S_PER_HOUR * US_PER_S));
        if (!prompt_text(ctl, question, "now", &when, err))
            return false;
    }
    if (!schedule_parse(ctl->arena, when, now_us, &m->schedule, err))
        return false;
    if (!m->schedule.now && m->cluster.paused)
        return error_set(err, ERR_INVALID, "Can't schedule switchover in the paused state");
    return true;
}

static bool confirm(Move *m, Error *err)
{
    if (m->force)
        return true;
    const char *demoting =
        m->leader == NULL ? ""
                          : arena_printf(m->ctl->arena, ", demoting current leader %s", m->leader);
    const char *question =
        m->schedule.now
            ? arena_printf(m->ctl->arena, "Are you sure you want to %s cluster %s%s?", verb(m),
                           m->cluster.scope, demoting)
            : arena_printf(m->ctl->arena,
                           "Are you sure you want to schedule switchover of cluster %s at %s%s?",
                           m->cluster.scope, m->schedule.iso, demoting);
    bool sure;
    if (!prompt_confirm(m->ctl, question, &sure, err))
        return false;
    return sure || error_set(err, ERR_INVALID,
                             m->schedule.now ? "Aborting %s" : "Aborting scheduled %s", verb(m));
}

// --- doing it

static const Tree *body_of(const Move *m)
{
    Arena *arena = m->ctl->arena;
    Tree *body = tree_map(arena);
    tree_set(arena, body, "candidate",
             m->candidate[0] != '\0' ? tree_string(arena, m->candidate) : tree_null(arena));
    if (m->switchover)
        tree_set(arena, body, "leader", tree_string(arena, m->leader));
    if (!m->schedule.now)
        tree_set(arena, body, "scheduled_at", tree_string(arena, m->schedule.iso));
    return body;
}

static bool post(const Move *m, HttpReply *out, Error *err)
{
    Ctl *ctl = m->ctl;
    int64_t wait_s = tree_get_int(m->config, "loop_wait", DEFAULT_LOOP_WAIT_S);
    wait_s = 2 * (wait_s > DEFAULT_LOOP_WAIT_S ? wait_s : DEFAULT_LOOP_WAIT_S) + GRACE_S;
    ApiCall call = {.method = "POST",
                    .path = m->switchover ? "/switchover" : "/failover",
                    .body = body_of(m),
                    .timeout_ms = wait_s * MS_PER_S};
    const MemberInfo *member =
        cluster_info_member(&m->cluster, m->leader != NULL ? m->leader : m->candidate);
    for (;;) {
        const bool called = ctl->api_url != NULL ? api_call(ctl, ctl->api_url, &call, out, err)
                            : member != NULL
                                ? api_call_member(ctl, member, &call, out, err)
                                : error_set(err, ERR_UNAVAILABLE, "%s is not a member", m->leader);
        if (!called)
            return false;
        // Servers before Patroni 2.0 know failover alone.
        if (out->status != 501 || str_eq(call.path, "/failover") ||
            strstr(out->body, "Server does not support this operation") == NULL)
            return true;
        call.path = "/failover";
    }
}

static bool show_result(Move *m, const char *text, Error *err)
{
    printf("%s %s\n", time_with_fraction(m->ctl->arena, clock_wall_us(m->ctl->clock)), text);
    ClusterInfo now;
    if (!cluster_info_read(m->ctl, m->cluster.scope, &now, err))
        return false;
    cluster_table_print(m->ctl, &now);
    return true;
}

// Nobody has heard of the request: whoever leads, or races, will find it in the store.
static bool fall_back_to_store(Move *m, const Error *why, Error *err)
{
    Ctl *ctl = m->ctl;
    fflush(stdout);
    fprintf(stderr, "%s\n", why->text);
    printf("%s Could not %s using Patroni api, falling back to DCS\n",
           time_with_fraction(ctl->arena, clock_wall_us(ctl->clock)), verb(m));
    Dcs *dcs;
    const char *record = records_failover(ctl->arena, m->switchover ? m->leader : NULL,
                                          m->candidate[0] != '\0' ? m->candidate : NULL,
                                          m->schedule.now ? NULL : m->schedule.iso);
    if (!ctl_store(ctl, m->cluster.scope, &dcs, err) ||
        !dcs->ops->write(dcs, KEY_FAILOVER, record, REVISION_ANY, ctl_store_deadline(ctl), NULL,
                         err))
        return error_wrap(err, "write the %s request into the store", verb(m));
    cluster_table_print(ctl, &m->cluster);
    return true;
}

static bool carry_out(Move *m, Error *err)
{
    HttpReply reply;
    Error call_err = {0};
    if (!post(m, &reply, &call_err)) {
        if (call_err.kind == ERR_UNAVAILABLE && m->cluster.over_store)
            return fall_back_to_store(m, &call_err, err);
        printf("%s %s, details: %s\n", title(m),
               call_err.kind == ERR_UNCERTAIN ? "result unknown" : "failed", call_err.text);
        return ctl_rest_failed(m->ctl);
    }
    if (reply.status == 200 || reply.status == 202)
        return show_result(m, reply.body, err);
    printf("%s %s, details: %d, %s\n", title(m),
           strstr(reply.body, "status unknown") != NULL ? "result unknown" : "failed", reply.status,
           reply.body);
    return ctl_rest_failed(m->ctl);
}

static bool move_leader(Move *m, Error *err)
{
    int64_t revision;
    if (!cluster_info_read(m->ctl, args_word(m->args, 0), &m->cluster, err))
        return false;
    puts("Current cluster topology");
    cluster_table_print(m->ctl, &m->cluster);
    return cluster_config_read(m->ctl, &m->cluster, &m->config, &revision, err) &&
           choose_leader(m, err) && choose_candidate(m, err) && confirm_asynchronous(m, err) &&
           choose_time(m, err) && confirm(m, err) && carry_out(m, err);
}

bool run_switchover(Ctl *ctl, const Args *args, Error *err)
{
    Move move = {.ctl = ctl, .args = args, .switchover = true, .force = args_has(args, OPT_FORCE)};
    return move_leader(&move, err);
}

bool run_failover(Ctl *ctl, const Args *args, Error *err)
{
    Move move = {.ctl = ctl, .args = args, .force = args_has(args, OPT_FORCE)};
    return move_leader(&move, err);
}
