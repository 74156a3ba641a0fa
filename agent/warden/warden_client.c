#include "agent/warden/warden_client.h"

#include "agent/warden/warden_link.h"
#include "common/base/text.h"
#include "common/os/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SMALL_FRAME 1024 // everything but SPAWN

_Static_assert(FENCE_NOTE_SIZE == WARDEN_NOTE_SIZE, "one limit");
_Static_assert(CHILD_ID_SIZE == WARDEN_ID_SIZE, "one limit");
_Static_assert(COUNT_OF(((WardenView *)0)->children) == WARDEN_CHILDREN, "one limit");

static Link *link_of(Processes *processes)
{
    return (Link *)processes; // base is the first member
}

// ---- sending and waiting

// The frame, without the mutex. False: errno; `*sent` bytes have left.
static bool send_frame(const Link *link, int fd, const WireWriter *frame, Deadline deadline,
                       size_t *sent)
{
    *sent = 0;
    while (*sent < frame->used) {
        const ssize_t got =
            send(fd, frame->data + *sent, frame->used - *sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (got > 0) {
            *sent += (size_t)got;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return false;
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        const int64_t left = deadline_left_ms(deadline, clock_now(link->clock));
        if (left == 0 || poll(&room, 1, left > INT32_MAX ? INT32_MAX : (int)left) == 0) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    return true;
}

// With the mutex held, which is let go while sending. A frame that did not leave whole was not
// heard; after a part of one, nothing that follows could be, so the connection ends.
static bool link_send(Link *link, const WireWriter *frame, Deadline deadline, Error *err)
{
    size_t sent = 0;
    const int fd = link->fd;
    while (link->sending) {
        if (!link_wait(link, deadline))
            return error_set(err, ERR_UNAVAILABLE, "others are still sending to the warden");
    }
    if (link->fd < 0 || link->fd != fd)
        return error_set(err, ERR_UNAVAILABLE, "the warden is gone");
    link->sending = true;
    (void)pthread_mutex_unlock(&link->mutex);
    const bool whole = send_frame(link, fd, frame, deadline, &sent);
    const int error = errno;
    (void)pthread_mutex_lock(&link->mutex);
    link->sending = false;
    if (!whole && sent > 0)
        (void)shutdown(fd, SHUT_RDWR); // the reader sees the end, and closes it
    (void)pthread_cond_broadcast(&link->changed);
    return whole || error_set(err, ERR_UNAVAILABLE, "send to the warden: %s", strerror(error));
}

static void link_forget(Link *link, const LinkCall *call)
{
    for (LinkCall **at = &link->calls; *at; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            return;
        }
    }
}

// With the mutex held: sends the frame and waits for its answer.
static bool link_call(Link *link, WireWriter *frame, Deadline deadline, Error *err)
{
    LinkCall call = {.next = link->calls};
    if (!wire_finish(frame, 0))
        return error_set(err, ERR_INVALID, "the message is longer than 64 KiB");
    if (++link->last_tag == 0) // 0 is what is told unasked
        link->last_tag = 1;
    call.tag = link->last_tag;
    WireWriter tag = {frame->data + 4, 4, 0, false};
    wire_put_u32(&tag, call.tag);

    link->calls = &call;
    const bool sent = link_send(link, frame, deadline, err);
    while (sent && !call.answered && !call.lost && link_wait(link, deadline))
        continue;
    link_forget(link, &call);
    if (!sent)
        return false;
    if (!call.answered)
        return error_set(err, ERR_UNCERTAIN,
                         call.lost ? "the warden went away before its answer"
                                   : "no answer from the warden");
    if (call.error.kind != ERR_NONE)
        *err = call.error;
    return call.error.kind == ERR_NONE;
}

static bool link_request(Link *link, WireWriter *frame, Deadline deadline, Error *err)
{
    (void)pthread_mutex_lock(&link->mutex);
    const bool done = link->view.connected
                          ? link_call(link, frame, deadline, err)
                          : error_set(err, ERR_UNAVAILABLE,
                                      link->view.replaced ? "a newer agent has taken our place"
                                                          : "no warden is attached");
    (void)pthread_mutex_unlock(&link->mutex);
    return done;
}

// ---- the Processes table

static void client_view(Processes *processes, WardenView *out)
{
    Link *link = link_of(processes);
    (void)pthread_mutex_lock(&link->mutex);
    *out = link->view;
    (void)pthread_mutex_unlock(&link->mutex);
}

static void put_strings(WireWriter *frame, const char *const *strings)
{
    unsigned count = 0;
    while (strings && strings[count])
        count++;
    if (count > WARDEN_ARGS_MAX)
        frame->overflow = true;
    wire_put_u16(frame, count);
    for (unsigned i = 0; i < count; i++)
        wire_put_text(frame, strings[i]);
}

static bool client_spawn(Processes *processes, const SpawnRequest *request, Deadline deadline,
                         Error *err)
{
    uint8_t *buffer = malloc(WIRE_FRAME_MAX);
    ASSERT(buffer);
    WireWriter frame = {buffer, WIRE_FRAME_MAX, 0, false};
    wire_put_head(&frame, WIRE_SPAWN, 0);
    wire_put_u16(&frame, (request->postmaster ? SPAWN_POSTMASTER : 0U) |
                             (request->stdin_text ? SPAWN_STDIN : 0U));
    wire_put_text(&frame, request->id);
    wire_put_text(&frame, str_or(request->cwd, ""));
    wire_put_text(&frame, str_or(request->stdin_text, ""));
    put_strings(&frame, request->argv);
    put_strings(&frame, request->env);
    const bool done = link_request(link_of(processes), &frame, deadline, err);
    explicit_bzero(buffer, WIRE_FRAME_MAX); // environment and input hold passwords
    free(buffer);
    return done;
}

static bool client_signal(Processes *processes, const char *id, int signal, Deadline deadline,
                          Error *err)
{
    uint8_t buffer[SMALL_FRAME];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    wire_put_head(&frame, WIRE_SIGNAL, 0);
    wire_put_text(&frame, id);
    wire_put_i32(&frame, signal);
    return link_request(link_of(processes), &frame, deadline, err);
}

static bool client_adopt(Processes *processes, int32_t pid, uint64_t start_time, Deadline deadline,
                         Error *err)
{
    uint8_t buffer[SMALL_FRAME];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    wire_put_head(&frame, WIRE_ADOPT, 0);
    wire_put_text(&frame, CHILD_POSTGRES);
    wire_put_i32(&frame, pid);
    wire_put_u64(&frame, start_time);
    return link_request(link_of(processes), &frame, deadline, err);
}

static bool note_fits(const char *note, Error *err)
{
    return strlen(note) < WARDEN_NOTE_SIZE ||
           error_set(err, ERR_INVALID, "the note is longer than %d bytes", WARDEN_NOTE_SIZE - 1);
}

static bool client_fence(Processes *processes, Instant quit_at, Instant kill_at, const char *note,
                         Deadline deadline, Error *err)
{
    Link *link = link_of(processes);
    uint8_t buffer[SMALL_FRAME];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    if (!note_fits(str_or(note, ""), err))
        return false;
    (void)pthread_mutex_lock(&link->mutex);
    const int64_t ttl_ms = link->ttl_ms;
    (void)pthread_mutex_unlock(&link->mutex);
    if (ttl_ms <= 0)
        return error_set(err, ERR_INVALID, "fence: call warden_client_set_ttl first");
    wire_put_head(&frame, WIRE_FENCE, 0);
    wire_put_i64(&frame, quit_at.ns);
    wire_put_i64(&frame, kill_at.ns);
    wire_put_i64(&frame, ttl_ms);
    wire_put_text(&frame, str_or(note, ""));
    return link_request(link, &frame, deadline, err);
}

static bool client_unfence(Processes *processes, const char *note, bool sure, Deadline deadline,
                           Error *err)
{
    uint8_t buffer[SMALL_FRAME];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    if (!note_fits(str_or(note, ""), err))
        return false;
    wire_put_head(&frame, WIRE_UNFENCE, 0);
    wire_put_u16(&frame, sure ? UNFENCE_SURE : 0);
    wire_put_text(&frame, str_or(note, ""));
    return link_request(link_of(processes), &frame, deadline, err);
}

static const ChildView *find_child(const Link *link, const char *id)
{
    for (size_t i = 0; i < link->view.child_count; i++) {
        if (str_eq(link->view.children[i].id, id))
            return &link->view.children[i];
    }
    return NULL;
}

static const char *copy_output(Link *link, Arena *arena, const char *id)
{
    const LinkOutput *output = link_output(link, id);
    const size_t length = output ? output->length : 0;
    char *copy = arena_alloc(arena, length + 1);
    for (size_t i = 0; i < length; i++)
        copy[i] = output->ring[(output->start + i) % output->size];
    return copy;
}

// With the mutex held.
static bool link_wait_child(Link *link, Arena *arena, const char *id, Deadline deadline,
                            ChildExit *out, Error *err)
{
    for (;;) {
        const ChildView *child = find_child(link, id);
        if (!link->view.connected)
            return error_set(err, ERR_UNAVAILABLE, "wait for '%s': no warden is attached", id);
        if (!child)
            return error_set(err, ERR_INVALID, "wait: the warden knows no child '%s'", id);
        if (!child->running) {
            *out = (ChildExit){.status = child->status, .output = copy_output(link, arena, id)};
            return true;
        }
        if (!link_wait(link, deadline))
            return error_set(err, ERR_UNAVAILABLE, "wait: '%s' still runs", id);
    }
}

static bool client_wait(Processes *processes, Arena *arena, const char *id, Deadline deadline,
                        ChildExit *out, Error *err)
{
    Link *link = link_of(processes);
    (void)pthread_mutex_lock(&link->mutex);
    const bool ended = link_wait_child(link, arena, id, deadline, out, err);
    (void)pthread_mutex_unlock(&link->mutex);
    return ended;
}

// ---- attaching

static bool peer_is_us(int fd, Error *err)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return error_set(err, ERR_UNAVAILABLE, "SO_PEERCRED: %s", strerror(errno));
    return peer.uid == geteuid() ||
           error_set(err, ERR_INVALID, "the socket is served by uid %d, and we are %d",
                     (int)peer.uid, (int)geteuid());
}

static bool open_socket(const char *path, int *out, Error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "socket: %s", strerror(errno));
    if (!copy_text(address.sun_path, sizeof address.sun_path, path))
        (void)error_set(err, ERR_INVALID, "the socket path is longer than 107 bytes");
    else if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        (void)error_set(err, ERR_UNAVAILABLE, "%s", strerror(errno));
    else if (peer_is_us(fd, err)) {
        *out = fd;
        return true;
    }
    (void)close(fd);
    return false;
}

