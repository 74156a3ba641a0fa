// The store as an agent has it: dcs.h over mail, with the real cache and the real classification of
// vacancies behind the simulated watch.
#include "tests/sim/mail.h"

#include "dcs/records.h"

#include <stdio.h>
#include <string.h>

static AgentProc *proc_of(Dcs *dcs)
{
    return (AgentProc *)(void *)((char *)dcs - offsetof(AgentProc, dcs.base));
}

static int64_t session_of(const AgentProc *proc)
{
    int64_t id = 0;
    return parse_int64(proc->dcs.session, &id) ? id : 0;
}

static const char *name_of(const AgentProc *proc)
{
    return proc->member->name;
}

// For calls whose reply says nothing but that it is done.
static bool done(Mail *reply)
{
    if (!reply)
        return false;
    mail_free(reply->from->sim, reply);
    return true;
}

// --- reading

static void add_revisions(const Sim *sim, Arena *arena, ClusterView *view)
{
    MemberView *members = ARENA_ARRAY(arena, MemberView, view->member_count);
    for (size_t i = 0; i < view->member_count; i++) {
        members[i] = view->members[i];
        members[i].revision = sim->options.revisions[members[i].name[0] - 'a'];
    }
    view->members = members;
}

static bool op_view(Dcs *base, Arena *arena, ClusterView *out)
{
    AgentProc *proc = proc_of(base);
    SimDcs *dcs = &proc->dcs;
    if (proc->zombie)
        return false;
    if (dcs->watching && dcs->seen == proc->sim->store.log_count && store_reachable(proc))
        etcd_cache_note_revision(&dcs->cache, dcs->cache.revision, dcs->cache.cluster_id,
                                 host_now(proc->member));
    if (!etcd_cache_view(&dcs->cache, arena, out))
        return false;
    add_revisions(proc->sim, arena, out);
    return true;
}

static void apply_read(Sim *sim, Mail *mail)
{
    const EtcdKeys keys = store_listing(sim, mail->arena);
    mail->keys = keys.keys;
    mail->count = keys.count;
    mail->revision = sim->store.revision;
    mail->cluster_id = sim->store.cluster_id;
}

static bool op_refresh(Dcs *base, Arena *arena, Deadline deadline, ClusterView *out, Error *err)
{
    AgentProc *proc = proc_of(base);
    const Instant sent_at = host_now(proc->member);
    Mail *reply = mail_call(mail_new(proc, OP_ANY, apply_read), "read", deadline, err);
    if (!reply) {
        err->kind = ERR_UNAVAILABLE; // a read has no effect to be uncertain of
        return false;
    }
    // If the watch is about to have it, its view is the better one: it knows how a leader went.
    if (!proc->dcs.watching || !watch_wait_for(proc, reply->log_count, 75)) {
        const EtcdKeys keys = {reply->keys, reply->count};
        watch_take_listing(proc, &keys, reply->revision, reply->cluster_id, sent_at);
    }
    mail_free(proc->sim, reply);
    (void)etcd_cache_view(&proc->dcs.cache, arena, out); // filled by now
    add_revisions(proc->sim, arena, out);
    return true;
}

// --- the session

static void apply_grant(Sim *sim, Mail *mail)
{
    mail->session = store_grant(sim, mail->ttl_ms);
}

static void apply_keepalive(Sim *sim, Mail *mail)
{
    StoreLease *lease = store_lease(sim, mail->session);
    // A renewal is conditional: one that comes late tells nothing any more.
    const int64_t told_ms = lease && lease->told_by < mail->call ? mail->ttl_ms : 0;
    if (told_ms > 0)
        lease->told_by = mail->call;
    if (!store_keepalive(sim, mail->session, told_ms, &mail->ttl_ms))
        (void)refuse(mail, ERR_CONFLICT, "the lease is gone");
}

static LeaseProof proof_of(const AgentProc *proc, Instant sent_at, int64_t ttl_ms)
{
    const int64_t least = ttl_ms < proc->dcs.session_ttl_ms ? ttl_ms : proc->dcs.session_ttl_ms;
    return (LeaseProof){
        .sent_at = sent_at, .ttl_ms = least, .valid_until = instant_plus_ms(sent_at, least)};
}

