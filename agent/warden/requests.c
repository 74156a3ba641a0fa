// What the agent says, and what we say back.
#include "agent/warden/warden.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

void tell_done(Warden *w, uint32_t tag)
{
    WireWriter frame = client_begin(w, WIRE_DONE, tag);
    client_end(w, &frame);
}

void tell_error(Warden *w, uint32_t tag, WardenError code, const char *fmt, ...)
{
    char text[240];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    WireWriter frame = client_begin(w, WIRE_ERROR, tag);
    wire_put_u16(&frame, (unsigned)code);
    wire_put_text(&frame, text);
    client_end(w, &frame);
}

static unsigned state_flags(Warden *w)
{
    const Child *postmaster = child_postmaster(w);
    unsigned flags = 0;
    if (w->fence.armed)
        flags |= STATE_ARMED;
    if (w->fence.struck)
        flags |= STATE_STRUCK;
    if (postmaster && postmaster->adopted)
        flags |= STATE_WEAK;
    if (w->stop != STOP_NO)
        flags |= STATE_TERMINATING;
    if (postmaster || w->leftover || w->sweep.active)
        flags |= STATE_REMAINS;
    return flags;
}

static void put_child(WireWriter *frame, const Child *child)
{
    unsigned flags = child->state == CHILD_EXITED ? 0 : CHILD_FLAG_RUNNING;
    if (child->postmaster)
        flags |= CHILD_FLAG_POSTMASTER;
    if (child->adopted)
        flags |= CHILD_FLAG_ADOPTED;
    const size_t start = wire_begin_block(frame);
    wire_put_u16(frame, flags);
    wire_put_i32(frame, (int32_t)child->pid);
    wire_put_i32(frame, child->state == CHILD_EXITED ? child->status : 0);
    wire_put_i64(frame, child->started_at);
    wire_put_i64(frame, child->state == CHILD_EXITED ? child->exited_at : 0);
    wire_put_text(frame, child->id);
    wire_end_block(frame, start);
}

void tell_state(Warden *w, uint32_t tag)
{
    unsigned count = 0;
    WireWriter frame = client_begin(w, WIRE_STATE, tag);
    wire_put_u16(&frame, WARDEN_PROTOCOL);
    wire_put_u16(&frame, state_flags(w));
    wire_put_u64(&frame, w->epoch);
    wire_put_i64(&frame, w->started_at);
    wire_put_i64(&frame, time_boot());
    wire_put_i64(&frame, w->fence.quit_at);
    wire_put_i64(&frame, w->fence.kill_at);
    wire_put_i64(&frame, w->fenced_at);
    wire_put_u32(&frame, w->fenced_total);
    wire_put_text(&frame, w->note);
    for (size_t i = 0; i < WARDEN_CHILDREN; i++)
        count += w->children[i].state != CHILD_FREE;
    wire_put_u16(&frame, count);
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        if (w->children[i].state != CHILD_FREE)
            put_child(&frame, &w->children[i]);
    }
    client_end(w, &frame);
}

static void refuse(Warden *w, uint32_t tag, const char *why)
{
    tell_error(w, tag, WARDEN_REFUSED, "%s", why);
}

bool request_hello_replaced(const Warden *w, const uint8_t *body, size_t size)
{
    WireReader in = {body, size, 0, false};
    (void)wire_get_u16(&in); // the version: all of them so far say the same here
    const int64_t warden = wire_get_i64(&in);
    const uint64_t epoch = wire_get_u64(&in);
    return warden == w->started_at && epoch != w->epoch;
}

static void on_hello(Warden *w, uint32_t tag, WireReader *in)
{
    (void)in;
    tell_state(w, tag); // attached already: it asks how things are
}

static void keep_note(Warden *w, const char *note)
{
    (void)snprintf(w->note, sizeof w->note, "%s", note);
}

static void on_fence(Warden *w, uint32_t tag, WireReader *in)
{
    FenceOrder order;
    order.quit_at = wire_get_i64(in);
    order.kill_at = wire_get_i64(in);
    order.ttl_ms = wire_get_i64(in);
    const char *note = wire_get_text(in);
    const bool armed = w->fence.armed && !w->fence.struck;
    if (in->bad) {
        refuse(w, tag, "fence: the message is too short");
        return;
    }
    const char *refusal = strlen(note) >= sizeof w->note ? "the note is longer than 256 bytes"
                                                         : fence_refusal(&w->fence, &order, w->now);
    if (refusal) {
        report("fence refused reason='%s'", refusal);
        tell_error(w, tag, WARDEN_REFUSED, "fence: %s", refusal);
        return;
    }
    fence_arm(&w->fence, &order, w->now, w->wall);
    report_careful(true);
    keep_note(w, note);
    if (!armed)
        report("fence armed quit_in_ms=%lld", (long long)((order.quit_at - w->now) / NS_PER_MS));
    tell_state(w, tag);
    tell_done(w, tag);
}

