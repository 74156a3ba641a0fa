// What the data volume shows. A process that waits for a dead disk cannot be ended, so a child
// looks, and we wait for it only so long.
#include "ctl/doctor.h"

#include "common/os/files.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    const char *data_dir, *parent, *state_dir, *pgpass, *version_file;
} Paths;

static PathFact look_at(const char *path)
{
    struct stat st;
    if (path == NULL)
        return (PathFact){.error = ENOENT};
    if (stat(path, &st) != 0)
        return (PathFact){.error = errno};
    return (PathFact){.mode = st.st_mode, .uid = st.st_uid, .gid = st.st_gid};
}

// In the child: other threads may hold any lock, so system calls alone.
static void look(const Paths *paths, int fd)
{
    VolumeFacts facts = {.answered = true};
    struct statvfs fs;
    facts.parent = look_at(paths->parent);
    facts.data_dir = look_at(paths->data_dir);
    facts.state_dir = look_at(paths->state_dir);
    facts.pgpass = look_at(paths->pgpass);
    facts.version_file = look_at(paths->version_file);
    if (statvfs(facts.data_dir.error == 0 ? paths->data_dir : paths->parent, &fs) == 0) {
        facts.has_space = true;
        facts.bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        facts.bytes_free = (uint64_t)fs.f_bavail * fs.f_frsize;
        facts.inodes = fs.f_files;
        facts.inodes_free = fs.f_favail;
    }
    const ssize_t written = write(fd, &facts, sizeof facts); // less than PIPE_BUF: whole or not
    _exit(written == (ssize_t)sizeof facts ? 0 : 1);
}

bool doctor_wait(int fd, short events, Clock *clock, Deadline deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int ready;
    do
        ready = poll(&poll_fd, 1, (int)deadline_left_ms(deadline, clock_now(clock)));
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

void gather_volume(const Settings *settings, Clock *clock, Arena *arena, Deadline deadline,
                   VolumeFacts *out)
{
    const PostgresSettings *pg = &settings->postgresql;
    const Paths paths = {.data_dir = pg->data_dir,
                         .parent = path_parent(arena, pg->data_dir),
                         .state_dir = settings->howdah.state_dir,
                         .pgpass = pg->pgpass,
                         .version_file = path_join(arena, pg->data_dir, "PG_VERSION")};
    int ends[2];
    *out = (VolumeFacts){0};
    if (pipe(ends) != 0)
        return;
    AUTO(fd_release) int from = ends[0];
    const pid_t child = fork();
    if (child == 0)
        look(&paths, ends[1]);
    (void)close(ends[1]);
    if (child < 0)
        return;
    if (!doctor_wait(from, POLLIN, clock, deadline) ||
        read(from, out, sizeof *out) != (ssize_t)sizeof *out) {
        *out = (VolumeFacts){0};
        (void)kill(child, SIGKILL); // it goes when the disk lets it
        return;
    }
    (void)waitpid(child, NULL, 0);
}
