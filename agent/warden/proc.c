// /proc is the only list of a server's processes there is: every backend is the leader of a session
// of its own, so no process group holds them together.
//
// Read here: stat, and the links exe and cwd. None of these takes a lock that a process stuck in a
// page fault or on a dead disk could hold (cmdline, environ and maps do).
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ANCESTORS_MAX 64

// <linux/stat.h>, <linux/fcntl.h> and getdents64(2), which musl's headers do not bring along.
typedef struct {
    uint32_t mask, block_size;
    uint64_t attributes;
    uint32_t links, uid, gid;
    uint16_t mode, spare;
    uint64_t inode, size, blocks, attributes_mask;
    uint64_t times[8];
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t more[14];
} KernelStatx;
#define KERNEL_STATX_INO       0x100U
#define KERNEL_STATX_DONT_SYNC 0x4000

typedef struct {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
} KernelDirent;

bool proc_open(Warden *w)
{
    char self[16] = "";
    w->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->proc < 0 || readlinkat(w->proc, "self", self, sizeof self - 1) < 0 ||
        atoi(self) != (int)w->self) {
        report("cannot see its own process in /proc: mount the proc of this pid namespace there");
        return false;
    }
    return true;
}

bool proc_stat(const Warden *w, pid_t pid, ProcStat *out)
{
    char path[32], text[1024];
    (void)snprintf(path, sizeof path, "%d/stat", (int)pid);
    const int fd = openat(w->proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd); // read-only: nothing to lose
    if (got <= 0)
        return false;
    text[got] = 0;
    return proc_parse_stat(text, out);
}

static ssize_t proc_link(const Warden *w, pid_t pid, const char *what, char *out, size_t size)
{
    char path[32];
    (void)snprintf(path, sizeof path, "%d/%s", (int)pid, what);
    const ssize_t got = readlinkat(w->proc, path, out, size - 1);
    out[got > 0 ? got : 0] = 0;
    return got;
}

bool proc_is_postgres(const Warden *w, pid_t pid)
{
    char exe[1024];
    if (proc_link(w, pid, "exe", exe, sizeof exe) <= 0)
        return false;
    const char *name = strrchr(exe, '/');
    name = name ? name + 1 : exe;
    // The second is how the link reads once a package upgrade has replaced the file.
    return strcmp(name, "postgres") == 0 || strcmp(name, "postgres (deleted)") == 0;
}

bool proc_cwd_is_named(const Warden *w, pid_t pid, const char *path)
{
    char cwd[DATA_DIR_SIZE];
    return proc_link(w, pid, "cwd", cwd, sizeof cwd) > 0 && strcmp(cwd, path) == 0;
}

DirId dir_id(int at, const char *path)
{
    KernelStatx seen;
    memset(&seen, 0, sizeof seen);
    if (syscall(SYS_statx, at, path, KERNEL_STATX_DONT_SYNC, KERNEL_STATX_INO, &seen) != 0)
        return (DirId){0};
    return (DirId){.known = true,
                   .device = (uint64_t)seen.dev_major << 32 | seen.dev_minor,
                   .inode = seen.inode};
}

bool proc_cwd(const Warden *w, pid_t pid, DirId *out)
{
    char path[32];
    (void)snprintf(path, sizeof path, "%d/cwd", (int)pid);
    *out = dir_id(w->proc, path); // jumps to the inode in memory: no walk over a disk
    return out->known;
}

static bool proc_descends(const Warden *w, pid_t parent, pid_t ancestor)
{
    ProcStat stat;
    for (int i = 0; i < ANCESTORS_MAX && parent > 1 && parent != w->self; i++) {
        if (parent == ancestor)
            return true;
        if (!proc_stat(w, parent, &stat))
            return false;
        parent = stat.parent;
    }
    return false;
}

