#include "common/os/files.h"

#include "common/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_release(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int take_fd(int *fd)
{
    const int taken = *fd;
    *fd = -1;
    return taken;
}

static void dir_release(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
    *dir = NULL;
}

static bool failed(Error *err, const char *what, const char *path)
{
    return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, path, strerror(errno));
}

// ENOTDIR: something on the way is not a directory, so nothing of that name can be there.
static bool says_missing(int error)
{
    return error == ENOENT || error == ENOTDIR;
}

PathKind path_kind(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return says_missing(errno) ? PATH_MISSING : PATH_UNREADABLE;
    if (S_ISREG(st.st_mode))
        return PATH_FILE;
    return S_ISDIR(st.st_mode) ? PATH_DIRECTORY : PATH_OTHER;
}

bool file_read(Arena *arena, const char *path, size_t limit, char **out, Error *err)
{
    // Non-blocking only so that a FIFO in the file's place cannot hold the opening.
    AUTO(fd_release) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (!says_missing(errno))
            return failed(err, "open", path);
        *out = NULL;
        return true;
    }
    // The size is not asked for beforehand: files in /proc and /sys claim to be empty.
    Text content = text_new(arena);
    char chunk[8192];
    for (;;) {
        const ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(err, "read", path);
        if (got == 0)
            break;
        if ((size_t)got > limit - content.length)
            return error_set(err, ERR_INVALID, "read %s: longer than the limit of %zu bytes", path,
                             limit);
        text_add_bytes(&content, chunk, (size_t)got);
    }
    *out = content.data;
    return true;
}

static bool write_all(int fd, const char *content, const char *path, Error *err)
{
    size_t left = strlen(content);
    while (left > 0) {
        const ssize_t written = write(fd, content, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return failed(err, "write", path);
        content += written;
        left -= (size_t)written;
    }
    return true;
}

static bool sync_directory(const char *path, Error *err)
{
    AUTO(fd_release) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(err, "open", path);
    // EINVAL: a file system that has no such thing.
    if (fsync(fd) != 0 && errno != EINVAL)
        return failed(err, "fsync", path);
    return true;
}

static bool write_new(const char *path, const char *content, mode_t mode, Error *err)
{
    AUTO(fd_release) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return failed(err, "create", path);
    if (fchmod(fd, mode) != 0) // whatever the umask is
        return failed(err, "chmod", path);
    if (!write_all(fd, content, path, err))
        return false;
    if (fsync(fd) != 0)
        return failed(err, "fsync", path);
    if (close(take_fd(&fd)) != 0) // NFS reports a full disk here
        return failed(err, "close", path);
    return true;
}

bool file_write(const char *path, const char *content, mode_t mode, Error *err)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    // One fixed name: what a crash leaves behind is replaced by the next write, never piled up.
    const char *temporary = arena_printf(arena, "%s.howdah-tmp", path);
    if (!file_remove(temporary, err))
        return false;
    if (!write_new(temporary, content, mode, err)) {
        (void)unlink(temporary); // the error that counts is the one we have
        return false;
    }
    if (rename(temporary, path) != 0) {
        failed(err, "rename to", path);
        (void)unlink(temporary);
        return false;
    }
    if (!sync_directory(path_parent(arena, path), err)) {
        err->kind = ERR_UNCERTAIN; // there now, perhaps not after a power failure
        return false;
    }
    return true;
}

bool file_remove(const char *path, Error *err)
{
    if (unlink(path) != 0 && !says_missing(errno))
        return failed(err, "remove", path);
    return true;
}

static bool make_one(const char *path, mode_t mode, Error *err)
{
    if (mkdir(path, mode) == 0)
        return true;
    if (errno != EEXIST)
        return failed(err, "create directory", path);
    if (path_kind(path) != PATH_DIRECTORY)
        return error_set(err, ERR_INVALID, "create directory %s: exists and is not a directory",
                         path);
    return true;
}

