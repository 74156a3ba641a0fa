// pause, resume.
#include "ctl/answers.h"
#include "ctl/every_member.h"

#include <stdio.h>

enum { POLL_MS = 1000, DEFAULT_LOOP_WAIT_S = 10, PROBE_MS = 2000 };

// Does the member itself say so? *out_current: it has said anything since the request.
static void ask_member(Ctl *ctl, const ClusterInfo *before, const ClusterInfo *now,
                       const MemberInfo *member, bool *out_paused, bool *out_current)
{
    *out_paused = false;
    *out_current = false;
    if (now->over_store) {
        const MemberView *then = cluster_member(&before->view, member->name);
        const MemberView *view = cluster_member(&now->view, member->name);
        if (view == NULL)
            return;
        *out_paused = view->pause;
        *out_current = then == NULL || view->mod_revision != then->mod_revision;
        return;
    }
    HttpReply reply;
    Error err = {0};
    const Tree *status;
    const ApiCall call = {.method = "GET", .path = "/patroni", .timeout_ms = PROBE_MS};
    if (!api_call_member(ctl, member, &call, &reply, &err) ||
        !tree_parse_json(ctl->arena, reply.body, &status, &err))
        return;
    *out_paused = tree_get_bool(status, "pause", false);
    *out_current = true;
}

typedef struct {
    size_t differ;    // show the old state, or nothing
    StringList stale; // of these, those that have spoken since
} Recognition;

static Recognition count_differing(Ctl *ctl, const ClusterInfo *before, const ClusterInfo *now,
                                   bool pause)
{
    Recognition result = {0};
    for (size_t i = 0; i < before->count; i++) {
        const MemberInfo *member = &before->members[i];
        bool paused, current;
        if (member->api_url == NULL)
            continue;
        ask_member(ctl, before, now, member, &paused, &current);
        if (paused == pause)
            continue;
        result.differ++;
        if (current)
            string_list_add(&result.stale, ctl->arena, member->name);
    }
    return result;
}

// Members that are silent do not count: they may be down for good.
static bool wait_for_members(Ctl *ctl, const ClusterInfo *before, bool pause, Error *err)
{
    const Tree *config;
    int64_t revision;
    printf("'%s' request sent, waiting until it is recognized by all nodes\n",
           pause ? "pause" : "resume");
    fflush(stdout);
    if (!cluster_config_read(ctl, before, &config, &revision, err))
        return false;
    const int64_t loop_wait_s = tree_get_int(config, "loop_wait", DEFAULT_LOOP_WAIT_S);
    const Deadline deadline = deadline_in(ctl->clock, (loop_wait_s + 1) * MS_PER_S);
    for (;;) {
        ClusterInfo now;
        if (!cluster_info_read(ctl, before->scope, &now, err))
            return false;
        const Recognition seen = count_differing(ctl, before, &now, pause);
        if (seen.differ == 0 || deadline_over(ctl->clock, deadline)) {
            for (size_t i = 0; i < seen.stale.count; i++)
                printf("%s%s", i > 0 ? ", " : "", seen.stale.items[i]);
            if (seen.stale.count > 0)
                printf(" did not recognize %s state after %lld seconds\n",
                       pause ? "paused" : "resumed", (long long)loop_wait_s);
            return true;
        }
        ctl_sleep(POLL_MS);
    }
}

static bool change_pause(Ctl *ctl, const Args *args, bool pause, Error *err)
{
    ClusterInfo cluster;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err))
        return false;
    if (cluster.paused == pause)
        return error_set(err, ERR_INVALID,
                         pause ? "Cluster is already paused" : "Cluster is not paused");
    Tree *body = tree_map(ctl->arena);
    tree_set(ctl->arena, body, "pause",
             pause ? tree_bool(ctl->arena, true) : tree_null(ctl->arena));
    const ApiCall call = {.method = "PATCH", .path = "/config", .body = body};
    EveryMember turn = every_member(ctl, &cluster);
    HttpReply reply;
    if (!every_member_call(&turn, &call, &reply))
        return error_set(err, ERR_UNAVAILABLE, "Can not find accessible cluster member");
    if (reply.status != 200) {
        printf("Failed: %s cluster management status code=%d, (%s)\n", pause ? "pause" : "resume",
               reply.status, reply.body);
        return ctl_rest_failed(ctl);
    }
    if (args_has(args, OPT_WAIT) && !wait_for_members(ctl, &cluster, pause, err))
        return false;
    printf("Success: cluster management is %s\n", pause ? "paused" : "resumed");
    return true;
}

bool run_pause(Ctl *ctl, const Args *args, Error *err)
{
    return change_pause(ctl, args, true, err);
}

bool run_resume(Ctl *ctl, const Args *args, Error *err)
{
    return change_pause(ctl, args, false, err);
}
