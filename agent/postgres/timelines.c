// Reserving timeline numbers. A promoting server takes the first number without a history file
// (findNewestTimeLine() in timeline.c). A number that another member may have used, unseen by us,
// is therefore given a file that says nothing but "taken": a tombstone.
//
// The numbers must stay without a gap, for standbys look for the newest timeline by counting up;
// they get the tombstones like any history file, over the replication connection. A tombstone with
// nothing real above it must go before a start, though: PostgreSQL would take it for the newest
// timeline and then find that it does not descend from ours.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

static const char tombstone[] = "# reserved by Howdah: this timeline was never used here\n";

bool history_is_tombstone(const char *content)
{
    return str_eq(content, tombstone);
}

static const char *history_path(TaskRun *run, uint32_t timeline)
{
    return data_path(run, arena_printf(run->arena, "pg_wal/%08X.history", timeline));
}

typedef enum { HISTORY_NONE, HISTORY_REAL, HISTORY_TOMBSTONE } HistoryFile;

static bool look(TaskRun *run, uint32_t timeline, HistoryFile *out, Error *err)
{
    char *text = NULL;
    if (!disk_read(run->disk, run->arena, history_path(run, timeline), 1024 * 1024, &text, err))
        return false;
    *out = text == NULL                 ? HISTORY_NONE
           : history_is_tombstone(text) ? HISTORY_TOMBSTONE
                                        : HISTORY_REAL;
    return true;
}

bool tombstones_write(TaskRun *run, uint32_t own, uint32_t through, Error *err)
{
    // A cluster that has really used up so many is beyond what a promotion should write in passing.
    enum { MOST = 10000 };
    if (through > own && through - own > MOST)
        return error_set(err, ERR_INVALID, "asked to reserve timelines %u to %u, more than %d",
                         own + 1, through, MOST);
    for (uint32_t timeline = own + 1; timeline <= through; timeline++) {
        HistoryFile there;
        if (!look(run, timeline, &there, err))
            return false;
        if (there != HISTORY_NONE)
            continue;
        run->changed = true;
        if (!disk_write(run->disk, history_path(run, timeline), tombstone, data_mode(run), err))
            return error_wrap(err, "reserve timeline %u", timeline);
    }
    return true;
}

bool tombstones_prune(TaskRun *run, uint32_t own, Error *err)
{
    uint32_t newest = own, real = own;
    for (;; newest++) {
        HistoryFile there;
        if (!look(run, newest + 1, &there, err))
            return false;
        if (there == HISTORY_NONE)
            break;
        if (there == HISTORY_REAL)
            real = newest + 1;
    }
    for (uint32_t timeline = newest; timeline > real; timeline--) {
        run->changed = true;
        if (!disk_remove(run->disk, history_path(run, timeline), err))
            return error_wrap(err, "free timeline %u", timeline);
    }
    if (newest > real)
        log_info("timelines reserved for a promotion that never came are free again first=%u "
                 "last=%u",
                 real + 1, newest);
    return true;
}
