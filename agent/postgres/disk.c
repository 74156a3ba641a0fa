#include "agent/postgres/disk.h"

#include "common/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

void disk_enter(Disk *disk)
{
    atomic_store(&disk->since_ns, clock_now(disk->clock).ns);
}

void disk_leave(Disk *disk)
{
    atomic_store(&disk->since_ns, 0);
}

int64_t disk_busy_ms(Disk *disk)
{
    const int64_t since = atomic_load(&disk->since_ns);
    if (since == 0)
        return 0;
    const int64_t ms = instant_ms_between((Instant){since}, clock_now(disk->clock));
    return ms > 0 ? ms : 0;
}

PathKind disk_kind(Disk *disk, const char *path)
{
    disk_enter(disk);
    const PathKind kind = path_kind(path);
    disk_leave(disk);
    return kind;
}

bool disk_read(Disk *disk, Arena *arena, const char *path, size_t limit, char **out, Error *err)
{
    disk_enter(disk);
    const bool ok = file_read(arena, path, limit, out, err);
    disk_leave(disk);
    return ok;
}

bool disk_write(Disk *disk, const char *path, const char *content, mode_t mode, Error *err)
{
    disk_enter(disk);
    const bool ok = file_write(path, content, mode, err);
    disk_leave(disk);
    return ok;
}

bool disk_write_changed(Disk *disk, Arena *arena, const char *path, const char *content,
                        mode_t mode, bool *changed, Error *err)
{
    char *there = NULL;
    Error unreadable; // then it is written anew
    const bool same = disk_read(disk, arena, path, strlen(content) + 1, &there, &unreadable) &&
                      str_eq(there, content) && disk_mode(disk, path) == mode;
    if (same)
        return true;
    if (changed != NULL)
        *changed = true;
    return disk_write(disk, path, content, mode, err);
}

bool disk_remove(Disk *disk, const char *path, Error *err)
{
    disk_enter(disk);
    const bool ok = file_remove(path, err);
    disk_leave(disk);
    return ok;
}

static bool failed(Error *err, const char *what, const char *path, int error)
{
    return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, path, strerror(error));
}

bool disk_rename(Disk *disk, const char *from, const char *to, Error *err)
{
    disk_enter(disk);
    const int error = rename(from, to) == 0 ? 0 : errno;
    disk_leave(disk);
    return error == 0 || failed(err, "rename", from, error);
}

bool disk_make(Disk *disk, const char *path, mode_t mode, Error *err)
{
    disk_enter(disk);
    const bool ok = directory_make(path, mode, err);
    disk_leave(disk);
    return ok;
}

bool disk_is_empty(Disk *disk, const char *path, bool *out, Error *err)
{
    disk_enter(disk);
    const bool ok = directory_is_empty(path, out, err);
    disk_leave(disk);
    return ok;
}

bool disk_sync_directory(Disk *disk, const char *path, Error *err)
{
    disk_enter(disk);
    AUTO(fd_release) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int error = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL) ? 0 : errno;
    disk_leave(disk);
    return error == 0 || failed(err, "sync directory", path, error);
}

mode_t disk_mode(Disk *disk, const char *path)
{
    struct stat st;
    disk_enter(disk);
    const int result = stat(path, &st);
    disk_leave(disk);
    return result == 0 ? st.st_mode & 07777 : 0;
}

bool disk_free_bytes(Disk *disk, const char *path, uint64_t *out, Error *err)
{
    struct statvfs fs;
    disk_enter(disk);
    const int error = statvfs(path, &fs) == 0 ? 0 : errno;
    disk_leave(disk);
    if (error != 0)
        return failed(err, "ask for free space on", path, error);
    *out = (uint64_t)fs.f_bavail * fs.f_frsize;
    return true;
}

// --- directories

static void dir_release(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
    *dir = NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const DiskEntry *)a)->name, ((const DiskEntry *)b)->name);
}

static DiskEntry entry_of(Arena *arena, int dir, const char *name)
{
    struct stat st;
    DiskEntry entry = {.name = arena_strdup(arena, name), .kind = PATH_UNREADABLE};
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return entry;
    entry.kind = S_ISREG(st.st_mode)   ? PATH_FILE
                 : S_ISDIR(st.st_mode) ? PATH_DIRECTORY
                                       : PATH_OTHER;
    entry.bytes = (uint64_t)st.st_size;
    return entry;
}