// With the mutex held.
static bool link_attach(Link *link, Deadline deadline, Error *err)
{
    uint8_t buffer[SMALL_FRAME];
    WireWriter hello = {buffer, sizeof buffer, 0, false};
    const uint64_t wake = 1;
    // The reader may still be about to close what broke; or another thread is attaching.
    while (link->fd >= 0 && !link->view.connected && !link->view.replaced) {
        if (!link_wait(link, deadline))
            return error_set(err, ERR_UNAVAILABLE, "the last connection is not closed yet");
    }
    if (link->view.replaced)
        return error_set(err, ERR_CONFLICT, "a newer agent has taken our place");
    if (link->view.connected)
        return true;
    if (!open_socket(link->path, &link->fd, err))
        return false;
    link->fresh = true;
    (void)!write(link->wake_fd, &wake, sizeof wake); // the reader takes it on

    wire_put_head(&hello, WIRE_HELLO, 0);
    wire_put_u16(&hello, WARDEN_PROTOCOL);
    wire_put_i64(&hello, link->warden);
    wire_put_u64(&hello, link->view.epoch);
    if (link_call(link, &hello, deadline, err))
        return true;
    if (link->fd >= 0)
        (void)shutdown(link->fd, SHUT_RDWR);
    // A hello that may have arrived has done nothing that a second one would not do again.
    err->kind = link->view.replaced ? ERR_CONFLICT : ERR_UNAVAILABLE;
    return false;
}