// tell_ms: the ttl it has from now on, 0: the one it has.
static bool keepalive_telling(AgentProc *proc, int64_t session, int64_t tell_ms, Deadline deadline,
                              LeaseProof *out, size_t *log_count, Error *err)
{
    const Instant sent_at = host_now(proc->member);
    Mail *mail = mail_new(proc, OP_KEEPALIVE, apply_keepalive);
    mail->session = session;
    mail->ttl_ms = tell_ms;
    Mail *reply = mail_call(mail, "keepalive", deadline, err);
    if (!reply)
        return false;
    *out = proof_of(proc, sent_at, reply->ttl_ms);
    *log_count = reply->log_count;
    mail_free(proc->sim, reply);
    return true;
}

static bool keepalive(AgentProc *proc, int64_t session, Deadline deadline, LeaseProof *out,
                      size_t *log_count, Error *err)
{
    const int64_t tell_ms = proc->sim->options.sessions_stay ? proc->dcs.session_ttl_ms : 0;
    return keepalive_telling(proc, session, tell_ms, deadline, out, log_count, err);
}

static bool op_open_session(Dcs *base, int64_t ttl_ms, const char *resume, Deadline deadline,
                            const char **out_session, LeaseProof *out, Error *err)
{
    AgentProc *proc = proc_of(base);
    SimDcs *dcs = &proc->dcs;
    int64_t id = 0;
    size_t log_count;
    const bool stays = proc->sim->options.sessions_stay && str_empty(resume) && dcs->session[0];
    // What a predecessor has told holds until something else is told.
    const bool as_told = proc->sim->options.sessions_stay && !str_empty(resume);
    dcs->session_ttl_ms = as_told ? INT64_MAX : ttl_ms;
    if (!str_empty(resume) || stays) {
        if (parse_int64(stays ? dcs->session : resume, &id) &&
            keepalive_telling(proc, id, 0, deadline, out, &log_count, err)) {
            if (!stays)
                (void)copy_text(dcs->session, sizeof dcs->session, resume);
            if (as_told)
                dcs->session_ttl_ms = out->ttl_ms;
            *out_session = dcs->session;
            return true;
        }
        if (!stays || err->kind != ERR_CONFLICT)
            return error_wrap(err, "resume the session");
        *err = (Error){0};
    }
    const Instant sent_at = host_now(proc->member);
    Mail *mail = mail_new(proc, OP_KEEPALIVE, apply_grant);
    mail->ttl_ms = ttl_ms;
    Mail *reply = mail_call(mail, "grant", deadline, err);
    if (!reply)
        return false;
    (void)snprintf(dcs->session, sizeof dcs->session, "%lld", (long long)reply->session);
    mail_free(proc->sim, reply);
    *out = proof_of(proc, sent_at, ttl_ms);
    *out_session = dcs->session;
    return true;
}

static bool op_keep_session(Dcs *base, Deadline deadline, LeaseProof *out, Error *err)
{
    AgentProc *proc = proc_of(base);
    size_t log_count;
    if (!keepalive(proc, session_of(proc), deadline, out, &log_count, err))
        return false;
    watch_check(proc, log_count, 20);
    return true;
}

// --- the leader key

static void put_term(Sim *sim, Mail *mail, int64_t term)
{
    const AcquireRequest *r = &mail->acquire;
    store_put(sim, "howdah",
              records_term(mail->arena, name_of(mail->from), r->instance, term, r->parent_timeline,
                           r->timeline, false, false, LSN_NONE),
              0);
}

// An earlier copy of this very request has won, and its reply was lost.
static bool has_won_before(Sim *sim, Mail *mail)
{
    const StoreKey *leader = store_key(sim, "leader"), *term = store_key(sim, "howdah");
    return mail->perhaps_before && leader && term && leader->lease == mail->session &&
           str_eq(leader->value, name_of(mail->from)) &&
           leader->mod_revision == term->mod_revision &&
           strstr(term->value, mail->acquire.instance);
}

static void apply_acquire(Sim *sim, Mail *mail)
{
    const AcquireRequest *r = &mail->acquire;
    const StoreKey *leader = store_key(sim, "leader");
    if (!store_lease(sim, mail->session)) {
        (void)refuse(mail, ERR_CONFLICT, "the lease is gone");
        return;
    }
    const bool bootstrap_lost = r->bootstrap && store_key(sim, "initialize");
    if (!store_at(sim, "leader", r->over_leader_revision) ||
        !store_at(sim, "sync", r->sync_revision) ||
        !store_at(sim, "failover", r->failover_revision) ||
        !store_at(sim, "failsafe", r->failsafe_revision) ||
        !store_at(sim, "config", r->config_revision) ||
        !store_at(sim, "howdah", r->term_revision) || bootstrap_lost) {
        mail->term = leader ? leader->create_revision : 0;
        if (!has_won_before(sim, mail))
            (void)refuse(mail, ERR_CONFLICT, "the keys have moved on");
        return;
    }
    store_begin(sim);
    put_term(sim, mail, leader ? leader->create_revision : 0);
    store_put(sim, "leader", name_of(mail->from), mail->session);
    if (r->bootstrap)
        store_put(sim, "initialize", "", mail->session);
    mail->revision = store_end(sim, name_of(mail->from));
    mail->term = store_key(sim, "leader")->create_revision;
    check_acquired(mail->from);
}

