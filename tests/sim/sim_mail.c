// What travels between a member and the store. A request that has left is applied when it arrives,
// whatever has become of its sender; its reply may be lost, late, or find nobody.
#include "tests/sim/mail.h"

#include <string.h>

bool link_up(const Sim *sim, int from, int to)
{
    const bool down = (from < sim->member_count && !sim->members[from].powered) ||
                      (to < sim->member_count && !sim->members[to].powered);
    return !down && sim->link[from][to];
}

Mail *mail_new(AgentProc *proc, StoreOp op, MailApply *apply)
{
    Sim *sim = proc->sim;
    Mail *mail = calloc(1, sizeof *mail);
    ASSERT(mail);
    mail->from = proc;
    mail->op = op;
    mail->apply = apply;
    mail->arena = arena_new(ARENA_CAP_DEFAULT);
    mail->next = sim->mails;
    if (mail->next)
        mail->next->previous = mail;
    sim->mails = mail;
    return mail;
}

void mail_free(Sim *sim, Mail *mail)
{
    if (!mail)
        return;
    if (mail->previous)
        mail->previous->next = mail->next;
    else
        sim->mails = mail->next;
    if (mail->next)
        mail->next->previous = mail->previous;
    arena_free(mail->arena);
    free(mail);
}

void mails_done(Sim *sim)
{
    while (sim->mails)
        mail_free(sim, sim->mails);
}

void mails_forget(AgentProc *proc)
{
    mail_free(proc->sim, proc->reply);
    proc->reply = NULL;
}

static void reply_arrives(Sim *sim, void *context, uint64_t argument)
{
    Mail *mail = context;
    AgentProc *proc = mail->from;
    (void)argument;
    if (proc->zombie || proc->call != mail->call || !link_up(sim, THE_STORE, proc->member->index)) {
        mail_free(sim, mail);
        return;
    }
    proc->call = 0;
    proc->reply = mail;
    proc_wake(proc);
}

static bool planned_loss(Sim *sim, const Mail *mail, bool request)
{
    PlannedLoss *loss = &sim->loss[mail->from->member->index];
    if (!loss->set || loss->request != request || (loss->op != OP_ANY && loss->op != mail->op))
        return false;
    loss->set = false;
    return true;
}

static void request_arrives(Sim *sim, void *context, uint64_t argument)
{
    Mail *mail = context;
    AgentProc *proc = mail->from;
    const int member = proc->member->index;
    // What has reached a store that hangs is done when it goes on, long after anybody waits for it.
    if (sim->store.state == STORE_HANGS && (argument > 0 || !chance(sim, 200))) {
        sim_in(sim, MS(20), NULL, request_arrives, mail, argument + 1);
        return;
    }
    if (sim->store.state == STORE_HANGS || planned_loss(sim, mail, true)) {
        trace(sim, "mail   %s: %s is lost", proc->member->name, mail->what);
        mail_free(sim, mail);
        return;
    }
    if (sim->store.state == STORE_REFUSES) {
        mail->kind = ERR_UNAVAILABLE;
        mail->why = "connection refused";
    } else {
        mail->apply(sim, mail);
        mail->log_count = sim->store.log_count;
    }
    const bool lost =
        planned_loss(sim, mail, false) ||
        (sim->store.state == STORE_UP && chance(sim, sim->options.lost_reply_permille));
    if (lost || !link_up(sim, THE_STORE, member)) {
        trace(sim, "mail   %s: the reply to %s is lost%s", proc->member->name, mail->what,
              mail->kind == ERR_NONE ? " (done)" : " (refused)");
        mail_free(sim, mail);
        return;
    }
    int64_t delay = roll(sim, 300 * 1000, MS(4)) + sim->extra_store_delay;
    if (chance(sim, sim->options.slow_permille))
        delay += roll(sim, MS(50), MS(4000));
    sim_in(sim, delay, &proc->actor, reply_arrives, mail, 0);
}

static void send(AgentProc *proc, Mail *mail)
{
    Sim *sim = proc->sim;
    int64_t delay = roll(sim, 200 * 1000, MS(3)) + sim->extra_store_delay;
    if (chance(sim, sim->options.slow_permille))
        delay += roll(sim, MS(50), MS(4000));
    mail->call = proc->call = ++sim->serials;
    sim_in(sim, delay, NULL, request_arrives, mail, 0);
}

