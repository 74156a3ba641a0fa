#include "common/model/cluster.h"

#include <stdlib.h>

// Python's truth: what Patroni members make of each other's boolean tags, the text "false"
// included.
static bool truthy(const Tree *tree)
{
    if (tree == NULL)
        return false;
    switch (tree->kind) {
    case TREE_NULL:
        return false;
    case TREE_BOOL:
        return tree->boolean;
    case TREE_INT:
        return tree->integer != 0;
    case TREE_REAL:
        return strtod(tree->text, NULL) < 0 || strtod(tree->text, NULL) > 0;
    case TREE_STRING:
        return tree->text[0] != '\0';
    case TREE_LIST:
    case TREE_MAP:
        return tree->count > 0;
    }
    return false;
}

static bool is_set(const Tree *tree)
{
    return tree != NULL && tree->kind != TREE_NULL;
}

// nofailover with failover_priority, nosync with sync_priority: the boolean wins where it is there.
static bool read_priority(const Tree *tags, const char *flag, const char *priority, int *out)
{
    if (is_set(tree_get(tags, flag))) {
        const bool no = truthy(tree_get(tags, flag));
        *out = no ? 0 : 1;
        return no;
    }
    const int64_t value = tree_get_int(tags, priority, 1);
    *out = value <= 0 ? 0 : value > INT32_MAX ? INT32_MAX : (int)value;
    return value <= 0;
}

Tags tags_parse(const Tree *tags)
{
    Tags out = {0};
    out.nofailover = read_priority(tags, "nofailover", "failover_priority", &out.failover_priority);
    out.nosync = read_priority(tags, "nosync", "sync_priority", &out.sync_priority);
    out.noloadbalance = truthy(tree_get(tags, "noloadbalance"));
    out.clonefrom = truthy(tree_get(tags, "clonefrom"));
    out.nostream = tree_get_bool(tags, "nostream", false);
    const char *from = tree_get_string(tags, "replicatefrom", NULL);
    out.replicatefrom = str_empty(from) ? NULL : from;
    return out;
}
