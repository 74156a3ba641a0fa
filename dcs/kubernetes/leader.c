// The session and the leader record: docs/store.md, "On Kubernetes".
#include "dcs/kubernetes/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// --- what we hold

static void keep_text(char **to, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    ASSERT(text == NULL || copy != NULL); // out of memory
    free(*to);
    *to = copy;
}

static void hold(Kube *kube, int64_t term, Instant valid_until)
{
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    const LeaderState state = kube_cache_leader(&kube->cache, kube->cache_arena);
    if (str_eq(state.session, kube->session) && state.term.term == term) {
        const KubeObject *object = kube_cache_object(&kube->cache, OBJECT_LEADER);
        keep_text(&kube->hold.acquire_time, state.record.acquire_time);
        keep_text(&kube->hold.term_text,
                  object != NULL ? kube_annotation(object->tree, ANNOTATION_TERM) : NULL);
    }
    kube->hold.term = term;
    kube->hold.valid_until = valid_until;
    pthread_mutex_unlock(&kube->mutex);
}

static LeaseProof proof_of(const Kube *kube, Instant sent_at)
{
    return (LeaseProof){.sent_at = sent_at,
                        .ttl_ms = kube->session_ttl_ms,
                        .valid_until = instant_plus_ms(sent_at, kube->session_ttl_ms)};
}

// Names, session and term: the transitions may have been edited, and are put right by a renewal.
static bool is_ours(const Kube *kube, const LeaderState *state, int64_t term)
{
    return str_eq(state->record.leader, kube->member) && str_eq(state->session, kube->session) &&
           state->term.present && !state->term.released && state->term.term == term;
}

static bool not_ours(const LeaderState *state, Error *err)
{
    if (!state->exists)
        return error_set(err, ERR_CONFLICT, "the leader's object is gone");
    return error_set(err, ERR_CONFLICT, "'%.64s' is in the leader's place, not we",
                     str_or(state->record.leader, ""));
}

// A renewal must change the record, and two stamps of ours are never the same.
static const char *new_stamp(Kube *kube)
{
    const int64_t now_us = clock_wall_us(kube->shared.clock);
    kube->last_stamp_us = now_us > kube->last_stamp_us ? now_us : kube->last_stamp_us + 1;
    return kube_time(kube->arena, kube->layout.mode, kube->last_stamp_us);
}

// Rounded up: others count by it, and we by what it was before.
static int64_t ttl_s_of(const Kube *kube)
{
    const int64_t ttl_s = (kube->session_ttl_ms + MS_PER_S - 1) / MS_PER_S;
    return ttl_s > 0 ? ttl_s : 1;
}

static void stamp_session(Kube *kube, KubePatch *patch, const char *stamp)
{
    kube_patch_text(patch, ANNOTATION_SESSION,
                    arena_printf(patch->arena, "%s %s", kube->session, stamp));
}

static void point_at_us(Kube *kube, KubePatch *patch, const Tree *object)
{
    if (kube->layout.mode != KUBERNETES_ENDPOINTS)
        return;
    const KubeObject *pod = kube_cache_pod(&kube->cache, kube->member);
    patch->subsets = kube_leader_subsets(patch->arena, &kube->layout, &kube->settings, kube->member,
                                         object, pod != NULL ? pod->tree : NULL);
}

static bool add_status(Kube *kube, KubePatch *patch, const char *status, Error *err)
{
    return status == NULL ||
           kube_key_patch(patch->arena, kube->layout.mode, KEY_STATUS, status,
                          patch->annotations) ||
           error_set(err, ERR_INVALID, "status is no JSON object");
}

// --- the session

static bool read_leader(Kube *kube, Deadline deadline, LeaderState *out, Instant *out_sent_at,
                        Error *err)
{
    const KubeKind kind = kube_place(kube->layout.mode, OBJECT_LEADER).kind;
    const char *name = kube_object_name(kube->arena, &kube->layout, OBJECT_LEADER);
    *out_sent_at = kube_now(kube);
    if (!kube_read_object(kube, &kube->turn, kube->arena, kind, name, deadline, NULL, err))
        return false;
    pthread_mutex_lock(&kube->mutex);
    const KubeObject *object = kube_cache_object(&kube->cache, OBJECT_LEADER);
    const Tree *copy = object != NULL ? tree_copy(kube->arena, object->tree) : NULL;
    pthread_mutex_unlock(&kube->mutex);
    *out = kube_leader_state(kube->arena, kube->layout.mode, copy);
    return true;
}

