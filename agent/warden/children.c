// The children: what they write, and how they end.
//
// A child's pipe is also where its output waits while no agent is attached or the agent does not
// read; before it is full its older half is thrown away, so that nobody but the agent ever waits.
#include "agent/warden/warden.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RELIEVE_NS   (100 * NS_PER_MS) // how often waiting pipes are looked at
#define PIPE_KEEP    32768             // of a pipe's usual 64 KiB
#define TAIL_MAX     65536
#define GRACE_CLEAN  (500 * NS_PER_MS) // for a logger that still empties its pipe
#define GRACE_KILLED (100 * NS_PER_MS)

static bool child_occupied(const Child *child)
{
    return child->state == CHILD_RUNNING || child->state == CHILD_ENDING;
}

Child *child_find(Warden *w, const char *id)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        if (w->children[i].state != CHILD_FREE && strcmp(w->children[i].id, id) == 0)
            return &w->children[i];
    }
    return NULL;
}

Child *child_place(Warden *w)
{
    Child *oldest = NULL;
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        Child *child = &w->children[i];
        if (child->state == CHILD_FREE)
            return child;
        if (child->state == CHILD_EXITED && (!oldest || child->exited_at < oldest->exited_at))
            oldest = child;
    }
    return oldest;
}

Child *child_postmaster(Warden *w)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        if (w->children[i].postmaster && child_occupied(&w->children[i]))
            return &w->children[i];
    }
    return NULL;
}

bool child_is_known(const Warden *w, pid_t pid)
{
    if (pid == w->program.pid)
        return true;
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        if (w->children[i].state == CHILD_RUNNING && w->children[i].pid == pid)
            return true;
    }
    return false;
}

size_t children_running_tasks(const Warden *w)
{
    size_t count = 0;
    for (size_t i = 0; i < WARDEN_CHILDREN; i++)
        count += w->children[i].state == CHILD_RUNNING && !w->children[i].postmaster;
    return count;
}

bool child_signal(const Child *child, int signal)
{
    if (child->pidfd >= 0)
        return syscall(SYS_pidfd_send_signal, child->pidfd, signal, NULL, 0) == 0;
    // Ours and not reaped, so the number means it. A task is signalled with all it has started; in
    // the moment before its setsid there is nothing but itself.
    if (!child->postmaster && kill(-child->pid, signal) == 0)
        return true;
    return kill(child->pid, signal) == 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void child_close(Child *child)
{
    close_fd(&child->pidfd);
    close_fd(&child->output);
    close_fd(&child->starting);
}

void child_started(Warden *w, Child *child)
{
    child->state = CHILD_RUNNING;
    child->started_at = w->now;
    child->poll_output = child->poll_starting = child->poll_pidfd = -1;
    if (child->postmaster)
        w->leftover = false; // counted with it from now on
}

// Delivered, or nobody to deliver it to.
static void child_exited(Warden *w, Child *child)
{
    child_close(child);
    child->state = CHILD_EXITED;
    if (child->postmaster) // of the tasks the agent tells
        report("postmaster exited pid=%d status=%d signal=%d", (int)child->pid,
               WIFEXITED(child->status) ? WEXITSTATUS(child->status) : -1,
               WIFSIGNALED(child->status) ? WTERMSIG(child->status) : 0);
    tell_state(w, 0);
    WireWriter event = client_begin(w, WIRE_EXITED, 0);
    wire_put_text(&event, child->id);
    wire_put_i32(&event, child->status);
    client_end(w, &event);
}

// exec has happened, or cannot any more.
static void child_read_starting(Warden *w, Child *child)
{
    LaunchReport said;
    ssize_t got;
    while ((got = read(child->starting, &said, sizeof said)) == sizeof said) {
        if (said.kind == LAUNCH_DIR) {
            w->dir = said.dir;
            continue;
        }
        const char *error = said.error ? strerror(said.error) : "refused";
        report("cannot run id=%s step='%s' error='%s'", child->id, said.step, error);
        const uint32_t tag = child->start_epoch == w->epoch ? child->start_tag : 0;
        child_close(child);
        child->state = CHILD_FREE; // what is left of it is reaped as a stranger
        tell_state(w, 0);
        if (tag != 0)
            tell_error(w, tag, WARDEN_REFUSED, "%s: %s: %s", child->id, said.step, error);
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close_fd(&child->starting);
    if (child->start_epoch == w->epoch)
        tell_done(w, child->start_tag);
}

void child_ended(Warden *w, Child *child, int status)
{
    if (child->starting >= 0)
        child_read_starting(w, child);
    if (child->state != CHILD_RUNNING)
        return;
    child->state = CHILD_ENDING;
    child->status = status;
    child->exited_at = w->now;
    if (child->postmaster)
        sweep_start(w, w->now + (status == 0 ? GRACE_CLEAN : GRACE_KILLED));
}

void children_reap(Warden *w)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (report_reaped(pid) || program_reaped(w, pid, status))
            continue;
        for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
            Child *child = &w->children[i];
            if (child->state == CHILD_RUNNING && child->pid == pid)
                child_ended(w, child, status);
        }
        w->sweep.next_pass = w->now; // perhaps that was the last one
    }
}