static bool op_acquire(Dcs *base, const AcquireRequest *request, Deadline deadline, Acquired *out,
                       Error *err)
{
    AgentProc *proc = proc_of(base);
    LeaseProof proof;
    size_t log_count;
    if (!keepalive(proc, session_of(proc), deadline, &proof, &log_count, err)) {
        if (err->kind == ERR_UNCERTAIN)
            err->kind = ERR_UNAVAILABLE; // the key has not been asked for
        return false;
    }
    Mail *mail = mail_new(proc, OP_ACQUIRE, apply_acquire);
    mail->acquire = *request;
    mail->acquire.instance = arena_strdup(mail->arena, request->instance);
    mail->session = session_of(proc);
    Mail *reply = mail_call(mail, "acquire", deadline, err);
    if (!reply)
        return false;
    *out = (Acquired){.term = reply->term, .proof = proof};
    proc->dcs.own_term = reply->term;
    proc->dcs.own_parent = request->parent_timeline;
    watch_wait_for_own(proc, reply);
    mail_free(proc->sim, reply);
    return true;
}

static bool is_holder(Sim *sim, const Mail *mail)
{
    const StoreKey *leader = store_key(sim, "leader");
    return leader && leader->lease == mail->session && mail->session != 0 &&
           leader->create_revision == mail->term;
}

static void apply_renew(Sim *sim, Mail *mail)
{
    if (!is_holder(sim, mail)) {
        (void)refuse(mail, ERR_CONFLICT, "the leader key is not ours");
        return;
    }
    if (!mail->status)
        return;
    store_begin(sim);
    store_put(sim, "status", mail->status, 0);
    (void)store_end(sim, name_of(mail->from));
}

static bool op_renew(Dcs *base, int64_t term, const char *status, Deadline deadline,
                     LeaseProof *out, Error *err)
{
    AgentProc *proc = proc_of(base);
    LeaseProof proof;
    size_t log_count;
    if (!keepalive(proc, session_of(proc), deadline, &proof, &log_count, err))
        return false;
    Mail *mail = mail_new(proc, OP_RENEW, apply_renew);
    mail->session = session_of(proc);
    mail->term = term;
    mail->status = arena_strdup(mail->arena, status);
    Mail *reply = mail_call(mail, "renew", deadline, err);
    if (!reply)
        return false;
    *out = proof;
    watch_check(proc, reply->log_count, 30);
    mail_free(proc->sim, reply);
    return true;
}

static void apply_release(Sim *sim, Mail *mail)
{
    const StoreKey *record = store_key(sim, "howdah");
    if (!is_holder(sim, mail)) {
        // Nobody else writes our marker for this term: then an earlier copy has done it.
        if (!record || !str_eq(record->value, mail->text))
            (void)refuse(mail, ERR_CONFLICT, "the leader key is not ours");
        return;
    }
    store_begin(sim);
    store_delete(sim, "leader");
    store_put(sim, "howdah", mail->text, 0);
    if (mail->status)
        store_put(sim, "status", mail->status, 0);
    (void)store_end(sim, name_of(mail->from));
}

// What is known of our term stays in the marker.
static char *release_marker(AgentProc *proc, Arena *arena, const ReleaseRequest *r)
{
    ClusterView view = {0};
    const bool known = etcd_cache_view(&proc->dcs.cache, arena, &view) &&
                       term_record_valid(&view.term, &view.leader) &&
                       view.leader.create_revision == r->term;
    const uint32_t parent = known                           ? view.term.parent_timeline
                            : proc->dcs.own_term == r->term ? proc->dcs.own_parent
                                                            : 0;
    return records_term(arena, name_of(proc), r->instance, r->term, parent, r->timeline,
                        known && view.term.confirmed, true, r->lsn);
}