// False: it is too long to be one of ours.
static bool set_session(Kube *kube, const char *session)
{
    pthread_mutex_lock(&kube->mutex);
    const bool fits = strlen(session) < sizeof kube->session &&
                      copy_text(kube->session, sizeof kube->session, session);
    pthread_mutex_unlock(&kube->mutex);
    kube_raise(kube->upkeep_fd); // labels hang on it
    return fits;
}

bool kube_op_open_session(Dcs *dcs, int64_t ttl_ms, const char *resume, Deadline deadline,
                          const char **out_session, LeaseProof *out, Error *err)
{
    Kube *kube = kube_of(dcs);
    LeaderState state;
    Instant sent_at;
    (void)kube_begin(kube);
    ASSERT(kube->member != NULL); // howdahctl has no session
    if (!read_leader(kube, deadline, &state, &sent_at, err))
        return error_wrap(err, "open a session");
    const bool held =
        str_eq(state.record.leader, kube->member) && state.term.present && !state.term.released;
    if (!str_empty(resume)) {
        const bool known = str_eq(resume, kube->session);
        if (!known && (!held || !str_eq(state.session, resume)))
            return error_set(err, ERR_CONFLICT, "session '%.40s' holds nothing any more", resume);
        if (!known && !set_session(kube, resume))
            return error_set(err, ERR_CONFLICT, "session '%.40s' is none of ours", resume);
    } else if (kube->session[0] == '\0' || !held || !str_eq(state.session, kube->session)) {
        // Of another ttl alone: what we hold goes on, and its next renewal tells the new one.
        (void)set_session(kube, arena_printf(kube->arena, "%016" PRIx64, rng_next(&kube->rng)));
    }
    // One that is gone on with has a fence from before, armed by the ttl in the record: nothing
    // shorter is told until the caller has bound it.
    const bool goes_on = !str_empty(resume) && held && str_eq(state.session, resume);
    kube->session_ttl_ms = goes_on && state.ttl_s > 0 ? state.ttl_s * MS_PER_S : ttl_ms;
    *out_session = kube->session;
    *out = proof_of(kube, sent_at);
    return true;
}

bool kube_op_keep_session(Dcs *dcs, Deadline deadline, LeaseProof *out, Error *err)
{
    Kube *kube = kube_of(dcs);
    LeaderState state;
    Instant sent_at = kube_now(kube);
    (void)kube_begin(kube);
    if (kube->session[0] == '\0')
        return error_set(err, ERR_CONFLICT, "no session is open");
    // The leader renews once a loop: who hears it need not ask. The session proves nothing anyway.
    if (!kube_heard_since(kube, instant_plus_ms(sent_at, -kube->loop_wait_ms)) &&
        !read_leader(kube, deadline, &state, &sent_at, err))
        return error_wrap(err, "keep the session");
    *out = proof_of(kube, sent_at);
    return true;
}

// --- acquire

typedef struct {
    const AcquireRequest *request;
    const char *stamp;
    int64_t term;
} Acquire;

static bool check_seen(Kube *kube, const AcquireRequest *request, Instant now, Error *err)
{
    const struct {
        DcsKey key;
        int64_t revision;
    } seen[] = {
        {KEY_SYNC, request->sync_revision},         {KEY_FAILOVER, request->failover_revision},
        {KEY_FAILSAFE, request->failsafe_revision}, {KEY_CONFIG, request->config_revision},
        {KEY_TERM, request->term_revision},
    };
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        const int64_t is =
            kube_cache_key_revision(&kube->cache, kube->cache_arena, seen[i].key, now);
        if (is != seen[i].revision)
            return error_set(err, ERR_CONFLICT, "'%s' is at revision %" PRId64 ", not %" PRId64,
                             records_key_name((int)seen[i].key), is, seen[i].revision);
    }
    if (request->bootstrap &&
        kube_cache_key_revision(&kube->cache, kube->cache_arena, KEY_INITIALIZE, now) != 0)
        return error_set(err, ERR_CONFLICT, "somebody has initialized the cluster");
    return true;
}

