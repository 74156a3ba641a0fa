// version.
#include "ctl/api_client.h"

#include <stdio.h>
#include <string.h>

// 150018 -> 15.18, 90624 -> 9.6.24
static const char *server_version(Arena *arena, int64_t number)
{
    if (number >= 100000)
        return arena_printf(arena, "%lld.%lld", (long long)(number / 10000),
                            (long long)(number % 10000));
    return arena_printf(arena, "%lld.%lld.%lld", (long long)(number / 10000),
                        (long long)(number / 100 % 100), (long long)(number % 100));
}

static void print_member(Ctl *ctl, const MemberInfo *member)
{
    Error err = {0};
    const Tree *status;
    if (!api_member_status(ctl, member, &status, &err)) {
        printf("%s: failed to get version: %s\n", member->name, err.text);
        (void)ctl_rest_failed(ctl);
        return;
    }
    const Tree *patroni = tree_get(status, "patroni");
    const char *howdah = tree_string_of(tree_path(status, "howdah.version"));
    const int64_t server = tree_get_int(status, "server_version", 0);
    printf("%s: Patroni %s", member->name, tree_get_string(patroni, "version", "?"));
    if (server > 0)
        printf(" PostgreSQL %s", server_version(ctl->arena, server));
    if (howdah != NULL)
        printf(" Howdah %s", howdah);
    puts("");
}

static bool is_wanted(const Args *args, const char *name)
{
    if (args->words.count < 2)
        return true;
    for (size_t i = 1; i < args->words.count; i++)
        if (str_eq(args->words.items[i], name))
            return true;
    return false;
}

bool run_version(Ctl *ctl, const Args *args, Error *err)
{
    printf("%s version %s\n", ctl->program, HOWDAH_VERSION);
    const char *scope = args_word(args, 0);
    if (scope == NULL)
        return true;
    ClusterInfo cluster;
    if (!cluster_info_read(ctl, scope, &cluster, err))
        return false;
    puts("");
    for (size_t i = 0; i < cluster.count; i++)
        if (cluster.members[i].api_url != NULL && is_wanted(args, cluster.members[i].name))
            print_member(ctl, &cluster.members[i]);
    return true;
}