static void on_unfence(Warden *w, uint32_t tag, WireReader *in)
{
    const bool sure = wire_get_u16(in) & UNFENCE_SURE;
    const char *note = wire_get_text(in);
    const char *refusal = NULL;
    if (in->bad)
        refusal = "the message is too short";
    else if (strlen(note) >= sizeof w->note)
        refusal = "the note is longer than 256 bytes";
    else if (w->fence.striking)
        refusal = "the fence has struck and is still killing";
    else if (!sure && (child_postmaster(w) || w->sweep.active || proc_sweep(w, 0) != 0))
        refusal = "processes of the data directory remain, and nobody is sure they do not write";
    if (refusal) {
        report("unfence refused reason='%s'", refusal);
        tell_error(w, tag, WARDEN_REFUSED, "unfence: %s", refusal);
        return;
    }
    if (w->fence.armed)
        report("fence lifted sure=%d", (int)sure);
    w->fence = (Fence){0};
    keep_note(w, note);
    tell_state(w, tag);
    tell_done(w, tag);
}

static void on_signal(Warden *w, uint32_t tag, WireReader *in)
{
    const char *id = wire_get_text(in);
    const int signal = wire_get_i32(in);
    Child *child = in->bad ? NULL : child_find(w, id);
    if (in->bad || signal < 1 || signal > 64)
        refuse(w, tag, "signal: wants an id and a signal from 1 to 64");
    else if (!child || child->state != CHILD_RUNNING)
        tell_error(w, tag, WARDEN_REFUSED, "signal: no running child '%s'", id);
    else if (!child_signal(child, signal))
        tell_error(w, tag, WARDEN_FAILED, "signal '%s': %s", id, strerror(errno));
    else
        tell_done(w, tag);
}

static bool id_is_fine(const char *id)
{
    const size_t length = strlen(id);
    return length > 0 && length < WARDEN_ID_SIZE &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               length;
}

// Why a postmaster may not be started or adopted now; NULL: it may.
static const char *postmaster_refusal(Warden *w)
{
    if (child_postmaster(w))
        return "a postmaster runs already";
    if (w->stop != STOP_NO)
        return "told to stop: nothing is started any more";
    // Else a start that was sent before the deadline and read after it would run without a fence.
    if (w->fence.struck)
        return "the fence has struck: move it or lift it first";
    return NULL;
}

static const char *child_refusal(Warden *w, const char *id, bool postmaster)
{
    const Child *same = id_is_fine(id) ? child_find(w, id) : NULL;
    if (!id_is_fine(id))
        return "the id must be 1 to 31 letters, digits, '.', '_' or '-'";
    if (same && same->state != CHILD_EXITED)
        return "a child with this id runs already";
    if (!same && !child_place(w))
        return "16 children run already";
    return postmaster ? postmaster_refusal(w) : NULL;
}

static Child *child_new(Warden *w, const char *id, bool postmaster)
{
    Child *child = child_find(w, id);
    if (!child)
        child = child_place(w);
    *child = (Child){.postmaster = postmaster, .pidfd = -1, .output = -1, .starting = -1};
    (void)snprintf(child->id, sizeof child->id, "%s", id);
    return child;
}

// Skips the strings of argv or env; false: too many, or not even one where one must be.
static bool skip_strings(WireReader *in, unsigned at_least)
{
    const unsigned count = wire_get_u16(in);
    if (count < at_least || count > WARDEN_ARGS_MAX)
        return false;
    for (unsigned i = 0; i < count && !in->bad; i++)
        (void)wire_get_text(in);
    return !in->bad;
}