bool warden_client_connect(Processes *processes, Deadline deadline, Error *err)
{
    Link *link = link_of(processes);
    (void)pthread_mutex_lock(&link->mutex);
    const bool attached = link_attach(link, deadline, err);
    (void)pthread_mutex_unlock(&link->mutex);
    return attached || error_wrap(err, "attach to the warden at %s", link->path);
}

void warden_client_set_ttl(Processes *processes, int64_t ttl_ms)
{
    Link *link = link_of(processes);
    (void)pthread_mutex_lock(&link->mutex);
    link->ttl_ms = ttl_ms;
    (void)pthread_mutex_unlock(&link->mutex);
}

int warden_client_event_fd(const Processes *processes)
{
    return ((const Link *)processes)->event_fd;
}

// ---- life

Processes *warden_client_new(const char *socket_path, Clock *clock)
{
    static const ProcessesOps ops = {
        .view = client_view,
        .spawn = client_spawn,
        .signal = client_signal,
        .adopt = client_adopt,
        .fence = client_fence,
        .unfence = client_unfence,
        .wait = client_wait,
    };
    Link *link = calloc(1, sizeof *link);
    ASSERT(link);
    link->base.ops = &ops;
    link->clock = clock;
    link->fd = -1;
    (void)copy_text(link->path, sizeof link->path, socket_path); // cut, it is still too long
    link->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    link->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    (void)pthread_mutex_init(&link->mutex, NULL);
    cond_init(&link->changed);
    const int failed = thread_start(&link->reader, 0, link_reader, link);
    ASSERT(link->event_fd >= 0 && link->wake_fd >= 0 && failed == 0); // as out of memory
    return &link->base;
}

void warden_client_free(Processes *processes)
{
    const uint64_t wake = 1;
    if (!processes)
        return;
    Link *link = link_of(processes);
    (void)pthread_mutex_lock(&link->mutex);
    link->stopping = true;
    (void)pthread_mutex_unlock(&link->mutex);
    (void)!write(link->wake_fd, &wake, sizeof wake);
    (void)pthread_join(link->reader, NULL);
    (void)close(link->event_fd);
    (void)close(link->wake_fd);
    (void)pthread_cond_destroy(&link->changed);
    (void)pthread_mutex_destroy(&link->mutex);
    free(link->in);
    free(link);
}

void warden_client_release(Processes **processes)
{
    warden_client_free(*processes);
    *processes = NULL;
}
