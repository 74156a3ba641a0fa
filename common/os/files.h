// Files: whole-file reads with a limit, atomic durable writes, directories. Blocking; on a data
// volume only ever called from the disk thread.
#pragma once
#include "common/base/arena.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

typedef enum {
    PATH_MISSING,
    PATH_FILE,
    PATH_DIRECTORY,
    PATH_OTHER,
    PATH_UNREADABLE, // there, or not: the system would not say
} PathKind;

PathKind path_kind(const char *path); // follows symbolic links
// ERR_INVALID past limit bytes; ERR_UNAVAILABLE otherwise. Missing: succeeds with *out NULL.
bool file_read(Arena *arena, const char *path, size_t limit, char **out, Error *err) MUST_CHECK;
// Temporary name, fsync, rename, fsync of the directory. ERR_UNCERTAIN: written, but perhaps not
// there after a power failure; ERR_UNAVAILABLE: the old content stands.
bool file_write(const char *path, const char *content, mode_t mode, Error *err) MUST_CHECK;
bool file_remove(const char *path, Error *err) MUST_CHECK; // a missing file is success
bool directory_make(const char *path, mode_t mode, Error *err) MUST_CHECK; // with parents
// Lost+found and dotfiles do not count. PATH_MISSING and unreadable are errors.
bool directory_is_empty(const char *path, bool *out, Error *err) MUST_CHECK;
// Removes what is in it, not itself; symbolic links are removed, not followed. A lost+found stays.
bool directory_clear(const char *path, Error *err) MUST_CHECK;
// An absolute name stays as it is.
const char *path_join(Arena *arena, const char *directory, const char *name);
const char *path_parent(Arena *arena, const char *path);
const char *path_base(const char *path); // into path itself

void fd_release(int *fd); // for AUTO; -1 is nothing
