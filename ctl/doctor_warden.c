// The warden's socket, and who is behind it. Not greeted by hello, which would make us its agent
// and part it from the one it has: any other first message is answered with an error, and nothing
// else happens (docs/architecture.md, "The warden").
#include "ctl/doctor.h"

#include "agent/warden/protocol.h"
#include "common/os/files.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILE_MAX = 64 * 1024 };

// --- where it is

static bool is_socket(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

// As the agent chooses it (docs/operating.md, "Places"). Its run directory depends on whether the
// agent's user may write there, so the socket itself is looked for.
static const char *find_socket(const Settings *s, Arena *arena)
{
    const HowdahSettings *h = &s->howdah;
    if (h->socket[0] == '/')
        return h->socket;
    const char *name = path_base(h->socket);
    if (h->run_dir != NULL)
        return path_join(arena, h->run_dir, name);
    const char *in_run = path_join(arena, "/run/howdah", name);
    return is_socket(in_run) ? in_run : path_join(arena, h->state_dir, name);
}

// --- asking

static int connect_to(const char *path, int *out_error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!copy_text(address.sun_path, sizeof address.sun_path, path)) {
        *out_error = ENAMETOOLONG;
        return -1;
    }
    AUTO(fd_release) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        *out_error = errno;
        return -1;
    }
    const int connected = fd;
    fd = -1;
    return connected;
}

// A first message that is no hello. "say hello first" is what a warden says to it.
static WardenAnswer ask(int fd, Clock *clock, Deadline deadline, int *out_error)
{
    uint8_t buffer[256];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    wire_put_head(&frame, WIRE_STATE, 1);
    if (!wire_finish(&frame, 0) ||
        send(fd, buffer, frame.used, MSG_NOSIGNAL) != (ssize_t)frame.used) {
        *out_error = errno;
        return WARDEN_REFUSES;
    }
    if (!doctor_wait(fd, POLLIN, clock, deadline))
        return WARDEN_SILENT;
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        *out_error = got < 0 ? errno : ECONNRESET;
        return WARDEN_REFUSES;
    }
    WireReader in = {buffer, (size_t)got, 0, false};
    const unsigned magic = wire_get_u16(&in), type = wire_get_u16(&in);
    return magic == WIRE_MAGIC && type == WIRE_ERROR ? WARDEN_ANSWERS : WARDEN_REFUSES;
}

// --- what the system says of it

// "VmLck:	     276 kB"; -1: no such line.
static int64_t number_after(const char *text, const char *name)
{
    const char *at = text == NULL ? NULL : strstr(text, name);
    if (at == NULL)
        return -1;
    at += strlen(name);
    at += strspn(at, " \t");
    return *at >= '0' && *at <= '9' ? (int64_t)strtoll(at, NULL, 10) : -1;
}

static const char *read_proc(Arena *arena, int pid, const char *name)
{
    char *text = NULL;
    Error ignored = {0};
    const char *path = arena_printf(arena, "/proc/%d/%s", pid, name);
    return file_read(arena, path, FILE_MAX, &text, &ignored) ? text : NULL;
}

static bool machine_swaps(Arena *arena)
{
    char *text = NULL;
    Error ignored = {0};
    if (!file_read(arena, "/proc/swaps", FILE_MAX, &text, &ignored) || text == NULL)
        return false;
    const char *line = strchr(text, '\n'); // the first one is the heading
    return line != NULL && line[1] != '\0';
}

static void look_at_memory(Arena *arena, WardenFacts *out)
{
    struct rlimit limit;
    out->swaps = machine_swaps(arena);
    out->locked_kb = -1;
    out->memlock_limit = -1;
    if (out->pid > 0) {
        const char *limits = read_proc(arena, out->pid, "limits");
        out->locked_kb = number_after(read_proc(arena, out->pid, "status"), "VmLck:");
        out->memlock_limit = number_after(limits, "Max locked memory");
        out->limit_is_wardens = limits != NULL;
    }
    if (!out->limit_is_wardens && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY)
        out->memlock_limit = (int64_t)limit.rlim_cur;
}

void gather_warden(const Settings *settings, Clock *clock, Arena *arena, Deadline deadline,
                   WardenFacts *out)
{
    struct stat st;
    *out = (WardenFacts){.socket = find_socket(settings, arena), .answer = WARDEN_NO_SOCKET};
    if (stat(out->socket, &st) != 0) {
        out->error = errno;
    } else if (!S_ISSOCK(st.st_mode)) {
        out->error = ENOTSOCK;
    } else {
        out->owner = st.st_uid;
        AUTO(fd_release) int fd = -1;
        if (st.st_uid != geteuid()) {
            out->answer = WARDEN_NOT_ASKED;
        } else if ((fd = connect_to(out->socket, &out->error)) < 0) {
            out->answer = WARDEN_REFUSES;
        } else {
            struct ucred peer = {0};
            socklen_t size = sizeof peer;
            if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
                out->pid = (int)peer.pid; // 0: of another pid namespace
            out->answer = ask(fd, clock, deadline, &out->error);
        }
    }
    look_at_memory(arena, out);
}
