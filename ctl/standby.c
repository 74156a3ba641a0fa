// demote-cluster, promote-cluster: into a standby cluster, and out of it.
#include "ctl/api_client.h"
#include "ctl/cluster_table.h"
#include "ctl/prompts.h"
#include "ctl/timestamps.h"

#include <stdio.h>
#include <string.h>

enum { POLL_MS = 1000 };

typedef struct {
    Ctl *ctl;
    const Args *args;
    bool demote;
    ClusterInfo cluster;
    const char *old_leader;
} Change;

static const char *word(const Change *c)
{
    return c->demote ? "demote" : "promote";
}

static const Tree *section_of(const Change *c)
{
    static const struct {
        OptionId option;
        const char *key;
    } keys[] = {{OPT_HOST, "host"},
                {OPT_PORT, "port"},
                {OPT_RESTORE_COMMAND, "restore_command"},
                {OPT_SLOT, "primary_slot_name"}};
    Arena *arena = c->ctl->arena;
    if (!c->demote)
        return tree_null(arena);
    Tree *section = tree_map(arena);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const OptionValue *value = &c->args->values[keys[i].option];
        if (!value->given || str_empty(value->text))
            continue;
        tree_set(arena, section, keys[i].key,
                 keys[i].option == OPT_PORT ? tree_int(arena, (int64_t)value->number)
                                            : tree_string(arena, value->text));
    }
    return section;
}

static bool check(const Change *c, Error *err)
{
    const Args *args = c->args;
    if (c->demote && !args_has(args, OPT_HOST) && !args_has(args, OPT_PORT) &&
        !args_has(args, OPT_RESTORE_COMMAND))
        return error_set(err, ERR_INVALID,
                         "At least --host, --port or --restore-command should be specified");
    const MemberInfo *leader = cluster_info_leader(&c->cluster);
    if (leader == NULL)
        return error_set(err, ERR_INVALID, "Cluster has no leader, %s is not possible", word(c));
    if (c->demote ? leader->standby_leader : leader->primary)
        return error_set(err, ERR_INVALID, "Cluster is already in the required state");
    return true;
}

static bool confirm(const Change *c, Error *err)
{
    puts("Current cluster topology");
    cluster_table_print(c->ctl, &c->cluster);
    if (args_has(c->args, OPT_FORCE))
        return true;
    bool sure;
    const char *question = arena_printf(c->ctl->arena, "Are you sure you want to %s %s cluster?",
                                        word(c), c->cluster.scope);
    if (!prompt_confirm(c->ctl, question, &sure, err))
        return false;
    return sure || error_set(err, ERR_INVALID, "Aborted cluster %s", word(c));
}

static bool patch(const Change *c, Error *err)
{
    Ctl *ctl = c->ctl;
    Tree *body = tree_map(ctl->arena);
    tree_set(ctl->arena, body, "standby_cluster", section_of(c));
    const ApiCall call = {.method = "PATCH", .path = "/config", .body = body};
    HttpReply reply;
    const bool called =
        ctl->api_url != NULL
            ? api_call(ctl, ctl->api_url, &call, &reply, err)
            : api_call_member(ctl, cluster_info_leader(&c->cluster), &call, &reply, err);
    if (!called)
        return error_wrap(err, "Failed to %s %s cluster", word(c), c->cluster.scope);
    return reply.status == 200 ||
           error_set(err, ERR_INVALID, "Failed to %s %s cluster: %d, %.*s", word(c),
                     c->cluster.scope, reply.status, (int)strcspn(reply.body, "\r\n"), reply.body);
}

// One look; a line of it whenever it has changed would hide that the command is alive.
static bool is_done(const Change *c, const ClusterInfo *now)
{
    const MemberInfo *leader = cluster_info_leader(now);
    const MemberInfo *old = cluster_info_member(now, c->old_leader);
    const char *when = time_in_seconds(c->ctl->arena, clock_wall_us(c->ctl->clock));
    printf("%s cluster is unlocked: %s, leader role: %s, leader state: %s", when,
           now->leader == NULL ? "True" : "False", leader != NULL ? leader->role : "None",
           leader != NULL ? leader->state : "None");
    if (c->demote && old != NULL && old != leader)
        printf(", previous leader state: %s", old->state);
    puts("");
    fflush(stdout);
    if (leader == NULL || (c->demote ? !leader->standby_leader : !leader->primary))
        return false;
    // A standby leader's state in the table is that of its replication.
    const char *const working[] = {"running", "streaming", "in archive recovery"};
    bool leader_works = false, old_works = !c->demote || old == NULL;
    for (size_t i = 0; i < COUNT_OF(working); i++) {
        leader_works = leader_works || str_eq(leader->state, working[i]);
        old_works = old_works || str_eq(old->state, working[i]);
    }
    return leader_works && old_works;
}

static bool wait_until_done(const Change *c, Error *err)
{
    Ctl *ctl = c->ctl;
    AUTO(arena_release) Arena *round = arena_new(ARENA_CAP_DEFAULT);
    Arena *const whole = ctl->arena;
    bool done = false, ok = true;
    while (ok && !done) {
        ctl_sleep(POLL_MS);
        arena_reset(round);
        ctl->arena = round;
        ClusterInfo now;
        ok = cluster_info_read(ctl, c->cluster.scope, &now, err);
        done = ok && is_done(c, &now);
        ctl->arena = whole;
    }
    return ok;
}

static bool change_cluster(Change *c, Error *err)
{
    Ctl *ctl = c->ctl;
    if (!cluster_info_read(ctl, args_word(c->args, 0), &c->cluster, err) || !check(c, err) ||
        !confirm(c, err) || !patch(c, err))
        return false;
    c->old_leader = c->cluster.leader;
    ClusterInfo now;
    if (!wait_until_done(c, err) || !cluster_info_read(ctl, c->cluster.scope, &now, err))
        return false;
    printf("%s cluster is successfully %sd\n",
           time_in_seconds(ctl->arena, clock_wall_us(ctl->clock)), word(c));
    cluster_table_print(ctl, &now);
    return true;
}

bool run_demote_cluster(Ctl *ctl, const Args *args, Error *err)
{
    Change change = {.ctl = ctl, .args = args, .demote = true};
    return change_cluster(&change, err);
}

bool run_promote_cluster(Ctl *ctl, const Args *args, Error *err)
{
    Change change = {.ctl = ctl, .args = args};
    return change_cluster(&change, err);
}
