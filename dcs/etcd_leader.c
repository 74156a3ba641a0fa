// The session and the leader key: docs/store.md, "The lease".
#include "dcs/etcd_store.h"

#include <inttypes.h>
#include <string.h>

// --- the session

static LeaseProof proof_of(Instant sent_at, int64_t asked_ms, int64_t ttl_s)
{
    // More than a year is no ttl of ours, and would overflow.
    const int64_t replied_ms = ttl_s < INT64_C(31536000) ? ttl_s * MS_PER_S : asked_ms;
    const int64_t ttl_ms = replied_ms < asked_ms ? replied_ms : asked_ms;
    return (LeaseProof){
        .sent_at = sent_at, .ttl_ms = ttl_ms, .valid_until = instant_plus_ms(sent_at, ttl_ms)};
}

static bool keep_alive(Etcd *etcd, const char *session, int64_t asked_ms, Deadline deadline,
                       LeaseProof *out, EtcdReply *reply, Error *err)
{
    const char *body = arena_printf(etcd->arena, "{\"ID\":\"%s\"}", session);
    if (!etcd_turn_call(etcd, "/lease/keepalive", body, ETCD_REPEATABLE, deadline, reply, err))
        return error_wrap(err, "keep session %s alive", session);
    const int64_t ttl_s = tree_get_int(reply->body, "TTL", 0);
    if (ttl_s <= 0)
        return error_set(err, ERR_CONFLICT, "session %s is gone", session);
    *out = proof_of(reply->sent_at, asked_ms, ttl_s);
    return true;
}

static bool keep_own(Etcd *etcd, Deadline deadline, LeaseProof *out, EtcdReply *reply, Error *err)
{
    if (etcd->session == NULL)
        return error_set(err, ERR_CONFLICT, "no session is open");
    return keep_alive(etcd, etcd->session, etcd->session_ttl_ms, deadline, out, reply, err);
}

static bool grant(Etcd *etcd, int64_t ttl_ms, Deadline deadline, const char **out_session,
                  LeaseProof *out, Error *err)
{
    EtcdReply reply = {0};
    const int64_t ttl_s = (ttl_ms + MS_PER_S - 1) / MS_PER_S;
    const char *body = arena_printf(etcd->arena, "{\"TTL\":\"%" PRId64 "\"}", ttl_s);
    // A second grant after a lost reply leaves a lease that nobody uses, until it ends by itself.
    if (!etcd_turn_call(etcd, "/lease/grant", body, ETCD_REPEATABLE, deadline, &reply, err))
        return error_wrap(err, "open a session");
    const int64_t id = tree_get_int(reply.body, "ID", 0);
    const int64_t granted_s = tree_get_int(reply.body, "TTL", 0);
    if (id == 0 || granted_s <= 0)
        return error_set(err, ERR_UNCERTAIN, "open a session: reply without a lease");
    *out_session = arena_printf(etcd->kept, "%" PRId64, id);
    *out = proof_of(reply.sent_at, ttl_ms, granted_s);
    return true;
}

bool etcd_op_open_session(Dcs *dcs, int64_t ttl_ms, const char *resume, Deadline deadline,
                          const char **out_session, LeaseProof *out, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    const char *session = NULL;
    EtcdReply reply = {0};
    int64_t id = 0;
    (void)etcd_begin(etcd);
    if (str_empty(resume)) {
        if (!grant(etcd, ttl_ms, deadline, &session, out, err))
            return false;
    } else {
        if (!parse_int64(resume, &id) || id <= 0)
            return error_set(err, ERR_CONFLICT, "session '%s' is no lease of etcd", resume);
        session = arena_printf(etcd->arena, "%" PRId64, id); // as etcd writes it, to be compared
        if (!keep_alive(etcd, session, ttl_ms, deadline, out, &reply, err))
            return false;
        session =
            str_eq(session, etcd->session) ? etcd->session : arena_strdup(etcd->kept, session);
    }
    etcd->session = session;
    etcd->session_ttl_ms = ttl_ms;
    *out_session = session;
    return true;
}

