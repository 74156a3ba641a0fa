// restart, reload.
#include "ctl/answers.h"
#include "ctl/prompts.h"
#include "ctl/select.h"
#include "ctl/timestamps.h"

#include "common/os/random.h"

#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_LOOP_WAIT_S = 10,
    DEFAULT_START_TIMEOUT_S = 300,
    STOP_AND_START_S = 60, // what a restart may take besides
    S_PER_HOUR = 3600,
    US_PER_S = 1000000,
};

// --- reload

static bool reload_member(Ctl *ctl, const MemberInfo *member, int64_t loop_wait_s)
{
    HttpReply reply;
    Error err = {0};
    const ApiCall call = {.method = "POST", .path = "/reload"};
    if (!api_call_member(ctl, member, &call, &reply, &err))
        return answer_missing(ctl, "reload", member, &err);
    if (reply.status == 200)
        printf("No changes to apply on member %s\n", member->name);
    else if (reply.status == 202)
        printf("Reload request received for member %s and will be processed within %lld seconds\n",
               member->name, (long long)loop_wait_s);
    else
        return answer_failed(ctl, "reload", member, &reply);
    return true;
}

bool run_reload(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    MemberList members;
    const Tree *config;
    int64_t revision;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !members_select_any(ctl, args, &cluster, "reload", &members, err))
        return false;
    if (!args_has(args, OPT_FORCE) && !members_confirm(ctl, &members, "reload", err))
        return false;
    if (!cluster_config_read(ctl, &cluster, &config, &revision, err))
        return false;
    for (size_t i = 0; i < members.count; i++)
        (void)reload_member(ctl, members.items[i], // noted in ctl
                            tree_get_int(config, "loop_wait", DEFAULT_LOOP_WAIT_S));
    return true;
}

// --- restart

typedef struct {
    Schedule schedule;
    bool pending;
    bool force;
    const Tree *body;
    int64_t timeout_ms;
} Restart;

// X.Y from 10 on, X.Y.Z before.
static bool check_version(const char *version, Error *err)
{
    int parts = 0, first = 0;
    for (const char *at = version;;) {
        const size_t digits = strspn(at, "0123456789");
        if (digits == 0 || digits > 4 || (at[digits] != '.' && at[digits] != '\0'))
            return error_set(err, ERR_INVALID, "Invalid PostgreSQL version: %s", version);
        for (size_t i = 0; parts == 0 && i < digits; i++)
            first = first * 10 + (at[i] - '0');
        parts++;
        if (at[digits] == '\0')
            break;
        at += digits + 1;
    }
    if (parts == (first >= 10 ? 2 : 3))
        return true;
    return error_set(err, ERR_INVALID,
                     "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", version);
}

static bool ask_when(Ctl *ctl, const Args *args, Restart *restart, Error *err)
{
    const char *when = args_text(args, OPT_SCHEDULED);
    const int64_t now_us = clock_wall_us(ctl->clock);
    if (when == NULL && !restart->force) {
        const char *question =
            arena_printf(ctl->arena, "When should the restart take place (e.g. %s) ",
                         time_in_minutes(ctl->arena, now_us + (int64_t)S_PER_HOUR * US_PER_S));
        if (!prompt_text(ctl, question, "now", &when, err))
            return false;
    }
    return schedule_parse(ctl->arena, when, now_us, &restart->schedule, err);
}

static void keep_pending(MemberList *members)
{
    size_t kept = 0;
    for (size_t i = 0; i < members->count; i++)
        if (members->items[i]->pending_restart)
            members->items[kept++] = members->items[i];
    members->count = kept;
}

static void keep_one(MemberList *members)
{
    if (members->count < 2)
        return;
    Rng rng = rng_from_os();
    members->items[0] = members->items[rng_below(&rng, members->count)];
    members->count = 1;
}

static bool confirm_restart(Ctl *ctl, const MemberList *members, const Restart *restart, Error *err)
{
    if (restart->schedule.now)
        return members_confirm(ctl, members, "restart", err);
    bool sure;
    const char *question =
        restart->pending
            ? "The nodes needing a restart will be identified at the scheduled time, and might be "
              "different from the ones showing pending restart right now. Is this fine?"
            : arena_printf(ctl->arena,
                           "Are you sure you want to schedule restart of members %s at %s?",
                           members_text(ctl->arena, members), restart->schedule.shown);
    if (!prompt_confirm(ctl, question, &sure, err))
        return false;
    return sure || error_set(err, ERR_INVALID, "Aborted scheduled restart");
}

