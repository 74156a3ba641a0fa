// list, topology, history.
#include "ctl/cluster_table.h"
#include "ctl/watch.h"

#include <stdio.h>

typedef struct {
    ClusterTableStyle style;
    bool timestamp;
} ListOptions;

static bool print_cluster(Ctl *ctl, const char *scope, ClusterTableStyle style, Error *err)
{
    ClusterInfo cluster;
    if (!cluster_info_read(ctl, scope, &cluster, err))
        return false;
    fputs(cluster_table_format(ctl->arena, &cluster, style), stdout);
    return true;
}

static bool print_clusters(Ctl *ctl, const Args *args, const ListOptions *options, Error *err)
{
    if (options->timestamp)
        puts(time_in_seconds(ctl->arena, clock_wall_us(ctl->clock)));
    if (args->words.count == 0)
        return print_cluster(ctl, NULL, options->style, err);
    for (size_t i = 0; i < args->words.count; i++)
        if (!print_cluster(ctl, args->words.items[i], options->style, err))
            return false;
    return true;
}

static bool list(Ctl *ctl, const Args *args, const ListOptions *options, Error *err)
{
    // patronictl only warns of a cluster that nobody named, and scripts count on the status.
    if (args->words.count == 0 && ctl->api_url == NULL && str_empty(ctl->settings.scope)) {
        fputs("Listing members: No cluster names were provided\n", stderr);
        return true;
    }
    Watch watch = watch_begin(ctl, args, true);
    while (watch_next(&watch))
        if (!print_clusters(ctl, args, options, err))
            return false;
    return true;
}

bool run_list(Ctl *ctl, const Args *args, Error *err)
{
    const ListOptions options = {.style = {.format = format_parse(args_text(args, OPT_FORMAT)),
                                           .extended = args_has(args, OPT_EXTENDED)},
                                 .timestamp = args_has(args, OPT_TIMESTAMP)};
    return list(ctl, args, &options, err);
}

bool run_topology(Ctl *ctl, const Args *args, Error *err)
{
    const ListOptions options = {.style = {.format = FORMAT_PRETTY, .topology = true}};
    return list(ctl, args, &options, err);
}

bool run_history(Ctl *ctl, const Args *args, Error *err)
{
    static const Column columns[] = {
        {"TL", .right = true}, {"LSN", .right = true}, {"Reason"}, {"Timestamp"}, {"New Leader"}};
    enum { COUNT = COUNT_OF(columns) };
    ClusterInfo cluster;
    const Tree *lines;
    if (!cluster_info_read(ctl, args_word(args, 0), &cluster, err) ||
        !cluster_history_read(ctl, &cluster, &lines, err))
        return false;
    const size_t rows = lines->kind == TREE_LIST ? lines->count : 0;
    const size_t all = rows * COUNT;
    const Tree **cells = ARENA_ARRAY(ctl->arena, const Tree *, all);
    for (size_t row = 0; row < rows; row++) {
        const Tree *line = lines->entries[row].value; // 3 to 5 fields
        for (size_t c = 0; c < COUNT && c < line->count; c++)
            cells[row * COUNT + c] = line->entries[c].value;
    }
    const Table table = {
        .columns = columns, .column_count = COUNT, .cells = cells, .row_count = rows};
    fputs(table_format(ctl->arena, &table, format_parse(args_text(args, OPT_FORMAT))), stdout);
    return true;
}
