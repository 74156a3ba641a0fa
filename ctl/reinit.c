// reinit.
#include "ctl/answers.h"
#include "ctl/prompts.h"
#include "ctl/select.h"

#include <stdio.h>

enum { POLL_MS = 2000 };

static bool post_reinit(Ctl *ctl, const MemberInfo *member, bool force, bool from_leader,
                        HttpReply *out, Error *err)
{
    Tree *body = tree_map(ctl->arena);
    tree_set(ctl->arena, body, "force", tree_bool(ctl->arena, force));
    tree_set(ctl->arena, body, "from_leader", tree_bool(ctl->arena, from_leader));
    const ApiCall call = {.method = "POST", .path = "/reinitialize", .body = body};
    return api_call_member(ctl, member, &call, out, err);
}

// *out_started: the member has begun. False only when there is nobody to ask.
static bool reinit_member(Ctl *ctl, const Args *args, const MemberInfo *member, bool *out_started,
                          Error *err)
{
    bool force = args_has(args, OPT_FORCE);
    *out_started = false;
    for (;;) {
        HttpReply reply;
        Error call_err = {0};
        if (!post_reinit(ctl, member, force, args_has(args, OPT_FROM_LEADER), &reply, &call_err))
            return answer_missing(ctl, "reinitialize", member, &call_err);
        if (reply.status < 400) {
            printf("Success: reinitialize for member %s\n", member->name);
            *out_started = true;
            return true;
        }
        printf("Failed: reinitialize for member %s, status code=%d, (%s)\n", member->name,
               reply.status, reply.body);
        if (args_has(args, OPT_FORCE) || !str_ends(reply.body, " already in progress"))
            return ctl_rest_failed(ctl);
        bool cancel;
        if (!prompt_confirm(ctl, "Do you want to cancel it and reinitialize anyway?", &cancel, err))
            return false;
        if (!cancel)
            return ctl_rest_failed(ctl);
        force = true;
    }
}

// A member that does not answer is asked again: it may restart its server meanwhile.
static bool is_done(Ctl *ctl, const MemberInfo *member)
{
    Error err = {0};
    const Tree *status;
    return api_member_status(ctl, member, &status, &err) &&
           !str_eq(tree_get_string(status, "state", "creating replica"), "creating replica");
}

// Copying a large server takes hours, so each round gives its memory back.
static bool is_done_now(Ctl *ctl, const MemberInfo *member, Arena *round)
{
    Arena *const whole = ctl->arena;
    ctl->arena = round;
    const bool done = is_done(ctl, member);
    ctl->arena = whole;
    arena_reset(round);
    return done;
}

static void wait_until_done(Ctl *ctl, MemberList *waiting)
{
    AUTO(arena_release) Arena *round = arena_new(ARENA_CAP_DEFAULT);
    size_t announced = 0;
    while (waiting->count > 0) {
        if (waiting->count != announced)
            printf("Waiting for reinitialize to complete on: %s\n",
                   members_text(ctl->arena, waiting));
        announced = waiting->count;
        fflush(stdout);
        ctl_sleep(POLL_MS);
        size_t kept = 0;
        for (size_t i = 0; i < waiting->count; i++) {
            const MemberInfo *member = waiting->items[i];
            if (is_done_now(ctl, member, round))
                printf("Reinitialize is completed on: %s\n", member->name);
            else
                waiting->items[kept++] = member;
        }
        waiting->count = kept;
    }
}

bool run_reinit(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    MemberList members;
    const Selection selection = {.fallback_role = "replica",
                                 .names = &args->words,
                                 .skip = 1,
                                 .force = args_has(args, OPT_FORCE),
                                 .must_name = true,
                                 .action = "reinitialize"};
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !members_select(ctl, &cluster, &selection, &members, err))
        return false;
    if (members.count > 0 && !args_has(args, OPT_FORCE) &&
        !members_confirm(ctl, &members, "reinitialize", err))
        return false;
    size_t started = 0;
    for (size_t i = 0; i < members.count; i++) {
        bool begun;
        const MemberInfo *member = members.items[i];
        if (!reinit_member(ctl, args, member, &begun, err))
            return false;
        if (begun)
            members.items[started++] = member;
    }
    members.count = started;
    if (args_has(args, OPT_WAIT))
        wait_until_done(ctl, &members);
    return true;
}