static bool build_body(Ctl *ctl, const Args *args, Restart *restart, Error *err)
{
    const char *version = args_text(args, OPT_PG_VERSION);
    if (version == NULL && !restart->force &&
        !prompt_text(ctl, "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ",
                     "", &version, err))
        return false;
    if (!str_empty(version) && !check_version(version, err))
        return false;
    Tree *body = tree_map(ctl->arena);
    if (restart->pending)
        tree_set(ctl->arena, body, "restart_pending", tree_bool(ctl->arena, true));
    if (!str_empty(version))
        tree_set(ctl->arena, body, "postgres_version", tree_string(ctl->arena, version));
    if (!restart->schedule.now)
        tree_set(ctl->arena, body, "schedule", tree_string(ctl->arena, restart->schedule.iso));
    if (args_text(args, OPT_TIMEOUT) != NULL)
        tree_set(ctl->arena, body, "timeout",
                 tree_string(ctl->arena, args_text(args, OPT_TIMEOUT)));
    restart->body = body;
    return true;
}

// A member answers when it is done. It first waits to leave the synchronous set, then stops and
// starts within primary_start_timeout (or --timeout, which is then passed on).
static bool find_timeout(Ctl *ctl, const Args *args, const ClusterInfo *cluster, Restart *restart,
                         Error *err)
{
    const Tree *config;
    int64_t revision, start_s;
    if (!cluster_config_read(ctl, cluster, &config, &revision, err))
        return false;
    if (!parse_int64(args_text(args, OPT_TIMEOUT), &start_s) || start_s <= 0)
        start_s =
            tree_get_int(config, "primary_start_timeout",
                         tree_get_int(config, "master_start_timeout", DEFAULT_START_TIMEOUT_S));
    if (start_s < DEFAULT_START_TIMEOUT_S)
        start_s = DEFAULT_START_TIMEOUT_S; // 0 means: fail over at once; a start takes its time
    const int64_t loop_wait_s = tree_get_int(config, "loop_wait", DEFAULT_LOOP_WAIT_S);
    restart->timeout_ms = (start_s + 2 * loop_wait_s + STOP_AND_START_S) * MS_PER_S;
    return true;
}

// One restart can be scheduled at a time: --force replaces it, silently if that works.
static bool drop_scheduled(Ctl *ctl, const MemberInfo *member)
{
    HttpReply reply;
    Error err = {0};
    const ApiCall call = {.method = "DELETE", .path = "/restart"};
    if (!api_call_member(ctl, member, &call, &reply, &err))
        return answer_missing(ctl, "flush scheduled restart", member, &err);
    return reply.status < 400 || answer_failed(ctl, "flush scheduled restart", member, &reply);
}

static bool restart_member(Ctl *ctl, const MemberInfo *member, const Restart *restart)
{
    if (!restart->schedule.now && restart->force && member->scheduled_restart != NULL)
        (void)drop_scheduled(ctl, member); // noted in ctl; the member has the last word
    HttpReply reply;
    Error err = {0};
    const ApiCall call = {.method = "POST",
                          .path = "/restart",
                          .body = restart->body,
                          .timeout_ms = restart->timeout_ms};
    if (!api_call_member(ctl, member, &call, &reply, &err))
        return answer_missing(ctl, "restart", member, &err);
    switch (reply.status) {
    case 200:
        printf("Success: restart on member %s\n", member->name);
        return true;
    case 202:
        printf("Success: restart scheduled on member %s\n", member->name);
        return true;
    case 409:
        printf("Failed: another restart is already scheduled on member %s\n", member->name);
        return ctl_rest_failed(ctl);
    default:
        return answer_failed(ctl, "restart", member, &reply);
    }
}

bool run_restart(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    MemberList members;
    Restart restart = {.pending = args_has(args, OPT_PENDING), .force = args_has(args, OPT_FORCE)};
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !members_select_any(ctl, args, &cluster, "restart", &members, err) ||
        !ask_when(ctl, args, &restart, err))
        return false;
    if (restart.pending && restart.schedule.now)
        keep_pending(&members);
    if (args_has(args, OPT_ANY))
        keep_one(&members);
    if (!restart.force && !confirm_restart(ctl, &members, &restart, err))
        return false;
    if (!build_body(ctl, args, &restart, err) || !find_timeout(ctl, args, &cluster, &restart, err))
        return false;
    if (!restart.schedule.now && cluster.paused)
        return error_set(err, ERR_INVALID, "Can't schedule restart in the paused state");
    for (size_t i = 0; i < members.count; i++) {
        (void)restart_member(ctl, members.items[i], &restart); // noted in ctl
        fflush(stdout);
    }
    return true;
}