// What a keepalive says beside: whether the view is behind, and that it is time to look around.
static void look_around(Etcd *etcd, const EtcdReply *reply, Deadline deadline)
{
    enum { GRACE_MS = 20, LEAST_MS = 200, MOST_MS = 500 };
    const bool behind = etcd_note_keepalive(etcd, reply);
    if (!atomic_load(&etcd->watching))
        return;
    const int64_t half = etcd_left_ms(etcd, deadline) / 2;
    if (half < LEAST_MS)
        return;
    const Deadline own = deadline_in(etcd->shared.clock, half < MOST_MS ? half : MOST_MS);
    Error ignored = {0}; // the session is proven, which is what counts
    bool current = true;
    // Somebody else's keys raise the revision too, so being behind is no news yet.
    if (behind && !etcd_wait_for_view(etcd, reply->revision, GRACE_MS) &&
        etcd_probe(etcd, &etcd->turn, etcd->arena, own, &current, &ignored) && !current)
        etcd_watch_restart(etcd, false);
    etcd_discover_members(etcd, &etcd->turn, own);
}

bool etcd_op_keep_session(Dcs *dcs, Deadline deadline, LeaseProof *out, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    (void)etcd_begin(etcd);
    if (!keep_own(etcd, deadline, out, &reply, err))
        return false;
    look_around(etcd, &reply, deadline);
    return true;
}

// --- the leader key

static int64_t session_number(const Etcd *etcd)
{
    int64_t id = 0;
    const bool ok = parse_int64(etcd->session, &id);
    ASSERT(ok); // open_session has checked it
    return id;
}

static bool is_ours(const Etcd *etcd, const RawKey *leader)
{
    return leader != NULL && str_eq(leader->value, etcd->member) &&
           str_eq(leader->lease, etcd->session);
}

static void read_term(Arena *arena, const RawKey *raw, TermRecord *out)
{
    ClusterView view = {0};
    if (raw != NULL)
        records_parse(arena, raw, 1, 0, &view);
    *out = view.term;
}

// The key that is to be taken over keeps its create_revision, and that is the term. So the record
// has to name it; where the key is new, the record's own revision does.
static bool find_term(Etcd *etcd, int64_t over_revision, Deadline deadline, int64_t *out_term,
                      Error *err)
{
    EtcdReply reply = {0};
    *out_term = 0;
    if (over_revision == 0)
        return true;
    if (!etcd_turn_call(etcd, "/kv/range", etcd_range_body(etcd->arena, etcd->base, "leader"),
                        ETCD_READ, deadline, &reply, err))
        return false;
    const EtcdKeys keys = etcd_keys_of(etcd->arena, etcd->base, reply.body);
    if (keys.count != 1 || keys.keys[0].mod_revision != over_revision)
        return error_set(err, ERR_CONFLICT, "the leader key has changed since it was looked at");
    *out_term = keys.keys[0].create_revision;
    return true;
}

static char *acquire_body(Etcd *etcd, const AcquireRequest *request, int64_t term)
{
    const struct {
        const char *key;
        int64_t revision;
    } seen[] = {
        {"leader", request->over_leader_revision}, {"sync", request->sync_revision},
        {"failover", request->failover_revision},  {"failsafe", request->failsafe_revision},
        {"config", request->config_revision},      {"howdah", request->term_revision},
    };
    EtcdTxn txn = etcd_txn_new(etcd->arena, etcd->base);
    for (size_t i = 0; i < COUNT_OF(seen); i++)
        etcd_txn_compare_revision(&txn, seen[i].key, seen[i].revision);
    if (request->bootstrap)
        etcd_txn_compare_revision(&txn, "initialize", 0);
    etcd_txn_put(&txn, "leader", etcd->member, etcd->session);
    etcd_txn_put(&txn, "howdah",
                 records_term(etcd->arena, etcd->member, request->instance, term,
                              request->parent_timeline, request->timeline, false, false, LSN_NONE),
                 NULL);
    if (request->bootstrap)
        etcd_txn_put(&txn, "initialize", "", etcd->session);
    etcd_txn_range(&txn, ETCD_FAILURE, "leader");
    etcd_txn_range(&txn, ETCD_FAILURE, "howdah");
    return etcd_txn_body(&txn);
}