static bool op_release(Dcs *base, const ReleaseRequest *r, Deadline deadline, Error *err)
{
    AgentProc *proc = proc_of(base);
    check_release(proc);
    Mail *mail = mail_new(proc, OP_RELEASE, apply_release);
    mail->session = session_of(proc);
    mail->term = r->term;
    mail->status = arena_strdup(mail->arena, r->status);
    mail->text = release_marker(proc, mail->arena, r);
    Mail *reply = mail_call(mail, "release", deadline, err);
    if (!reply)
        return false;
    watch_wait_for_own(proc, reply);
    return done(reply);
}

// --- the other keys

static void apply_put_member(Sim *sim, Mail *mail)
{
    if (!store_lease(sim, mail->session)) {
        (void)refuse(mail, ERR_CONFLICT, "the lease is gone");
        return;
    }
    if (sim_no_primary(sim))
        sim->member_writes_between++;
    store_begin(sim);
    store_put(sim, mail->key, mail->value, mail->session);
    (void)store_end(sim, name_of(mail->from));
}

static bool op_put_member(Dcs *base, const char *json, Deadline deadline, Error *err)
{
    AgentProc *proc = proc_of(base);
    Mail *mail = mail_new(proc, OP_WRITE, apply_put_member);
    mail->key = arena_printf(mail->arena, "members/%s", name_of(proc));
    mail->session = session_of(proc);
    mail->value = arena_strdup(mail->arena, json);
    return done(mail_call(mail, "put member", deadline, err));
}

static void apply_write(Sim *sim, Mail *mail)
{
    if (mail->expected != REVISION_ANY && !store_at(sim, mail->key, mail->expected)) {
        const StoreKey *is = store_key(sim, mail->key);
        const bool done_before = mail->perhaps_before && str_eq(is ? is->value : NULL, mail->value);
        mail->revision = is ? is->mod_revision : sim->store.revision;
        if (!done_before)
            (void)refuse(mail, ERR_CONFLICT, "the key has moved on");
        return;
    }
    store_begin(sim);
    if (mail->value)
        store_put(sim, mail->key, mail->value, 0);
    else
        store_delete(sim, mail->key);
    mail->revision = store_end(sim, name_of(mail->from));
}

static bool op_write(Dcs *base, DcsKey key, const char *value, int64_t expected, Deadline deadline,
                     int64_t *out_revision, Error *err)
{
    AgentProc *proc = proc_of(base);
    Mail *mail = mail_new(proc, OP_WRITE, apply_write);
    mail->key = records_key_name((int)key);
    mail->value = arena_strdup(mail->arena, value);
    mail->expected = expected;
    mail->once = expected == REVISION_ANY;
    Mail *reply = mail_call(mail, mail->key, deadline, err);
    if (!reply)
        return false;
    if (out_revision)
        *out_revision = reply->revision;
    watch_wait_for_own(proc, reply);
    mail_free(proc->sim, reply);
    return true;
}

static bool op_remove_cluster(Dcs *base, Deadline deadline, Error *err)
{
    (void)base, (void)deadline;
    return error_set(err, ERR_INVALID, "remove: howdahctl's alone");
}

static int op_event_fd(Dcs *base)
{
    (void)base;
    return -1; // the loop that would wait for it is the simulator's own
}

static void op_set_ttl(Dcs *base, int64_t ttl_ms, int64_t loop_wait_ms, int64_t retry_timeout_ms)
{
    (void)base, (void)ttl_ms, (void)loop_wait_ms, (void)retry_timeout_ms;
}

static void op_free(Dcs *base)
{
    (void)base;
}

void dcs_init(AgentProc *proc)
{
    static const DcsOps ops = {
        .view = op_view,
        .refresh = op_refresh,
        .open_session = op_open_session,
        .keep_session = op_keep_session,
        .acquire = op_acquire,
        .renew = op_renew,
        .release = op_release,
        .put_member = op_put_member,
        .write = op_write,
        .remove_cluster = op_remove_cluster,
        .event_fd = op_event_fd,
        .set_ttl = op_set_ttl,
        .free = op_free,
    };
    proc->dcs.base.ops = &ops;
    proc->dcs.scratch = arena_new(ARENA_CAP_DEFAULT);
    etcd_cache_init(&proc->dcs.cache, proc->member->name);
    watch_begin(proc);
}

void dcs_done(AgentProc *proc)
{
    etcd_cache_done(&proc->dcs.cache);
    arena_free(proc->dcs.scratch);
}
