// Carries one conditional write through: the resourceVersion makes it safe to send again, and what
// became of a lost one stands in the object.
#include "dcs/kubernetes/store.h"

#include <string.h>

typedef struct {
    Kube *kube;
    const KubeUpdate *update;
    Deadline deadline;
    Arena *arena;
    const char *name;
    KubeKind kind;
    KubePatch patch;     // the one sent last
    const char *version; // it was sent against; NULL: the object was absent
    bool sent, perhaps;  // something left; something left whose outcome is not known
    Instant first_sent;
} Attempt;

// Leaves time to look what became of it.
static Deadline write_deadline(const Attempt *a)
{
    const int64_t left = deadline_left_ms(a->deadline, kube_now(a->kube));
    return deadline_in(a->kube->shared.clock, left - left / 4);
}

// The object as it is known, in the call's arena, with the patch that it asks for.
static bool prepare(Attempt *a, bool *done, Error *err)
{
    Kube *kube = a->kube;
    pthread_mutex_lock(&kube->mutex);
    const KubeObject *known = kube_cache_object(&kube->cache, a->update->role);
    const Tree *object = known != NULL ? tree_copy(a->arena, known->tree) : NULL;
    const char *sent_against = a->version;
    a->version = known != NULL ? arena_strdup(a->arena, known->resource_version) : NULL;
    a->patch = kube_patch_new(a->arena, &kube->layout);
    arena_reset(kube->cache_arena);
    const bool ok = a->update->prepare(kube, a->update, object, &a->patch, done, err);
    pthread_mutex_unlock(&kube->mutex);
    // The copy of unknown fate may still be on its way, and finds what it was sent against.
    if (!ok && a->perhaps && str_eq(sent_against, a->version))
        err->kind = ERR_UNCERTAIN;
    return ok;
}

static bool send(Attempt *a, KubeReply *reply, Error *err)
{
    Kube *kube = a->kube;
    const bool create = a->version == NULL;
    const KubeRequest request = {
        .method = create ? KUBE_POST : KUBE_PATCH,
        .path = kube_path(a->arena, &kube->layout, a->kind, create ? NULL : a->name),
        .body = kube_patch_body(&a->patch, a->name, a->version, create),
        .retry_forbidden = a->update->retry_forbidden,
    };
    if (!a->sent)
        a->first_sent = kube_now(kube);
    a->sent = true;
    return kube_call(&kube->turn, a->arena, &request, write_deadline(a), reply, err);
}

static bool is_applied(Attempt *a)
{
    Kube *kube = a->kube;
    pthread_mutex_lock(&kube->mutex);
    const KubeObject *known = kube_cache_object(&kube->cache, a->update->role);
    const bool applied = known != NULL && kube_patch_applied(&a->patch, known->tree);
    pthread_mutex_unlock(&kube->mutex);
    return applied;
}

static bool has_moved(Attempt *a)
{
    Kube *kube = a->kube;
    pthread_mutex_lock(&kube->mutex);
    const KubeObject *known = kube_cache_object(&kube->cache, a->update->role);
    const bool moved = !str_eq(known != NULL ? known->resource_version : NULL, a->version);
    pthread_mutex_unlock(&kube->mutex);
    return moved;
}

// After a refusal or a lost reply: *out_again, or it is done.
static bool look(Attempt *a, bool *out_again, Error *err)
{
    const Error why = *err;
    *err = (Error){0};
    if (!kube_read_object(a->kube, &a->kube->turn, a->arena, a->kind, a->name, a->deadline, NULL,
                          err)) {
        if (!a->perhaps)
            return false;
        return error_set(err, ERR_UNCERTAIN, "%s", why.text);
    }
    *out_again = !(a->perhaps && is_applied(a));
    if (*out_again && a->perhaps && a->update->once && has_moved(a))
        return error_set(err, ERR_UNCERTAIN, "%s", why.text);
    return true;
}

bool kube_update(Kube *kube, const KubeUpdate *update, Deadline deadline, Instant *out_sent_at,
                 Error *err)
{
    Attempt a = {.kube = kube,
                 .update = update,
                 .deadline = deadline,
                 .arena = kube->arena,
                 .kind = kube_place(kube->layout.mode, update->role).kind};
    a.name = kube_object_name(a.arena, &kube->layout, update->role);
    for (;;) {
        bool done = false, again = false;
        KubeReply reply = {0};
        if (!prepare(&a, &done, err))
            return error_wrap(err, "%s", update->what);
        if (done) {
            *out_sent_at = a.sent ? a.first_sent : kube_now(kube);
            return true;
        }
        if (send(&a, &reply, err)) {
            kube_take_reply(kube, a.kind, a.name, &reply);
            *out_sent_at = reply.sent_at;
            return true;
        }
        a.perhaps = a.perhaps || err->kind == ERR_UNCERTAIN;
        if (err->kind != ERR_UNCERTAIN && err->kind != ERR_CONFLICT) {
            if (a.perhaps)
                err->kind = ERR_UNCERTAIN;
            return error_wrap(err, "%s", update->what);
        }
        const Error why = *err;
        if (!look(&a, &again, err))
            return error_wrap(err, "%s", update->what);
        if (!again) {
            *out_sent_at = a.first_sent;
            return true;
        }
        if (deadline_over(kube->shared.clock, deadline))
            return error_set(err, a.perhaps ? ERR_UNCERTAIN : ERR_UNAVAILABLE, "%s: %s",
                             update->what, why.text);
    }
}