static Mail *copy_of(const Mail *mail)
{
    Mail *copy = mail_new(mail->from, mail->op, mail->apply);
    Mail *previous = copy->previous, *next = copy->next;
    Arena *arena = copy->arena;
    *copy = *mail;
    copy->previous = previous;
    copy->next = next;
    copy->arena = arena;
    copy->key = arena_strdup(arena, mail->key);
    copy->value = arena_strdup(arena, mail->value);
    copy->status = arena_strdup(arena, mail->status);
    copy->text = arena_strdup(arena, mail->text);
    copy->acquire.instance = arena_strdup(arena, mail->acquire.instance);
    return copy;
}

// One try. *unknown: it has left, and nothing came back.
static Mail *try_once(Mail *mail, int64_t until, bool *unknown)
{
    AgentProc *proc = mail->from;
    Sim *sim = proc->sim;
    // Onto a connection that is still open, or not: only then it is known that nothing was done.
    const bool open = link_up(sim, proc->member->index, THE_STORE);
    *unknown = open || chance(sim, 500);
    if (open && until > sim->now)
        send(proc, mail);
    else
        mail_free(sim, mail);
    proc_wait_until(proc, until);
    proc->call = 0;
    Mail *reply = proc->reply;
    proc->reply = NULL;
    if (reply)
        *unknown = false;
    return reply;
}

// As dcs/etcd_http.c divides a deadline among three endpoints.
static int64_t try_time(const Sim *sim, int64_t left)
{
    const int64_t third = left / 3;
    if (sim->options.ttl_s < 20)
        return third > MS(500) ? MS(500) : third < MS(100) ? MS(100) : third;
    return third < MS(1000) ? MS(1000) : third;
}

static Mail *call(Mail *mail, int64_t until, bool *perhaps)
{
    AgentProc *proc = mail->from;
    Sim *sim = proc->sim;
    for (int64_t pause = MS(20);; pause *= 2) {
        int64_t end = sim->now + try_time(sim, until - sim->now);
        end = end > until || mail->once ? until : end;
        bool unknown;
        Mail *copy = copy_of(mail);
        copy->perhaps_before = *perhaps;
        Mail *reply = try_once(copy, end, &unknown);
        *perhaps = *perhaps || unknown;
        const bool unreachable = reply && reply->kind == ERR_UNAVAILABLE;
        if (proc->zombie || (reply && !unreachable) || mail->once || sim->now + pause >= until)
            return reply;
        mail_free(sim, reply);
        proc_wait(proc, pause);
    }
}

Mail *mail_call(Mail *mail, const char *what, Deadline deadline, Error *err)
{
    AgentProc *proc = mail->from;
    Sim *sim = proc->sim;
    bool perhaps = false;
    mail->what = what;
    if (!proc_boundary(proc, what)) {
        mail_free(sim, mail);
        (void)error_set(err, ERR_UNAVAILABLE, "%s: the process is gone", what);
        return NULL;
    }
    Mail *reply = call(mail, proc_deadline(proc, deadline), &perhaps);
    mail_free(sim, mail);
    if (!proc_boundary(proc, what)) {
        mail_free(sim, reply);
        reply = NULL;
    }
    if (!reply) {
        (void)error_set(err, perhaps ? ERR_UNCERTAIN : ERR_UNAVAILABLE, "%s: %s", what,
                        perhaps ? "no answer in time" : "cannot connect");
        return NULL;
    }
    if (reply->kind != ERR_NONE) {
        const bool unreachable = reply->kind == ERR_UNAVAILABLE;
        (void)error_set(err, unreachable && perhaps ? ERR_UNCERTAIN : reply->kind, "%s: %s", what,
                        reply->why);
        mail_free(sim, reply);
        return NULL;
    }
    return reply;
}

// --- what it asks for

Mail *refuse(Mail *mail, ErrorKind kind, const char *why)
{
    mail->kind = kind;
    mail->why = why;
    return mail;
}

bool store_at(const Sim *sim, const char *key, int64_t revision)
{
    const StoreKey *found = store_key(sim, key);
    return found ? found->mod_revision == revision : revision == 0;
}

void sim_lose_reply(Sim *sim, int member, StoreOp op)
{
    sim->loss[member] = (PlannedLoss){.set = true, .op = op};
}

void sim_lose_request(Sim *sim, int member, StoreOp op)
{
    sim->loss[member] = (PlannedLoss){.set = true, .request = true, .op = op};
}
