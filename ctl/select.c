#include "ctl/select.h"

#include "ctl/cluster_table.h"
#include "ctl/prompts.h"

const char *const ROLE_CHOICES[] = {"leader", "primary", "standby-leader", "replica", "standby",
                                    "any",    NULL};

bool member_has_role(const MemberInfo *member, const char *role)
{
    if (str_eq(role, "any"))
        return true;
    if (str_eq(role, "replica") || str_eq(role, "standby"))
        return !member->leads;
    if (str_eq(role, "primary"))
        return member->leads && !member->standby_leader;
    if (str_eq(role, "standby-leader"))
        return member->leads && !member->primary;
    return member->leads;
}

size_t members_of_role(Arena *arena, const ClusterInfo *cluster, const char *role,
                       const MemberInfo ***out)
{
    const MemberInfo **found = ARENA_ARRAY(arena, const MemberInfo *, cluster->count);
    size_t count = 0;
    for (size_t i = 0; i < cluster->count; i++)
        if (member_has_role(&cluster->members[i], role))
            found[count++] = &cluster->members[i];
    *out = found;
    return count;
}

const char *members_text(Arena *arena, const MemberList *members)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < members->count; i++)
        text_addf(&text, "%s%s", i > 0 ? ", " : "", members->items[i]->name);
    return text.data;
}

static bool is_named(const StringList *names, size_t skip, const char *name)
{
    for (size_t i = skip; i < names->count; i++)
        if (str_eq(names->items[i], name))
            return true;
    return false;
}

static bool ask_for_one(Ctl *ctl, const Selection *s, MemberList *members, Error *err)
{
    const char *name;
    const char *question = arena_printf(ctl->arena, "Which member do you want to %s [%s]?",
                                        s->action, members_text(ctl->arena, members));
    if (!prompt_text(ctl, question, "", &name, err))
        return false;
    for (size_t i = 0; i < members->count; i++) {
        if (str_eq(members->items[i]->name, name)) {
            members->items[0] = members->items[i];
            members->count = 1;
            return true;
        }
    }
    return error_set(err, ERR_INVALID, "%s is not a member of cluster", name);
}

bool members_select(Ctl *ctl, const ClusterInfo *cluster, const Selection *s, MemberList *out,
                    Error *err)
{
    const char *role = str_or(s->role, s->fallback_role);
    MemberList members;
    members.count = members_of_role(ctl->arena, cluster, role, &members.items);
    const bool named = s->names->count > s->skip;
    if (members.count == 0 && !named)
        return error_set(err, ERR_INVALID, "%s cluster doesn't have any members", cluster->scope);
    cluster_table_print(ctl, cluster);

    if (named) {
        size_t kept = 0;
        for (size_t i = 0; i < members.count; i++)
            if (is_named(s->names, s->skip, members.items[i]->name))
                members.items[kept++] = members.items[i];
        members.count = kept;
        if (kept == 0)
            return error_set(err, ERR_INVALID,
                             s->must_name ? "No %s among provided members"
                                          : "No '%s' among provided members",
                             role);
    } else if (s->must_name && s->force) {
        members.count = 0;
    } else if (s->must_name && !ask_for_one(ctl, s, &members, err)) {
        return false;
    }
    *out = members;
    return true;
}

bool members_select_any(Ctl *ctl, const Args *args, const ClusterInfo *cluster, const char *action,
                        MemberList *out, Error *err)
{
    const Selection selection = {.role = args_text(args, OPT_ROLE),
                                 .fallback_role = "any",
                                 .names = &args->words,
                                 .skip = 1,
                                 .action = action};
    return members_select(ctl, cluster, &selection, out, err);
}

bool members_confirm(Ctl *ctl, const MemberList *members, const char *action, Error *err)
{
    bool sure;
    const char *question = arena_printf(ctl->arena, "Are you sure you want to %s members %s?",
                                        action, members_text(ctl->arena, members));
    if (!prompt_confirm(ctl, question, &sure, err))
        return false;
    return sure || error_set(err, ERR_INVALID, "Aborted %s", action);
}