// The compares failed. After a lost reply that may be because an earlier copy has won: leader key
// and term record then bear our lease and instance, and stem from one transaction.
static bool read_lost_acquire(Etcd *etcd, const AcquireRequest *request, const EtcdReply *reply,
                              int64_t *out_term, Error *err)
{
    const RawKey *leader = etcd_txn_key(etcd->arena, etcd->base, reply->body, 0);
    const RawKey *record = etcd_txn_key(etcd->arena, etcd->base, reply->body, 1);
    TermRecord term;
    read_term(etcd->arena, record, &term);
    if (reply->perhaps_before && is_ours(etcd, leader) &&
        term.mod_revision == leader->mod_revision && str_eq(term.holder, etcd->member) &&
        str_eq(term.instance, request->instance)) {
        *out_term = leader->create_revision;
        return true;
    }
    if (leader != NULL && leader->mod_revision != request->over_leader_revision)
        return error_set(err, ERR_CONFLICT, "acquire: '%.64s' holds the leader key", leader->value);
    return error_set(err, ERR_CONFLICT, "acquire: a key it was decided from has changed");
}

bool etcd_op_acquire(Dcs *dcs, const AcquireRequest *request, Deadline deadline, Acquired *out,
                     Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    LeaseProof proof;
    int64_t term = 0;
    (void)etcd_begin(etcd);
    if (!keep_own(etcd, deadline, &proof, &reply, err) ||
        !find_term(etcd, request->over_leader_revision, deadline, &term, err)) {
        if (err->kind == ERR_UNCERTAIN)
            err->kind = ERR_UNAVAILABLE; // of the key nothing was sent yet
        return error_wrap(err, "acquire");
    }
    if (!etcd_turn_call(etcd, "/kv/txn", acquire_body(etcd, request, term), ETCD_GUARDED, deadline,
                        &reply, err))
        return error_wrap(err, "acquire");
    etcd_note_reply(etcd, &reply, NULL);
    if (!etcd_txn_succeeded(reply.body)) {
        if (!read_lost_acquire(etcd, request, &reply, &term, err))
            return false;
    } else if (request->over_leader_revision == 0) {
        term = reply.revision;
    }
    *out = (Acquired){.term = term, .proof = proof};
    etcd->own_term = term;
    etcd->own_parent_timeline = request->parent_timeline;
    etcd_wait_for_own_write(etcd, &reply, deadline);
    return true;
}

static void compare_ours(const Etcd *etcd, EtcdTxn *txn, int64_t term)
{
    etcd_txn_compare(txn, "leader", ETCD_LEASE, session_number(etcd));
    etcd_txn_compare(txn, "leader", ETCD_CREATE, term);
}

static bool not_ours(Etcd *etcd, const char *what, const RawKey *leader, Error *err)
{
    if (leader == NULL)
        return error_set(err, ERR_CONFLICT, "%s: the leader key is gone", what);
    return error_set(err, ERR_CONFLICT, "%s: the leader key is not ours any more ('%.64s'%s)", what,
                     leader->value, is_ours(etcd, leader) ? ", a later term" : "");
}

