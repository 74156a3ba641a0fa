#include "ctl/every_member.h"

#include <stdio.h>

EveryMember every_member(Ctl *ctl, const ClusterInfo *cluster)
{
    return (EveryMember){.ctl = ctl, .cluster = cluster};
}

// Members without an api_url are passed over, and so is the leader the second time. NULL: none
// left.
static const MemberInfo *next_member(EveryMember *turn)
{
    if (!turn->leader_done) {
        turn->leader_done = true;
        const MemberInfo *leader = cluster_info_leader(turn->cluster);
        if (leader != NULL && leader->api_url != NULL)
            return leader;
    }
    while (turn->next < turn->cluster->count) {
        const MemberInfo *member = &turn->cluster->members[turn->next++];
        if (!member->leads && member->api_url != NULL)
            return member;
    }
    return NULL;
}

static bool warn(const Error *err)
{
    fflush(stdout);
    fprintf(stderr, "Warning: %s\n", err->text);
    return false;
}

bool every_member_call(EveryMember *turn, const ApiCall *call, HttpReply *out)
{
    Ctl *ctl = turn->ctl;
    Error err = {0};
    if (ctl->api_url != NULL) {
        if (turn->leader_done)
            return false;
        turn->leader_done = true;
        return api_call(ctl, ctl->api_url, call, out, &err) || warn(&err);
    }
    for (const MemberInfo *member = next_member(turn); member != NULL; member = next_member(turn)) {
        if (api_call_member(ctl, member, call, out, &err))
            return true;
        (void)warn(&err);
    }
    return false;
}
