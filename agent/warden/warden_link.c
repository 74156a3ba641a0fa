#include "agent/warden/warden_link.h"

#include "common/base/text.h"
#include "common/os/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST_BYTES = 4096 }; // of the buffers that grow, by doubling
_Static_assert(LINK_OUTPUT_MAX % FIRST_BYTES == 0, "a ring is full at LINK_OUTPUT_MAX");

static void link_notify(Link *link)
{
    const uint64_t one = 1;
    (void)!write(link->event_fd, &one, sizeof one); // full means readable already
}

bool link_wait(Link *link, Deadline deadline)
{
    const Instant now = clock_now(link->clock);
    if (!instant_before(now, deadline.at))
        return false;
    // A millisecond more, or the last part of one would be spun through.
    (void)cond_wait_ms(&link->changed, &link->mutex, deadline_left_ms(deadline, now) + 1);
    return true;
}

LinkOutput *link_output(Link *link, const char *id)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        if (link->outputs[i].id[0] != 0 && str_eq(link->outputs[i].id, id))
            return &link->outputs[i];
    }
    return NULL;
}

static void output_drop(LinkOutput *output)
{
    free(output->ring);
    *output = (LinkOutput){0};
}

// Until it has its full size, nothing is lost and it begins at 0.
static void output_grow(LinkOutput *output, size_t wanted)
{
    size_t size = output->size;
    while (size < wanted && size < LINK_OUTPUT_MAX)
        size = size > 0 ? 2 * size : FIRST_BYTES;
    if (size == output->size)
        return;
    output->ring = realloc(output->ring, size);
    ASSERT(output->ring);
    output->size = size;
}

static void output_add(LinkOutput *output, const char *bytes, size_t size)
{
    output_grow(output, output->length + size);
    for (size_t i = 0; i < size; i++) {
        const size_t end = (output->start + output->length) % output->size;
        output->ring[end] = bytes[i] ? bytes[i] : '?'; // it is read as a string
        if (output->length < output->size)
            output->length++;
        else
            output->start = (output->start + 1) % output->size;
    }
}

// One place for each child of the view; those of children that are gone become free.
static void outputs_match(Link *link)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        LinkOutput *output = &link->outputs[i];
        bool listed = false;
        for (size_t k = 0; k < link->view.child_count; k++) {
            const ChildView *child = &link->view.children[k];
            listed = listed ||
                     (str_eq(child->id, output->id) && child->started_at.ns == output->started_at);
        }
        if (!listed)
            output_drop(output);
    }
    for (size_t k = 0; k < link->view.child_count; k++) {
        const ChildView *child = &link->view.children[k];
        if (link_output(link, child->id))
            continue;
        for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
            LinkOutput *output = &link->outputs[i];
            if (output->id[0] == 0) {
                (void)copy_text(output->id, sizeof output->id, child->id); // same size
                output->started_at = child->started_at.ns;
                break;
            }
        }
    }
}

static void read_child(WireReader *in, ChildView *out)
{
    WireReader entry = wire_get_block(in);
    const unsigned flags = wire_get_u16(&entry);
    *out = (ChildView){.running = flags & CHILD_FLAG_RUNNING,
                       .postmaster = flags & CHILD_FLAG_POSTMASTER};
    out->pid = wire_get_i32(&entry);
    out->status = wire_get_i32(&entry);
    out->started_at.ns = wire_get_i64(&entry);
    out->exited_at.ns = wire_get_i64(&entry);
    if (!copy_text(out->id, sizeof out->id, wire_get_text(&entry)))
        in->bad = true;
    in->bad = in->bad || entry.bad;
}

// "Since we attached": strikes while we were away count, those before we ever came do not.
static uint64_t fenced_since(const Link *link, int64_t warden, uint32_t total)
{
    if (link->warden == 0)
        return 0;
    return warden == link->warden ? total - link->fenced_total : total;
}

static bool on_state(Link *link, WireReader *in)
{
    WardenView view = {.connected = true, .replaced = link->view.replaced};
    (void)wire_get_u16(in); // the version: none yet says anything else
    const unsigned flags = wire_get_u16(in);
    view.epoch = wire_get_u64(in);
    const int64_t warden = wire_get_i64(in);
    (void)wire_get_i64(in); // its clock is ours
    view.quit_at.ns = wire_get_i64(in);
    view.kill_at.ns = wire_get_i64(in);
    view.fenced_at.ns = wire_get_i64(in);
    const uint32_t total = wire_get_u32(in);
    const bool whole_note = copy_text(view.note, sizeof view.note, wire_get_text(in));
    view.child_count = wire_get_u16(in);
    if (in->bad || !whole_note || view.child_count > COUNT_OF(view.children))
        return false;
    for (size_t i = 0; i < view.child_count; i++)
        read_child(in, &view.children[i]);
    if (in->bad)
        return false;

    view.fence_armed = flags & STATE_ARMED;
    view.fence_weak = flags & STATE_WEAK;
    view.terminating = flags & STATE_TERMINATING;
    view.remains = flags & STATE_REMAINS;
    view.fenced_count = link->view.fenced_count + fenced_since(link, warden, total);
    const bool cleared = link->view.remains && !view.remains;
    link->warden = warden;
    link->fenced_total = total;
    link->view = view;
    outputs_match(link);
    if (cleared)
        link_notify(link);
    return true;
}

