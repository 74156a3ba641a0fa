// File operations of the disk thread, each between disk_enter and disk_leave, so that the turn can
// see how long the one under way has been out. A whole tree is many operations, not one: a wipe of
// a large directory is long, and no sign of a hung disk.
//
// The functions are those of common/os/files.h, marked. Only the disk thread calls them.
#pragma once
#include "common/os/clock.h"
#include "common/os/files.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    Clock *clock;
    _Atomic int64_t since_ns; // 0: no operation is under way
} Disk;

void disk_enter(Disk *disk);
void disk_leave(Disk *disk);
int64_t disk_busy_ms(Disk *disk); // any thread

PathKind disk_kind(Disk *disk, const char *path);
bool disk_read(Disk *disk, Arena *arena, const char *path, size_t limit, char **out, Error *err)
    MUST_CHECK;
bool disk_write(Disk *disk, const char *path, const char *content, mode_t mode, Error *err)
    MUST_CHECK;
// As disk_write, but leaves a file alone that has this content and mode. *changed may be NULL.
bool disk_write_changed(Disk *disk, Arena *arena, const char *path, const char *content,
                        mode_t mode, bool *changed, Error *err) MUST_CHECK;
bool disk_remove(Disk *disk, const char *path, Error *err) MUST_CHECK;
bool disk_rename(Disk *disk, const char *from, const char *to, Error *err) MUST_CHECK;
bool disk_make(Disk *disk, const char *path, mode_t mode, Error *err) MUST_CHECK;
bool disk_is_empty(Disk *disk, const char *path, bool *out, Error *err) MUST_CHECK;
bool disk_sync_directory(Disk *disk, const char *path, Error *err) MUST_CHECK;

typedef struct {
    const char *name;
    PathKind kind; // symbolic links are PATH_OTHER
    uint64_t bytes;
} DiskEntry;

typedef struct {
    const DiskEntry *entries; // sorted by name, dots left out
    size_t count;
} DiskListing;

// A missing directory is empty.
bool disk_list(Disk *disk, Arena *arena, const char *path, DiskListing *out, Error *err) MUST_CHECK;
// Empties the directory, entry by entry; interrupted when *stop becomes true (NULL: never).
bool disk_clear(Disk *disk, const char *path, const atomic_bool *stop, Error *err) MUST_CHECK;
// A durable copy with the source's mode; shares blocks where the file system can.
bool disk_copy(Disk *disk, const char *from, const char *to, Error *err) MUST_CHECK;
bool disk_free_bytes(Disk *disk, const char *path, uint64_t *out, Error *err) MUST_CHECK;
mode_t disk_mode(Disk *disk, const char *path); // permission bits, 0: not known
