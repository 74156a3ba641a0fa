// show-config, edit-config.
#include "ctl/api_client.h"
#include "ctl/config_edit.h"
#include "ctl/connect.h"
#include "ctl/diff.h"
#include "ctl/editor.h"
#include "ctl/prompts.h"

#include "common/os/files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_LIMIT = 8 * 1024 * 1024 };

bool run_show_config(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    const Tree *config;
    int64_t revision;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !cluster_config_read(ctl, &cluster, &config, &revision, err))
        return false;
    if (config != NULL)
        printf("%s\n", tree_to_yaml(ctl->arena, config));
    return true;
}

static bool read_stdin(Arena *arena, const char **out, Error *err)
{
    Text text = text_new(arena);
    char buffer[4096];
    for (;;) {
        const size_t got = fread(buffer, 1, sizeof buffer, stdin);
        if (got == 0)
            break;
        text_add_bytes(&text, buffer, got);
        if (text.length > TEXT_LIMIT)
            return error_set(err, ERR_INVALID, "standard input: more than 8 MiB");
    }
    *out = text.data;
    return true;
}

// A file of YAML whose document is a map; nothing at all is an empty one.
static bool read_document(Ctl *ctl, const char *path, const Tree **out, Error *err)
{
    const bool from_stdin = str_eq(path, "-");
    const char *name = from_stdin ? "standard input" : path, *text = NULL;
    char *content = NULL;
    if (from_stdin ? !read_stdin(ctl->arena, &text, err)
                   : !file_read(ctl->arena, path, TEXT_LIMIT, &content, err))
        return false;
    if (!from_stdin && content == NULL)
        return error_set(err, ERR_INVALID, "%s: no such file", path);
    return config_parse(ctl->arena, from_stdin ? text : content, name, out, err);
}

static bool edit_by_options(Ctl *ctl, const Args *args, const Tree *before, const Tree **out,
                            Error *err)
{
    const Tree *config = before, *document;
    if (args_has(args, OPT_REPLACE)) {
        if (!read_document(ctl, args_text(args, OPT_REPLACE), &config, err))
            return false;
        config = tree_patch(ctl->arena, tree_map(ctl->arena), config, NULL);
    }
    if (args_has(args, OPT_APPLY)) {
        if (!read_document(ctl, args_text(args, OPT_APPLY), &document, err))
            return false;
        config = tree_patch(ctl->arena, config, document, NULL);
    }
    const StringList *sets = &args->values[OPT_SET].all, *pgs = &args->values[OPT_PG].all;
    for (size_t i = 0; i < sets->count; i++)
        if (!config_set(ctl->arena, config, "", sets->items[i], &config, err))
            return false;
    for (size_t i = 0; i < pgs->count; i++)
        if (!config_set(ctl->arena, config, "postgresql.parameters.", pgs->items[i], &config, err))
            return false;
    *out = config;
    return true;
}

static bool edit_by_hand(Ctl *ctl, const char *scope, const Tree *before, const Tree **out,
                         Error *err)
{
    const char *text;
    return editor_run(ctl->arena, scope, tree_to_yaml(ctl->arena, before), &text, err) &&
           config_parse(ctl->arena, text, "the edited configuration", out, err);
}

static bool write_over_store(Ctl *ctl, const ClusterInfo *cluster, const Tree *config,
                             int64_t revision, Error *err)
{
    Dcs *dcs;
    if (!ctl_store(ctl, cluster->scope, &dcs, err))
        return false;
    if (dcs->ops->write(dcs, KEY_CONFIG, tree_to_json(ctl->arena, config, JSON_COMPACT), revision,
                        ctl_store_deadline(ctl), NULL, err))
        return true;
    if (err->kind == ERR_CONFLICT)
        return error_set(err, ERR_CONFLICT,
                         "Config modification aborted due to concurrent changes");
    return error_wrap(err, "write the configuration");
}

// PUT has no precondition: that nobody else has changed it meanwhile is looked up right before.
static bool write_over_api(Ctl *ctl, const ClusterInfo *cluster, const Tree *before,
                           const Tree *config, Error *err)
{
    const Tree *now;
    int64_t revision;
    HttpReply reply;
    if (!cluster_config_read(ctl, cluster, &now, &revision, err))
        return false;
    if (!tree_equal(now, before))
        return error_set(err, ERR_CONFLICT,
                         "Config modification aborted due to concurrent changes");
    const ApiCall call = {.method = "PUT", .path = "/config", .body = config};
    if (!api_call(ctl, ctl->api_url, &call, &reply, err))
        return false;
    return reply.status == 200 ||
           error_set(err, ERR_INVALID, "PUT /config: status %d, %.*s", reply.status,
                     (int)strcspn(reply.body, "\r\n"), reply.body);
}

typedef struct {
    bool from_stdin, force, quiet;
} EditOptions;

// *out_apply: the changes were shown, and are wanted.
static bool confirm_changes(Ctl *ctl, const char *before, const char *after,
                            const EditOptions *options, bool *out_apply, Error *err)
{
    *out_apply = false;
    if (str_eq(before, after)) {
        if (!options->quiet)
            puts("Not changed");
        return true;
    }
    if (!options->quiet)
        fputs(diff_unified(ctl->arena, before, after, isatty(STDOUT_FILENO)), stdout);
    if (options->from_stdin && !options->force) {
        puts("Use --force option to apply changes");
        return true;
    }
    if (options->force) {
        *out_apply = true;
        return true;
    }
    return prompt_confirm(ctl, "Apply these changes?", out_apply, err);
}

bool run_edit_config(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    const Tree *before, *after;
    int64_t revision;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !cluster_config_read(ctl, &cluster, &before, &revision, err))
        return false;
    if (before == NULL)
        return error_set(err, ERR_INVALID, "The config key does not exist in the cluster %s",
                         cluster.scope);
    const bool by_options = args_has(args, OPT_SET) || args_has(args, OPT_PG) ||
                            args_has(args, OPT_APPLY) || args_has(args, OPT_REPLACE);
    if (by_options ? !edit_by_options(ctl, args, before, &after, err)
                   : !edit_by_hand(ctl, cluster.scope, before, &after, err))
        return false;

    const EditOptions options = {.from_stdin = str_eq(args_text(args, OPT_APPLY), "-") ||
                                               str_eq(args_text(args, OPT_REPLACE), "-"),
                                 .force = args_has(args, OPT_FORCE),
                                 .quiet = args_has(args, OPT_QUIET)};
    bool apply;
    if (!confirm_changes(ctl, tree_to_yaml(ctl->arena, before), tree_to_yaml(ctl->arena, after),
                         &options, &apply, err))
        return false;
    if (!apply)
        return true;
    if (cluster.over_store ? !write_over_store(ctl, &cluster, after, revision, err)
                           : !write_over_api(ctl, &cluster, before, after, err))
        return false;
    puts("Configuration changed");
    return true;
}