// The postmaster itself is the caller's.
static bool proc_belongs(const Warden *w, pid_t pid, pid_t parent, pid_t postmaster)
{
    DirId cwd;
    if (postmaster > 0 && proc_descends(w, parent, postmaster))
        return true;
    // What a dead postmaster leaves comes to us; an archive command of its is no postgres.
    const bool orphan = parent == w->self && !child_is_known(w, pid);
    if (!w->dir.known || (!orphan && !proc_is_postgres(w, pid)))
        return false;
    return proc_cwd(w, pid, &cwd) && cwd.device == w->dir.device && cwd.inode == w->dir.inode;
}

static void send_signal(const Warden *w, pid_t pid, const ProcStat *seen, int signal)
{
    ProcStat stat;
    const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 && errno == ESRCH)
        return;
    // With the descriptor held, the number cannot come to mean another process any more.
    if (proc_stat(w, pid, &stat) && stat.start_time == seen->start_time) {
        // SIGQUIT reaches a stopped process only once it continues.
        const int signals[] = {signal, signal == SIGKILL ? 0 : SIGCONT};
        for (size_t i = 0; i < 2 && signals[i] != 0; i++) {
            if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, signals[i], NULL, 0) != 0)
                (void)kill(pid, signals[i]); // gone is as good; refused shows in the next pass
        }
    }
    if (fd >= 0)
        (void)close(fd);
}

// Told to quit, and not come to it: stopped, or not to be woken. Field 31 of stat lacks what was
// sent to the process as a whole.
static bool proc_quit_pending(const Warden *w, pid_t pid)
{
    static const char *const names[] = {"\nSigPnd:", "\nShdPnd:"};
    char path[32], text[4096];
    (void)snprintf(path, sizeof path, "%d/status", (int)pid);
    const int fd = openat(w->proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd); // read-only: nothing to lose
    text[got > 0 ? got : 0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *at = strstr(text, names[i]);
        if (at && strtoull(at + strlen(names[i]), NULL, 16) >> (SIGQUIT - 1) & 1)
            return true;
    }
    return false;
}

#define ONLY_DOOMED (-1) // for `signal`

// One entry of /proc: signal it if it is one of ours, and say so.
static bool sweep_entry(const Warden *w, const char *name, pid_t postmaster, int signal)
{
    ProcStat stat;
    char *end = NULL;
    const long number = strtol(name, &end, 10);
    if (*end != 0 || number <= 1 || number > INT32_MAX)
        return false;
    const pid_t pid = (pid_t)number;
    if (pid == w->self || pid == postmaster || !proc_stat(w, pid, &stat) || !proc_can_run(&stat) ||
        !proc_belongs(w, pid, stat.parent, postmaster))
        return false;
    if (signal == ONLY_DOOMED)
        return proc_quit_pending(w, pid);
    if (signal != 0)
        send_signal(w, pid, &stat, signal);
    return true;
}

static int sweep_entries(const Warden *w, pid_t postmaster, int signal)
{
    _Alignas(KernelDirent) char buffer[4096];
    int found = 0;
    if (lseek(w->proc, 0, SEEK_SET) != 0)
        return -1;
    for (;;) {
        const long got = syscall(SYS_getdents64, w->proc, buffer, sizeof buffer);
        if (got < 0)
            return -1;
        if (got == 0)
            return found;
        for (long at = 0; at < got;) {
            const KernelDirent *entry = (const KernelDirent *)(const void *)(buffer + at);
            if (sweep_entry(w, entry->name, postmaster, signal))
                found++;
            at += entry->size;
        }
    }
}

int proc_sweep(const Warden *w, int signal)
{
    ProcStat stat;
    int found = 0;
    pid_t postmaster = 0;
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        const Child *child = &w->children[i];
        if (child->state == CHILD_RUNNING && child->postmaster)
            postmaster = child->pid;
    }
    if (postmaster > 0 && proc_stat(w, postmaster, &stat) && proc_can_run(&stat)) {
        found++;
        if (signal != 0)
            send_signal(w, postmaster, &stat, signal);
    }
    const int others = sweep_entries(w, postmaster, signal);
    return others < 0 ? -1 : found + others;
}

int proc_count_doomed(const Warden *w)
{
    return sweep_entries(w, 0, ONLY_DOOMED);
}
