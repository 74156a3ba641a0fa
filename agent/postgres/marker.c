// The file that says "this data directory is a half-made copy of ours": set before the first byte
// is written, removed after the last one is durable. Only what it vouches for may be wiped on our
// own.
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *marker_path(TaskRun *run)
{
    return state_path(run, "clone-in-progress");
}

bool marker_set(TaskRun *run, const char *what, Error *err)
{
    return disk_make(run->disk, run->settings->howdah.state_dir, 0700, err) &&
           disk_write(run->disk, marker_path(run), what, 0600, err);
}

bool marker_clear(TaskRun *run, Error *err)
{
    return disk_remove(run->disk, marker_path(run), err) &&
           disk_sync_directory(run->disk, run->settings->howdah.state_dir, err);
}

bool marker_is_set(TaskRun *run)
{
    return disk_kind(run->disk, marker_path(run)) == PATH_FILE;
}

bool marker_condemns(TaskRun *run)
{
    char *what = NULL;
    Error err; // unreadable: then it is there, and says nothing better
    if (!marker_is_set(run))
        return false;
    if (!disk_read(run->disk, run->arena, marker_path(run), 64, &what, &err) ||
        !str_eq(what, BOOTSTRAP_MARK))
        return true;
    if (run->server->worker.bootstrapping)
        return false;
    if (!postmaster_runs(run->server, NULL))
        return true;
    if (!marker_clear(run, &err))
        log_warn("cannot remove a marker error='%s'", err.text);
    return false;
}

// Where a symbolic link leads; NULL: it is none, or leads nowhere.
static const char *link_target(TaskRun *run, const char *path)
{
    char target[PATH_MAX];
    disk_enter(run->disk);
    const bool is_link = readlink(path, target, sizeof target) > 0;
    const char *found = is_link ? realpath(path, target) : NULL;
    disk_leave(run->disk);
    return found == NULL ? NULL : arena_strdup(run->arena, found);
}

// A tablespace's directory may be shared by clusters: only the parts that PostgreSQL named are its.
static bool clear_tablespace(TaskRun *run, const char *target, Error *err)
{
    DiskListing found;
    if (!disk_list(run->disk, run->arena, target, &found, err))
        return false;
    for (size_t i = 0; i < found.count; i++) {
        const char *part = path_join(run->arena, target, found.entries[i].name);
        if (found.entries[i].kind != PATH_DIRECTORY || !str_starts(found.entries[i].name, "PG_"))
            continue;
        if (!disk_clear(run->disk, part, &run->server->cancelled, err))
            return false;
        disk_enter(run->disk);
        (void)rmdir(part); // empty now; if not, the next copy says so
        disk_leave(run->disk);
    }
    return true;
}

static bool clear_tablespaces(TaskRun *run, Error *err)
{
    const char *links = data_path(run, "pg_tblspc");
    DiskListing found;
    if (!disk_list(run->disk, run->arena, links, &found, err))
        return false;
    for (size_t i = 0; i < found.count; i++) {
        const char *target = link_target(run, path_join(run->arena, links, found.entries[i].name));
        if (target != NULL && !clear_tablespace(run, target, err))
            return false;
    }
    return true;
}

bool wipe_directory(TaskRun *run, Error *err)
{
    run->changed = true;
    if (disk_kind(run->disk, run->pg->data_dir) == PATH_MISSING)
        return true;
    // From here on it is nobody's data directory, should we not come to the end.
    if (!marker_set(run, "wipe\n", err) || !clear_tablespaces(run, err))
        return false;
    const char *wal = link_target(run, data_path(run, "pg_wal"));
    if (wal != NULL && !disk_clear(run->disk, wal, &run->server->cancelled, err))
        return false;
    return disk_clear(run->disk, run->pg->data_dir, &run->server->cancelled, err);
}