static bool prepare_acquire(Kube *kube, const KubeUpdate *update, const Tree *object,
                            KubePatch *patch, bool *done, Error *err)
{
    Acquire *acquire = update->context;
    const AcquireRequest *request = acquire->request;
    const Instant now = kube_now(kube);
    const LeaderState state = kube_leader_state(patch->arena, kube->layout.mode, object);
    (void)done;
    // A newer version of the object will do if the record in it is the one that was decided from.
    // One without our labels was not seen at all; it names nobody, and gets them now.
    const bool bare = state.record.leader == NULL && state.record.transitions == NULL;
    if (kube->cache.leader_revision != request->over_leader_revision &&
        !(bare && request->over_leader_revision == 0))
        return not_ours(&state, err);
    if (kube_vacancy_leads(&kube->cache.vacancy, now) &&
        !(str_eq(state.record.leader, kube->member) && str_eq(state.session, kube->session)))
        return error_set(err, ERR_CONFLICT, "'%.64s' leads", state.record.leader);
    if (!check_seen(kube, request, now, err))
        return false;

    // One more with every acquire, also of the same name: a term names one acquisition.
    const int64_t transitions = kube->cache.transitions + 1;
    const LeaderWrite record = {.leader = kube->member,
                                .ttl_s = ttl_s_of(kube),
                                .transitions = transitions,
                                .acquire_time = acquire->stamp,
                                .renew_time = acquire->stamp};
    acquire->term = transitions + 1;
    kube_patch_record(patch, &record);
    kube_patch_text(patch, ANNOTATION_TERM,
                    records_term(patch->arena, kube->member, request->instance, acquire->term,
                                 request->parent_timeline, request->timeline, false, false,
                                 LSN_NONE));
    stamp_session(kube, patch, acquire->stamp);
    point_at_us(kube, patch, object);
    return true;
}

// Keys that the write itself cannot compare: what they are a moment before it.
static bool read_preconditions(Kube *kube, Deadline deadline, Error *err)
{
    if (kube->layout.mode != KUBERNETES_LEASES)
        return kube_list_collection(kube, kube->arena, COLLECTION_STATE, deadline, err);
    return kube_read_object(kube, &kube->turn, kube->arena, KIND_CONFIGMAPS,
                            kube_object_name(kube->arena, &kube->layout, OBJECT_CONFIG), deadline,
                            NULL, err);
}

static bool no_other_mode(Kube *kube, Deadline deadline, Error *err)
{
    const char *elsewhere;
    if (!kube_find_elsewhere(kube, deadline, &elsewhere, err))
        return false;
    return elsewhere == NULL || error_set(err, ERR_CONFLICT, "%s", elsewhere);
}

// The claim comes after the record, whose time is bounded: a bootstrap that dies leaves nothing.
static bool claim(Kube *kube, const AcquireRequest *request, int64_t term, Deadline deadline,
                  Error *err)
{
    if (kube_claim_initialize(kube, deadline, err))
        return true;
    Error ignored = {0}; // it runs out by itself
    const ReleaseRequest back = {
        .term = term, .instance = request->instance, .timeline = request->timeline};
    const Deadline brief = deadline_in(kube->shared.clock, 1000);
    (void)kube_op_release(&kube->dcs, &back, brief, &ignored);
    return false;
}

bool kube_op_acquire(Dcs *dcs, const AcquireRequest *request, Deadline deadline, Acquired *out,
                     Error *err)
{
    Kube *kube = kube_of(dcs);
    (void)kube_begin(kube);
    if (kube->session[0] == '\0')
        return error_set(err, ERR_CONFLICT, "acquire: no session is open");
    if (request->bootstrap && !no_other_mode(kube, deadline, err))
        return error_wrap(err, "acquire");
    if (!read_preconditions(kube, deadline, err))
        return error_wrap(err, "acquire");
    Acquire acquire = {.request = request, .stamp = new_stamp(kube)};
    const KubeUpdate update = {.what = "acquire",
                               .role = OBJECT_LEADER,
                               .prepare = prepare_acquire,
                               .context = &acquire,
                               .retry_forbidden = true};
    Instant sent_at;
    if (!kube_update(kube, &update, deadline, &sent_at, err))
        return false;
    if (request->bootstrap && !claim(kube, request, acquire.term, deadline, err))
        return error_wrap(err, "acquire");
    *out = (Acquired){.term = acquire.term, .proof = proof_of(kube, sent_at)};
    hold(kube, acquire.term, out->proof.valid_until);
    return true;
}

// --- renew

typedef struct {
    int64_t term;
    const char *status, *stamp;
} Renewal;

// Somebody deleted it by hand, or changed what stands beside the record. Its holder may put it back
// as it was, while nobody else can have taken it. The time of the acquisition is the holder's own:
// who acquires writes another one, also under the same name.
static bool put_back(Kube *kube, const Renewal *renewal, const LeaderState *state, KubePatch *patch,
                     LeaderWrite *record, Error *err)
{
    const KubeHold *held = &kube->hold;
    const bool as_we_left_it =
        !state->exists || (str_eq(state->record.leader, kube->member) &&
                           str_eq(state->record.acquire_time, held->acquire_time));
    if (!as_we_left_it || held->term != renewal->term || held->acquire_time == NULL ||
        held->term_text == NULL || !instant_before(kube_now(kube), held->valid_until))
        return not_ours(state, err);
    record->acquire_time = held->acquire_time;
    kube_patch_text(patch, ANNOTATION_TERM, held->term_text);
    return true;
}

