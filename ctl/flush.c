// flush: drops scheduled restarts, or the scheduled switchover.
#include "ctl/answers.h"
#include "ctl/connect.h"
#include "ctl/every_member.h"
#include "ctl/select.h"
#include "ctl/timestamps.h"

#include <stdio.h>

static bool flush_restart_of(Ctl *ctl, const MemberInfo *member)
{
    if (member->scheduled_restart == NULL) {
        printf("No scheduled restart for member %s\n", member->name);
        return true;
    }
    HttpReply reply;
    Error err = {0};
    const ApiCall call = {.method = "DELETE", .path = "/restart"};
    if (!api_call_member(ctl, member, &call, &reply, &err))
        return answer_missing(ctl, "flush scheduled restart", member, &err);
    if (reply.status >= 400)
        return answer_failed(ctl, "flush scheduled restart", member, &reply);
    printf("Success: flush scheduled restart for member %s\n", member->name);
    return true;
}

static bool flush_restarts(Ctl *ctl, const Args *args, const ClusterInfo *cluster, Error *err)
{
    MemberList members;
    if (!members_select_any(ctl, args, cluster, "flush", &members, err))
        return false;
    if (!args_has(args, OPT_FORCE) && !members_confirm(ctl, &members, "flush", err))
        return false;
    for (size_t i = 0; i < members.count; i++)
        (void)flush_restart_of(ctl, members.items[i]); // noted in ctl
    return true;
}

// Whoever answers first: 404 is an answer, too.
static bool switchover_flushed(Ctl *ctl, const HttpReply *reply)
{
    if (reply->status == 200) {
        printf("Success: %s\n", reply->body);
        return true;
    }
    if (reply->status == 404) {
        printf("Failed: %s\n", reply->body);
        return ctl_rest_failed(ctl);
    }
    fprintf(stderr, "Failed: flush switchover, status code=%d, (%s)\n", reply->status, reply->body);
    return false;
}

static bool flush_switchover(Ctl *ctl, const ClusterInfo *cluster, Error *err)
{
    if (cluster->scheduled_switchover == NULL) {
        puts("No pending scheduled switchover");
        return true;
    }
    const ApiCall call = {.method = "DELETE", .path = "/switchover"};
    EveryMember turn = every_member(ctl, cluster);
    HttpReply reply;
    while (every_member_call(&turn, &call, &reply))
        if (switchover_flushed(ctl, &reply))
            return true;
    if (!cluster->over_store)
        return error_set(err, ERR_UNAVAILABLE, "Can not find accessible cluster member");

    printf("%s Could not find any accessible member of cluster %s\n",
           time_with_fraction(ctl->arena, clock_wall_us(ctl->clock)), cluster->scope);
    fputs("Failing over to DCS\n", stderr);
    Dcs *dcs;
    if (!ctl_store(ctl, cluster->scope, &dcs, err) ||
        !dcs->ops->write(dcs, KEY_FAILOVER, "{}", cluster->view.failover.mod_revision,
                         ctl_store_deadline(ctl), NULL, err))
        return error_wrap(err, "flush scheduled switchover");
    return true;
}

bool run_flush(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err))
        return false;
    return str_eq(args->action, "restart") ? flush_restarts(ctl, args, &cluster, err)
                                           : flush_switchover(ctl, &cluster, err);
}