bool directory_make(const char *path, mode_t mode, Error *err)
{
    if (path_kind(path) == PATH_DIRECTORY)
        return true;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    char *part = arena_strdup(arena, path);
    for (char *slash = strchr(part, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        if (slash == part)
            continue;
        *slash = '\0';
        if (!make_one(part, mode, err))
            return false;
        *slash = '/';
    }
    return make_one(path, mode, err);
}

static bool is_dots(const char *name)
{
    return str_eq(name, ".") || str_eq(name, "..");
}

// The next entry; NULL at the end and on failure, which *out_failed tells apart.
static const struct dirent *next_entry(DIR *dir, bool *out_failed)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(dir);
    } while (entry != NULL && is_dots(entry->d_name));
    *out_failed = entry == NULL && errno != 0;
    return entry;
}

bool directory_is_empty(const char *path, bool *out, Error *err)
{
    AUTO(dir_release) DIR *dir = opendir(path);
    if (dir == NULL)
        return failed(err, "open directory", path);

    bool broken;
    const struct dirent *entry;
    while ((entry = next_entry(dir, &broken)) != NULL) {
        if (entry->d_name[0] == '.' || str_eq(entry->d_name, "lost+found"))
            continue;
        *out = false;
        return true;
    }
    if (broken)
        return failed(err, "read directory", path);
    *out = true;
    return true;
}

static bool clear_below(int parent, const char *name, bool top, Error *err);

static bool remove_entry(int dir, const char *name, Error *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return says_missing(errno) || failed(err, "stat", name);
    const bool is_directory = S_ISDIR(st.st_mode);
    if (is_directory && !clear_below(dir, name, false, err))
        return error_wrap(err, "in %s", name);
    if (unlinkat(dir, name, is_directory ? AT_REMOVEDIR : 0) != 0 && !says_missing(errno))
        return failed(err, "remove", name);
    return true;
}

// One pass over a directory. *out_removed counts, so that the caller knows when nothing was left.
static bool clear_pass(DIR *dir, const char *name, bool top, size_t *out_removed, Error *err)
{
    bool broken;
    const struct dirent *entry;
    *out_removed = 0;
    rewinddir(dir);
    while ((entry = next_entry(dir, &broken)) != NULL) {
        // Belongs to the file system, and to root.
        if (top && str_eq(entry->d_name, "lost+found"))
            continue;
        if (!remove_entry(dirfd(dir), entry->d_name, err))
            return false;
        ++*out_removed;
    }
    return !broken || failed(err, "read directory", name);
}

// Works on descriptors, so that a directory swapped for a symbolic link meanwhile is not followed.
// Only the top may be one: data directories often are.
static bool clear_below(int parent, const char *name, bool top, Error *err)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (top ? 0 : O_NOFOLLOW);
    AUTO(fd_release) int fd = openat(parent, name, flags);
    if (fd < 0)
        return failed(err, "open directory", name);
    AUTO(dir_release) DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return failed(err, "open directory", name);
    (void)take_fd(&fd); // dir owns it now

    // Some file systems skip entries while others are removed: until a pass finds none.
    size_t removed;
    do {
        if (!clear_pass(dir, name, top, &removed, err))
            return false;
    } while (removed > 0);
    return true;
}

bool directory_clear(const char *path, Error *err)
{
    if (!clear_below(AT_FDCWD, path, true, err))
        return error_wrap(err, "clear %s", path);
    return true;
}

const char *path_join(Arena *arena, const char *directory, const char *name)
{
    if (name[0] == '/' || str_empty(directory))
        return arena_strdup(arena, name);
    return arena_printf(arena, "%s%s%s", directory, str_ends(directory, "/") ? "" : "/", name);
}

const char *path_parent(Arena *arena, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    if (length == 0)
        return ".";
    while (length > 1 && path[length - 1] == '/')
        length--;
    return arena_strndup(arena, path, length);
}

const char *path_base(const char *path)
{
    const char *base = path;
    for (const char *s = path; *s != '\0'; s++)
        if (*s == '/' && s[1] != '/' && s[1] != '\0')
            base = s + 1;
    return base;
}