bool etcd_op_renew(Dcs *dcs, int64_t term, const char *status, Deadline deadline, LeaseProof *out,
                   Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    LeaseProof proof;
    (void)etcd_begin(etcd);
    if (!keep_own(etcd, deadline, &proof, &reply, err))
        return error_wrap(err, "renew");

    EtcdTxn txn = etcd_txn_new(etcd->arena, etcd->base);
    compare_ours(etcd, &txn, term);
    // The ranges do more than tell us something. etcd answers a transaction without any from its
    // own memory, and that would prove nothing; with one it asks the cluster first.
    etcd_txn_probe(&txn, ETCD_SUCCESS);
    etcd_txn_range(&txn, ETCD_FAILURE, "leader");
    if (status != NULL)
        etcd_txn_put(&txn, "status", status, NULL);
    if (!etcd_turn_call(etcd, "/kv/txn", etcd_txn_body(&txn), ETCD_REPEATABLE, deadline, &reply,
                        err))
        return error_wrap(err, "renew");
    if (!etcd_txn_succeeded(reply.body)) {
        etcd_note_reply(etcd, &reply, NULL);
        return not_ours(etcd, "renew", etcd_txn_key(etcd->arena, etcd->base, reply.body, 0), err);
    }
    *out = proof;
    if (status != NULL)
        reply.revision--; // the probe has looked before the put, which made this revision
    etcd_note_reply(etcd, &reply, etcd_txn_range_of(reply.body, 0));
    const Deadline own = deadline_in(etcd->shared.clock, etcd_left_ms(etcd, deadline) / 2);
    if (atomic_load(&etcd->watching))
        etcd_discover_members(etcd, &etcd->turn, own);
    return true;
}

// What is known of our term stays in the marker. The view may be behind; an agent that resumed the
// term has nothing else.
static char *release_marker(Etcd *etcd, const ReleaseRequest *request)
{
    ClusterView view = {0};
    const bool known = etcd_op_view(&etcd->dcs, etcd->arena, &view) &&
                       term_record_valid(&view.term, &view.leader) &&
                       view.leader.create_revision == request->term;
    const uint32_t parent = known                             ? view.term.parent_timeline
                            : etcd->own_term == request->term ? etcd->own_parent_timeline
                                                              : 0;
    return records_term(etcd->arena, etcd->member, request->instance, request->term, parent,
                        request->timeline, known && view.term.confirmed, true, request->lsn);
}

bool etcd_op_release(Dcs *dcs, const ReleaseRequest *request, Deadline deadline, Error *err)
{
    Etcd *etcd = etcd_of(dcs);
    EtcdReply reply = {0};
    (void)etcd_begin(etcd);
    if (etcd->session == NULL)
        return error_set(err, ERR_CONFLICT, "release: no session is open");

    EtcdTxn txn = etcd_txn_new(etcd->arena, etcd->base);
    compare_ours(etcd, &txn, request->term);
    etcd_txn_delete(&txn, "leader");
    etcd_txn_put(&txn, "howdah", release_marker(etcd, request), NULL);
    if (request->status != NULL)
        etcd_txn_put(&txn, "status", request->status, NULL);
    etcd_txn_range(&txn, ETCD_FAILURE, "leader");
    etcd_txn_range(&txn, ETCD_FAILURE, "howdah");
    if (!etcd_turn_call(etcd, "/kv/txn", etcd_txn_body(&txn), ETCD_GUARDED, deadline, &reply, err))
        return error_wrap(err, "release");
    etcd_note_reply(etcd, &reply, NULL);
    if (etcd_txn_succeeded(reply.body)) {
        etcd_wait_for_own_write(etcd, &reply, deadline);
        return true;
    }
    // Nobody else writes our marker for this term: then an earlier copy has done it.
    TermRecord record;
    const RawKey *leader = etcd_txn_key(etcd->arena, etcd->base, reply.body, 0);
    read_term(etcd->arena, etcd_txn_key(etcd->arena, etcd->base, reply.body, 1), &record);
    if (record.present && record.released && record.term == request->term &&
        str_eq(record.holder, etcd->member) && str_eq(record.instance, request->instance))
        return true;
    return not_ours(etcd, "release", leader, err);
}