static bool on_output(Link *link, WireReader *in)
{
    static const char gap[] = "\n[output lost here]\n";
    size_t size = 0;
    const char *id = wire_get_text(in);
    const uint32_t lost = wire_get_u32(in);
    const char *bytes = wire_get_sized(in, &size);
    LinkOutput *output = in->bad ? NULL : link_output(link, id);
    if (output && lost > 0)
        output_add(output, gap, sizeof gap - 1);
    if (output)
        output_add(output, bytes, size);
    return !in->bad;
}

static void link_answer(Link *link, uint32_t tag, const Error *error)
{
    for (LinkCall *call = link->calls; call && tag != 0; call = call->next) {
        if (call->tag == tag) {
            call->answered = true;
            call->error = *error;
        }
    }
}

static bool on_error(Link *link, uint32_t tag, WireReader *in)
{
    Error error = {0};
    const unsigned code = wire_get_u16(in);
    const char *text = wire_get_text(in);
    (void)error_set(&error, code == WARDEN_FAILED ? ERR_UNAVAILABLE : ERR_INVALID, "%s", text);
    if (!in->bad)
        link_answer(link, tag, &error);
    return !in->bad;
}

static void link_disconnect(Link *link)
{
    (void)shutdown(link->fd, SHUT_RDWR); // whoever is just sending comes back at once
    while (link->sending)
        (void)pthread_cond_wait(&link->changed, &link->mutex);
    (void)close(link->fd);
    link->fd = -1;
    link->view.connected = false;
    for (LinkCall *call = link->calls; call; call = call->next)
        call->lost = !call->answered;
    link_notify(link);
}

// False: no warden of any version says that.
static bool link_frame(Link *link, const WireHead *head, const uint8_t *body)
{
    WireReader in = {body, head->length, 0, false};
    const Error done = {.kind = ERR_NONE};
    switch (head->type) {
    case WIRE_STATE: {
        const bool attached = link->view.connected;
        if (!on_state(link, &in))
            return false;
        // The answer to HELLO. FENCE and the others get a DONE after their STATE.
        if (!attached)
            link_answer(link, head->tag, &done);
        return true;
    }
    case WIRE_DONE:
        link_answer(link, head->tag, &done);
        return true;
    case WIRE_ERROR:
        return on_error(link, head->tag, &in);
    case WIRE_OUTPUT:
        return on_output(link, &in);
    case WIRE_EXITED:
    case WIRE_FENCED:
    case WIRE_TERMINATING:
        link_notify(link); // the STATE before it has said what
        return true;
    case WIRE_REPLACED:
        link->view.replaced = true;
        return false;
    default:
        return true; // a newer warden's; nothing we asked for
    }
}

static bool link_frames(Link *link)
{
    size_t at = 0;
    WireHead head;
    while (wire_peek(link->in + at, link->in_used - at, &head)) {
        const size_t size = WIRE_HEAD + (size_t)head.length;
        if (!wire_head_ok(&head))
            return false;
        if (link->in_used - at < size)
            break;
        if (!link_frame(link, &head, link->in + at + WIRE_HEAD))
            return false;
        at += size;
    }
    link->in_used -= at;
    memmove(link->in, link->in + at, link->in_used);
    return true;
}

// Room for more. A whole frame always fits, so WIRE_FRAME_MAX is never full.
static void in_grow(Link *link)
{
    if (link->in_used < link->in_size)
        return;
    const size_t size = link->in_size > 0 ? 2 * link->in_size : FIRST_BYTES;
    link->in_size = size < WIRE_FRAME_MAX ? size : WIRE_FRAME_MAX;
    link->in = realloc(link->in, link->in_size);
    ASSERT(link->in);
}

static void link_read(Link *link)
{
    if (link->fresh)
        link->in_used = 0;
    link->fresh = false;
    in_grow(link);
    const ssize_t got =
        recv(link->fd, link->in + link->in_used, link->in_size - link->in_used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    link->in_used += got > 0 ? (size_t)got : 0;
    if (got <= 0 || !link_frames(link))
        link_disconnect(link);
    (void)pthread_cond_broadcast(&link->changed);
}

void *link_reader(void *argument)
{
    Link *link = argument;
    (void)pthread_mutex_lock(&link->mutex);
    while (!link->stopping) {
        struct pollfd polls[] = {{.fd = link->wake_fd, .events = POLLIN},
                                 {.fd = link->fd, .events = POLLIN}}; // -1: ignored
        (void)pthread_mutex_unlock(&link->mutex);
        const int ready = poll(polls, COUNT_OF(polls), -1);
        (void)pthread_mutex_lock(&link->mutex);
        if (ready <= 0)
            continue;
        if (polls[0].revents) {
            uint64_t count;
            (void)!read(link->wake_fd, &count, sizeof count); // it only had to wake us
        }
        // Only this thread closes it, so it is still the one polled.
        if (polls[1].revents && link->fd >= 0)
            link_read(link);
    }
    if (link->fd >= 0)
        link_disconnect(link);
    for (size_t i = 0; i < WARDEN_CHILDREN; i++)
        output_drop(&link->outputs[i]);
    (void)pthread_mutex_unlock(&link->mutex);
    return NULL;
}
