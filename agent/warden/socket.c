// The agent's end: one listener, a few connections that have not said hello, one client.
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELLO_NS      (5000 * NS_PER_MS) // who says nothing for so long makes room
#define LOCK_TRIES    50
#define LOCK_PAUSE_NS (10 * NS_PER_MS)

static bool socket_lock(Warden *w)
{
    char path[SOCKET_SIZE + 8];
    (void)snprintf(path, sizeof path, "%s.lock", w->socket_path);
    w->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->lock < 0) {
        report("cannot open lock path='%s' error='%s'", path, strerror(errno));
        return false;
    }
    // A dead warden's child may still hold it, for the moment between its fork and its exec.
    for (int tries = 0; flock(w->lock, LOCK_EX | LOCK_NB) != 0; tries++) {
        const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
        if (tries >= LOCK_TRIES || errno != EWOULDBLOCK) {
            report("another warden serves socket='%s' error='%s'", w->socket_path, strerror(errno));
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

bool socket_open(Warden *w)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!socket_lock(w))
        return false;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", w->socket_path);
    (void)unlink(w->socket_path); // a dead warden's: we hold the lock
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const mode_t before = umask(0177);
    const bool bound = w->listener >= 0 &&
                       bind(w->listener, (const struct sockaddr *)&address, sizeof address) == 0;
    (void)umask(before); // the children's
    if (!bound || listen(w->listener, PENDING_MAX) != 0) {
        report("cannot listen socket='%s' error='%s'", w->socket_path, strerror(errno));
        return false;
    }
    return true;
}

void socket_close(Warden *w)
{
    socket_flush(w);
    if (w->listener < 0)
        return;
    (void)unlink(w->socket_path);
    (void)flock(w->lock, LOCK_UN); // also for whoever has inherited it
}

static void pending_close(Pending *pending)
{
    if (pending->fd >= 0)
        (void)close(pending->fd);
    pending->fd = -1;
    pending->used = 0;
}

// The same user, whoever may have been given the directory.
static bool peer_allowed(int fd)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) {
        report("connection refused uid=%d pid=%d", (int)peer.uid, (int)peer.pid);
        return false;
    }
    return true;
}

