// Which members a command is for.
#pragma once
#include "ctl/cluster_info.h"
#include "ctl/options.h"

extern const char *const ROLE_CHOICES[]; // for OPTION_CHOICE

bool member_has_role(const MemberInfo *member, const char *role);
// A copy of the list where those without the role are left out.
size_t members_of_role(Arena *arena, const ClusterInfo *cluster, const char *role,
                       const MemberInfo ***out);

typedef struct {
    const char *role; // NULL: the command's own choice, fallback_role
    const char *fallback_role;
    const StringList *names; // the members named; may be empty
    size_t skip;             // so many of them are no members: the cluster's name
    bool force;              // do not ask for a name
    bool must_name;          // without names, ask for one
    const char *action;      // "reload"
} Selection;

typedef struct {
    const MemberInfo **items;
    size_t count;
} MemberList;

// Prints the table, checks the names. With must_name and force and no names: nobody.
bool members_select(Ctl *ctl, const ClusterInfo *cluster, const Selection *selection,
                    MemberList *out, Error *err) MUST_CHECK;
// As reload, restart and flush choose: by --role and the names after the cluster's, else everybody.
bool members_select_any(Ctl *ctl, const Args *args, const ClusterInfo *cluster, const char *action,
                        MemberList *out, Error *err) MUST_CHECK;
// "Are you sure you want to <action> members a, b?"; a No is the error "Aborted <action>".
bool members_confirm(Ctl *ctl, const MemberList *members, const char *action, Error *err)
    MUST_CHECK;
const char *members_text(Arena *arena, const MemberList *members); // "a, b"