static bool prepare_renewal(Kube *kube, const KubeUpdate *update, const Tree *object,
                            KubePatch *patch, bool *done, Error *err)
{
    const Renewal *renewal = update->context;
    const LeaderState state = kube_leader_state(patch->arena, kube->layout.mode, object);
    LeaderWrite record = {.leader = kube->member,
                          .ttl_s = ttl_s_of(kube),
                          .transitions = renewal->term - 1,
                          .acquire_time = str_or(state.record.acquire_time, renewal->stamp),
                          .renew_time = renewal->stamp};
    (void)done;
    if (!is_ours(kube, &state, renewal->term) &&
        !put_back(kube, renewal, &state, patch, &record, err))
        return false;
    kube_patch_record(patch, &record);
    stamp_session(kube, patch, renewal->stamp);
    point_at_us(kube, patch, object);
    return add_status(kube, patch, renewal->status, err);
}

bool kube_op_renew(Dcs *dcs, int64_t term, const char *status, Deadline deadline, LeaseProof *out,
                   Error *err)
{
    Kube *kube = kube_of(dcs);
    (void)kube_begin(kube);
    if (kube->session[0] == '\0')
        return error_set(err, ERR_CONFLICT, "renew: no session is open");
    Renewal renewal = {.term = term, .status = status, .stamp = new_stamp(kube)};
    const KubeUpdate update = {.what = "renew",
                               .role = OBJECT_LEADER,
                               .prepare = prepare_renewal,
                               .context = &renewal,
                               .retry_forbidden = true};
    // Seen to be another's in the cache alone: a cache proves nothing, so it is read first.
    LeaderState state;
    Instant sent_at;
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    state = kube_cache_leader(&kube->cache, kube->cache_arena);
    const bool doubtful = !is_ours(kube, &state, term);
    pthread_mutex_unlock(&kube->mutex);
    if (doubtful && !read_leader(kube, deadline, &state, &sent_at, err))
        return error_wrap(err, "renew");
    if (!kube_update(kube, &update, deadline, &sent_at, err))
        return false;
    *out = proof_of(kube, sent_at);
    hold(kube, term, out->valid_until);
    return true;
}

// --- release

static bool prepare_release(Kube *kube, const KubeUpdate *update, const Tree *object,
                            KubePatch *patch, bool *done, Error *err)
{
    const ReleaseRequest *request = update->context;
    const LeaderState state = kube_leader_state(patch->arena, kube->layout.mode, object);
    const TermRecord *term = &state.term;
    // Nobody else writes our marker for this term.
    *done = state.record.leader == NULL && term->present && term->released &&
            term->term == request->term && str_eq(term->holder, kube->member) &&
            str_eq(term->instance, request->instance);
    if (*done)
        return true;
    if (!is_ours(kube, &state, request->term))
        return not_ours(&state, err);
    const LeaderWrite nobody = {.leader = NULL};
    kube_patch_record(patch, &nobody);
    kube_patch_text(patch, ANNOTATION_TERM,
                    records_term(patch->arena, kube->member, request->instance, request->term,
                                 term->parent_timeline, request->timeline, term->confirmed, true,
                                 request->lsn));
    kube_patch_text(patch, ANNOTATION_SESSION, NULL);
    // kube-proxy makes two changes at once, and then one a second: in a handover the successor's
    // own must not have to wait for ours, which would lead from a stopped server to nowhere.
    if (kube->layout.mode == KUBERNETES_ENDPOINTS && !request->to_successor)
        patch->subsets = kube_empty_subsets(patch->arena, object);
    return add_status(kube, patch, request->status, err);
}

bool kube_op_release(Dcs *dcs, const ReleaseRequest *request, Deadline deadline, Error *err)
{
    Kube *kube = kube_of(dcs);
    (void)kube_begin(kube);
    if (kube->session[0] == '\0')
        return error_set(err, ERR_CONFLICT, "release: no session is open");
    ReleaseRequest own = *request;
    const KubeUpdate update = {
        .what = "release", .role = OBJECT_LEADER, .prepare = prepare_release, .context = &own};
    Instant sent_at;
    pthread_mutex_lock(&kube->mutex);
    kube->hold.term = 0; // whatever comes of it, the record is not put back
    pthread_mutex_unlock(&kube->mutex);
    if (request->to_successor)
        kube_leave_labels(kube, kube->arena);
    return kube_update(kube, &update, deadline, &sent_at, err);
}