void socket_accept(Warden *w)
{
    int fd;
    while ((fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Pending *place = &w->pending[0];
        for (size_t i = 0; i < PENDING_MAX && place->fd >= 0; i++) {
            Pending *other = &w->pending[i];
            if (other->fd < 0 || other->order < place->order)
                place = other;
        }
        if (!peer_allowed(fd)) {
            (void)close(fd);
            continue;
        }
        pending_close(place); // the one that has been silent for the longest
        place->fd = fd;
        place->since = w->now;
        place->order = ++w->connections;
    }
}

void client_drop(Warden *w, const char *why)
{
    Client *client = &w->client;
    if (client->fd < 0)
        return;
    (void)close(client->fd);
    client->fd = -1;
    client->in_used = client->out_start = client->out_end = 0;
    w->alone_since = w->now;
    report("agent detached epoch=%llu reason='%s'", (unsigned long long)w->epoch,
           why ? why : "it left");
}

static size_t client_free_space(const Warden *w)
{
    return sizeof w->client.out - (w->client.out_end - w->client.out_start);
}

size_t client_room(const Warden *w)
{
    const size_t space = client_free_space(w);
    // The frame around a piece of output is small; its id is at most 31 bytes.
    return w->client.fd >= 0 && space > OUT_RESERVE ? space - OUT_RESERVE : 0;
}

WireWriter client_begin(Warden *w, WireType type, uint32_t tag)
{
    Client *client = &w->client;
    if (client_free_space(w) < OUT_RESERVE)
        socket_flush(w); // much to say in one round; that alone is not the agent's fault
    if (client->out_start > 0) {
        memmove(client->out, client->out + client->out_start, client->out_end - client->out_start);
        client->out_end -= client->out_start;
        client->out_start = 0;
    }
    WireWriter frame = {client->out + client->out_end, sizeof client->out - client->out_end, 0,
                        client->fd < 0};
    wire_put_head(&frame, (unsigned)type, tag);
    return frame;
}

void client_end(Warden *w, WireWriter *frame)
{
    if (w->client.fd < 0)
        return;
    if (!wire_finish(frame, 0)) {
        client_drop(w, "it does not read");
        return;
    }
    w->client.out_end += frame->used;
}

void socket_flush(Warden *w)
{
    Client *client = &w->client;
    while (client->fd >= 0 && client->out_start < client->out_end) {
        const ssize_t sent = send(client->fd, client->out + client->out_start,
                                  client->out_end - client->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            client_drop(w, NULL);
            return;
        }
        if (sent < 0)
            return;
        client->out_start += (size_t)sent;
    }
}

// Takes over from whoever was attached. What that one has sent and we have not read is dropped.
static void client_attach(Warden *w, Pending *pending, const WireHead *head)
{
    Client *client = &w->client;
    const size_t size = WIRE_HEAD + head->length;
    if (client->fd >= 0) {
        WireWriter frame = client_begin(w, WIRE_REPLACED, 0);
        client_end(w, &frame);
        socket_flush(w);
        client_drop(w, "replaced");
    }
    w->epoch++;
    client->fd = pending->fd;
    client->in_used = pending->used - size;
    memcpy(client->in, pending->in + size, client->in_used);
    pending->fd = -1;
    pending->used = 0;
    w->alone_since = 0;
    report("agent attached epoch=%llu", (unsigned long long)w->epoch);
    leftover_look(w);
    tell_state(w, head->tag);
}

// To somebody who has no buffer: a small frame fits into an empty socket, or is lost.
static void pending_tell(const Pending *pending, WireType type, uint32_t tag, const char *text)
{
    uint8_t buffer[128];
    WireWriter frame = {buffer, sizeof buffer, 0, false};
    wire_put_head(&frame, (unsigned)type, tag);
    if (text) {
        wire_put_u16(&frame, WARDEN_REFUSED);
        wire_put_text(&frame, text);
    }
    if (wire_finish(&frame, 0))
        (void)send(pending->fd, buffer, frame.used, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// The first frame of a connection. True: it stays as it is.
static bool pending_frame(Warden *w, Pending *pending)
{
    WireHead head;
    if (!wire_peek(pending->in, pending->used, &head))
        return true;
    const size_t size = WIRE_HEAD + (size_t)head.length;
    if (!wire_head_ok(&head) || size > sizeof pending->in) {
        report("connection dropped reason='no hello'");
        return false;
    }
    if (pending->used < size)
        return true;
    if (head.type != WIRE_HELLO) {
        pending_tell(pending, WIRE_ERROR, head.tag, "say hello first");
        pending->used -= size;
        memmove(pending->in, pending->in + size, pending->used);
        return pending_frame(w, pending);
    }
    if (request_hello_replaced(w, pending->in + WIRE_HEAD, head.length)) {
        pending_tell(pending, WIRE_REPLACED, head.tag, NULL);
        return false;
    }
    client_attach(w, pending, &head);
    return true;
}

// Handles the whole frames that are there.
static void client_frames(Warden *w)
{
    Client *client = &w->client;
    size_t at = 0;
    WireHead head;
    while (client->fd >= 0 && wire_peek(client->in + at, client->in_used - at, &head)) {
        if (!wire_head_ok(&head)) {
            client_drop(w, "what it sends is no frame");
            return;
        }
        const size_t size = WIRE_HEAD + (size_t)head.length;
        if (client->in_used - at < size)
            break;
        request_handle(w, &head, client->in + at + WIRE_HEAD);
        explicit_bzero(client->in + at, size); // environments hold passwords
        at += size;
    }
    if (client->fd >= 0) {
        client->in_used -= at;
        memmove(client->in, client->in + at, client->in_used);
    }
}

static void pending_step(Warden *w, Pending *pending)
{
    const ssize_t got = recv(pending->fd, pending->in + pending->used,
                             sizeof pending->in - pending->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        pending_close(pending);
        return;
    }
    pending->used += (size_t)got;
    if (!pending_frame(w, pending))
        pending_close(pending);
    client_frames(w); // it may be the client now, and have said more than hello
}

static void client_step(Warden *w, short events)
{
    Client *client = &w->client;
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        const ssize_t got = recv(client->fd, client->in + client->in_used,
                                 sizeof client->in - client->in_used, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            client_drop(w, NULL);
            return;
        }
        if (got > 0)
            client->in_used += (size_t)got;
    }
    client_frames(w);
}

void socket_watch(Warden *w)
{
    Client *client = &w->client;
    const short out = client->out_start < client->out_end ? POLLOUT : 0;
    w->poll_listener = poll_add(w, w->listener, POLLIN);
    client->poll = poll_add(w, client->fd, (short)(POLLIN | out));
    for (size_t i = 0; i < PENDING_MAX; i++)
        w->pending[i].poll = poll_add(w, w->pending[i].fd, POLLIN);
}

void socket_step(Warden *w)
{
    const short events = poll_result(w, w->client.poll);
    if (w->client.fd >= 0 && events)
        client_step(w, events);
    for (size_t i = 0; i < PENDING_MAX; i++) {
        Pending *pending = &w->pending[i];
        if (pending->fd >= 0 && poll_result(w, pending->poll))
            pending_step(w, pending);
        if (pending->fd >= 0 && w->now >= pending->since + HELLO_NS)
            pending_close(pending);
    }
    if (poll_result(w, w->poll_listener))
        socket_accept(w);
    socket_flush(w);
}

int64_t socket_next(const Warden *w)
{
    int64_t next = NEVER;
    for (size_t i = 0; i < PENDING_MAX; i++) {
        if (w->pending[i].fd >= 0 && w->pending[i].since + HELLO_NS < next)
            next = w->pending[i].since + HELLO_NS;
    }
    return next;
}