static bool list(Arena *arena, const char *path, DiskListing *out, Error *err)
{
    AUTO(dir_release) DIR *dir = opendir(path);
    if (dir == NULL && errno == ENOENT) {
        *out = (DiskListing){0};
        return true;
    }
    if (dir == NULL)
        return failed(err, "open directory", path, errno);
    DiskEntry *entries = NULL;
    size_t count = 0, capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL && errno != 0)
            return failed(err, "read directory", path, errno);
        if (e == NULL)
            break;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
            continue;
        if (count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            DiskEntry *more = ARENA_ARRAY(arena, DiskEntry, capacity);
            if (count > 0)
                memcpy(more, entries, count * sizeof *more);
            entries = more;
        }
        entries[count++] = entry_of(arena, dirfd(dir), e->d_name);
    }
    if (count > 0)
        qsort(entries, count, sizeof *entries, by_name);
    *out = (DiskListing){.entries = entries, .count = count};
    return true;
}

bool disk_list(Disk *disk, Arena *arena, const char *path, DiskListing *out, Error *err)
{
    disk_enter(disk);
    const bool ok = list(arena, path, out, err);
    disk_leave(disk);
    return ok;
}

static bool remove_one(Disk *disk, const char *path, bool directory, Error *err)
{
    disk_enter(disk);
    const int error = (directory ? rmdir(path) : unlink(path)) == 0 ? 0 : errno;
    disk_leave(disk);
    return error == 0 || error == ENOENT || failed(err, "remove", path, error);
}

static bool clear_below(Disk *disk, const char *path, bool top, const atomic_bool *stop, Error *err)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    DiskListing found;
    if (!disk_list(disk, arena, path, &found, err))
        return false;
    for (size_t i = 0; i < found.count; i++) {
        const DiskEntry *e = &found.entries[i];
        if (stop != NULL && atomic_load(stop))
            return error_set(err, ERR_UNAVAILABLE, "clear %s: cancelled", path);
        if (top && str_eq(e->name, "lost+found")) // the file system's, and root's
            continue;
        const char *child = path_join(arena, path, e->name);
        const bool directory = e->kind == PATH_DIRECTORY;
        if (directory && !clear_below(disk, child, false, stop, err))
            return false;
        if (!remove_one(disk, child, directory, err))
            return false;
    }
    return true;
}

bool disk_clear(Disk *disk, const char *path, const atomic_bool *stop, Error *err)
{
    return clear_below(disk, path, true, stop, err);
}

// --- copies

static int copy_bytes(Disk *disk, int from, int to)
{
    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    static const size_t step = 1024 * 1024;
    char *buffer = malloc(step);
    ASSERT(buffer != NULL);
    int error = 0;
    for (;;) {
        disk_enter(disk); // each step is an operation of its own
        const ssize_t got = read(from, buffer, step);
        ssize_t put = 0;
        for (ssize_t done = 0; got > 0 && done < got; done += put) {
            put = write(to, buffer + done, (size_t)(got - done));
            if (put < 0)
                break;
        }
        if (got < 0 || put < 0)
            error = errno;
        disk_leave(disk);
        if (got <= 0 || error != 0)
            break;
    }
    free(buffer);
    return error;
}

bool disk_copy(Disk *disk, const char *from, const char *to, Error *err)
{
    const mode_t mode = disk_mode(disk, from);
    disk_enter(disk);
    AUTO(fd_release) int in = open(from, O_RDONLY | O_CLOEXEC);
    int error = in >= 0 ? 0 : errno;
    AUTO(fd_release)
    int out = error != 0
                  ? -1
                  : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode == 0 ? 0600 : mode);
    if (error == 0 && out < 0)
        error = errno;
    if (error == 0)
        error = copy_bytes(disk, in, out);
    disk_enter(disk);
    if (error == 0 && fsync(out) != 0)
        error = errno;
    disk_leave(disk);
    return error == 0 || failed(err, "copy", from, error);
}