// Output can go to the agent now.
static bool child_forwards(const Warden *w, const Child *child)
{
    return w->client.fd >= 0 && child->output >= 0 && client_room(w) > 0;
}

void children_watch(Warden *w)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        Child *child = &w->children[i];
        if (child->state == CHILD_FREE || child->state == CHILD_EXITED)
            continue;
        child->poll_output = child_forwards(w, child) ? poll_add(w, child->output, POLLIN) : -1;
        child->poll_starting = poll_add(w, child->starting, POLLIN);
        child->poll_pidfd = child->state == CHILD_RUNNING ? poll_add(w, child->pidfd, POLLIN) : -1;
    }
}

// One piece. False: nothing to read now, or nowhere to put it.
static bool child_forward(Warden *w, Child *child)
{
    char piece[OUTPUT_CHUNK];
    const size_t room = client_room(w);
    const size_t wanted = room < sizeof piece ? room : sizeof piece;
    if (!child_forwards(w, child))
        return false;
    const ssize_t got = read(child->output, piece, wanted);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        close_fd(&child->output);
        return false;
    }
    WireWriter frame = client_begin(w, WIRE_OUTPUT, 0);
    wire_put_text(&frame, child->id);
    wire_put_u32(&frame, child->lost);
    wire_put_sized(&frame, piece, (size_t)got);
    client_end(w, &frame);
    child->lost = 0;
    if (child->state == CHILD_ENDING)
        child->tail_read += (uint32_t)got;
    return true;
}

// Its pipe fills up and nobody reads: rather lose the older half than let it wait.
static void child_relieve(Child *child)
{
    char piece[OUTPUT_CHUNK];
    int waiting = 0;
    if (child->output < 0 || ioctl(child->output, FIONREAD, &waiting) != 0)
        return;
    for (; waiting > PIPE_KEEP; waiting -= (int)sizeof piece) {
        const ssize_t got = read(child->output, piece, sizeof piece);
        if (got <= 0)
            return;
        child->lost += (uint32_t)got;
    }
}

static void child_step_ending(Warden *w, Child *child)
{
    if (child->postmaster) {
        if (!w->sweep.active)
            child_exited(w, child);
        return;
    }
    // Without an agent it stays, and so does its output.
    while (child->output >= 0 && child->tail_read < TAIL_MAX && client_room(w) > 0) {
        if (!child_forward(w, child))
            break;
    }
    if (w->client.fd >= 0 &&
        (child->output < 0 || child->tail_read >= TAIL_MAX || client_room(w) > 0))
        child_exited(w, child);
}

void children_step(Warden *w)
{
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        Child *child = &w->children[i];
        if (child->state != CHILD_RUNNING && child->state != CHILD_ENDING)
            continue;
        if (child->starting >= 0 && poll_result(w, child->poll_starting))
            child_read_starting(w, child);
        if (child->state == CHILD_RUNNING && poll_result(w, child->poll_pidfd)) {
            children_reap(w); // it may have become ours by its parent's death: then it has a status
            if (child->state == CHILD_RUNNING)
                child_ended(w, child, STATUS_UNKNOWN);
        }
        if (child->state == CHILD_RUNNING && poll_result(w, child->poll_output))
            (void)child_forward(w, child); // the rest in the next round
        if (child->state == CHILD_RUNNING && !child_forwards(w, child))
            child_relieve(child);
        if (child->state == CHILD_ENDING)
            child_step_ending(w, child);
    }
}

// An end that children_step can now go on with: what it waited for came after its turn.
static bool child_end_is_due(const Warden *w, const Child *child)
{
    return child->state == CHILD_ENDING &&
           (child->postmaster ? !w->sweep.active : client_room(w) > 0);
}

int64_t children_next(const Warden *w)
{
    int64_t next = NEVER;
    for (size_t i = 0; i < WARDEN_CHILDREN; i++) {
        const Child *child = &w->children[i];
        if (child_end_is_due(w, child))
            return w->now;
        if (child->state == CHILD_RUNNING && child->output >= 0 && !child_forwards(w, child))
            next = w->now + RELIEVE_NS;
    }
    return next;
}
