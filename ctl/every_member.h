// A call that any member can serve: the leader is tried first, then the others.
#pragma once
#include "ctl/api_client.h"

typedef struct {
    Ctl *ctl;
    const ClusterInfo *cluster;
    size_t next;
    bool leader_done;
} EveryMember;

EveryMember every_member(Ctl *ctl, const ClusterInfo *cluster);
// The next member's answer; who cannot be reached is skipped with a line on standard error. Over
// --api only that one member is asked. False: none is left.
bool every_member_call(EveryMember *turn, const ApiCall *call, HttpReply *out);
