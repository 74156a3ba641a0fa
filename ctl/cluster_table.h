// The cluster as `list` and `topology` show it, to the byte of patronictl's. Pure.
#pragma once
#include "ctl/cluster_info.h"
#include "ctl/table.h"

typedef struct {
    Format format;
    bool extended; // all columns, also the empty ones
    bool topology; // as a tree under the leader
} ClusterTableStyle;

// Table and, below a bordered one, the notes: paused, scheduled switchover.
char *cluster_table_format(Arena *arena, const ClusterInfo *cluster, ClusterTableStyle style);
// Prints the bordered table, as commands do that change something.
void cluster_table_print(Ctl *ctl, const ClusterInfo *cluster);