static void on_spawn(Warden *w, uint32_t tag, WireReader *in)
{
    const unsigned flags = wire_get_u16(in);
    const char *id = wire_get_text(in);
    const char *cwd = wire_get_text(in);
    const char *text = wire_get_text(in);
    const WireReader args = *in;
    const bool postmaster = flags & SPAWN_POSTMASTER;
    if (!skip_strings(in, 1) || !skip_strings(in, 0)) {
        refuse(w, tag, "spawn: wants id, cwd, stdin, 1 to 1024 arguments, up to 1024 variables");
        return;
    }
    const char *refusal = child_refusal(w, id, postmaster);
    if (!refusal && postmaster && proc_sweep(w, 0) != 0)
        refusal = "processes of the data directory remain";
    if (refusal) {
        tell_error(w, tag, WARDEN_REFUSED, "spawn '%.31s': %s", id, refusal);
        return;
    }
    const Launch wanted = {.postmaster = postmaster,
                           .cwd = *cwd ? cwd : "/",
                           .stdin_text = flags & SPAWN_STDIN ? text : NULL,
                           .args = args};
    const char *what_failed = NULL;
    Child *child = child_new(w, id, postmaster);
    if (!launch(w, child, &wanted, &what_failed)) {
        const int error = errno;
        tell_state(w, 0); // its place may have held another's end
        tell_error(w, tag, WARDEN_FAILED, "spawn '%s': %s: %s", id, what_failed, strerror(error));
        return;
    }
    child->start_tag = tag;
    child->start_epoch = w->epoch;
    child_started(w, child);
    if (postmaster)
        report("postmaster started pid=%d", (int)child->pid);
    tell_state(w, 0); // DONE once exec has happened
}

// A postmaster by all that can be seen, and still the one that was meant.
static const char *adopt_refusal(Warden *w, pid_t pid, uint64_t start_time, DirId *dir)
{
    ProcStat stat;
    if (pid <= 1 || !proc_stat(w, pid, &stat) || stat.state == 'Z')
        return "no such process";
    if (stat.start_time != start_time)
        return "the process was started at another time: the pid has been reused";
    if (!proc_is_postgres(w, pid))
        return "the process is not a postgres";
    if (!proc_cwd(w, pid, dir))
        return "cannot see its working directory";
    const bool same = w->dir.known && w->dir.device == dir->device && w->dir.inode == dir->inode;
    // The directory may have been made anew since we last looked; asking the disk could hang.
    if (!same && !proc_cwd_is_named(w, pid, w->data_dir))
        return "the process does not work in the data directory";
    return NULL;
}

static void on_adopt(Warden *w, uint32_t tag, WireReader *in)
{
    const char *id = wire_get_text(in);
    const pid_t pid = wire_get_i32(in);
    const uint64_t start_time = wire_get_u64(in);
    DirId dir = {0};
    if (in->bad) {
        refuse(w, tag, "adopt: wants id, pid and start time");
        return;
    }
    const char *refusal = child_refusal(w, id, true);
    // First the descriptor, then the look: after that the number cannot change its meaning.
    const int pidfd = refusal || pid <= 1 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    const int error = errno;
    if (!refusal)
        refusal = adopt_refusal(w, pid, start_time, &dir);
    if (refusal || pidfd < 0) {
        if (pidfd >= 0)
            (void)close(pidfd);
        tell_error(w, tag, refusal ? WARDEN_REFUSED : WARDEN_FAILED, "adopt '%.31s': %s", id,
                   refusal ? refusal : strerror(error));
        return;
    }
    Child *child = child_new(w, id, true);
    child->adopted = true;
    child->pid = pid;
    child->pidfd = pidfd;
    w->dir = dir;
    child_started(w, child);
    report("postmaster adopted pid=%d", (int)pid);
    tell_state(w, tag);
    tell_done(w, tag);
}

void request_handle(Warden *w, const WireHead *head, const uint8_t *body)
{
    static void (*const handlers[])(Warden *, uint32_t, WireReader *) = {
        [WIRE_HELLO] = on_hello,   [WIRE_FENCE] = on_fence, [WIRE_UNFENCE] = on_unfence,
        [WIRE_SIGNAL] = on_signal, [WIRE_SPAWN] = on_spawn, [WIRE_ADOPT] = on_adopt,
    };
    WireReader in = {body, head->length, 0, false};
    // We may have been stopped between the poll and here. The deadline comes before whatever has
    // been waiting in the socket meanwhile.
    time_take(w);
    fence_step(w);
    if (head->type < sizeof handlers / sizeof handlers[0] && handlers[head->type])
        handlers[head->type](w, head->tag, &in);
    else
        tell_error(w, head->tag, WARDEN_UNKNOWN, "no message %u in version %d",
                   (unsigned)head->type, WARDEN_PROTOCOL);
}
