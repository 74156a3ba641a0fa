// remove: forgets a cluster. Nothing skips its questions.
#include "ctl/cluster_table.h"
#include "ctl/connect.h"
#include "ctl/prompts.h"

#include <stdio.h>

#define PHRASE "Yes I am aware"

static bool ask_for(Ctl *ctl, const char *question, const char *expected, const char *complaint,
                    Error *err)
{
    const char *answer;
    if (!prompt_text(ctl, question, NULL, &answer, err))
        return false;
    return str_eq(answer, expected) || error_set(err, ERR_INVALID, "%s", complaint);
}

bool run_remove(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    if (ctl->api_url != NULL)
        return error_set(err, ERR_INVALID,
                         "remove deletes from the store and cannot go through --api: give "
                         "--dcs-url, or a settings file with the store");
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err))
        return false;
    const ClusterTableStyle style = {.format = format_parse(args_text(args, OPT_FORMAT))};
    fputs(cluster_table_format(ctl->arena, &cluster, style), stdout);

    const char *aware = arena_printf(
        ctl->arena, "You are about to remove all information in DCS for %s, please type: \"%s\"",
        cluster.scope, PHRASE);
    if (!ask_for(ctl, "Please confirm the cluster name to remove", cluster.scope,
                 "Cluster names specified do not match", err) ||
        !ask_for(ctl, aware, PHRASE, "You did not exactly type \"" PHRASE "\"", err))
        return false;
    if (cluster.leader != NULL &&
        !ask_for(ctl,
                 "This cluster currently is healthy. Please specify the leader name to continue",
                 cluster.leader, "You did not specify the current leader of the cluster", err))
        return false;
    Dcs *dcs;
    if (!ctl_store(ctl, cluster.scope, &dcs, err) ||
        !dcs->ops->remove_cluster(dcs, ctl_store_deadline(ctl), err))
        return error_wrap(err, "remove cluster %s", cluster.scope);
    return true;
}
