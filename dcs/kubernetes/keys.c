// The other keys, by compare-and-swap on what was seen of each: docs/store.md, "On Kubernetes".
#include "dcs/kubernetes/store.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
    DcsKey key;
    const char *value; // NULL: deleted
    int64_t expected;
    const char *claim; // of initialize: NULL for none
} KeyWrite;

// Whose cluster the shared ConfigMap describes is said beside initialize, and goes with it.
static void mark_initialize(const Kube *kube, const KeyWrite *write, KubePatch *patch)
{
    kube_patch_text(patch, ANNOTATION_CLAIM, write->claim);
    if (kube->layout.mode == KUBERNETES_LEASES)
        kube_patch_text(patch, ANNOTATION_STORE, write->value != NULL ? STORE_LEASES : NULL);
}

static bool prepare_write(Kube *kube, const KubeUpdate *update, const Tree *object,
                          KubePatch *patch, bool *done, Error *err)
{
    const KeyWrite *write = update->context;
    const int64_t is =
        kube_cache_key_revision(&kube->cache, kube->cache_arena, write->key, kube_now(kube));
    if (write->expected != REVISION_ANY && is != write->expected)
        return error_set(err, ERR_CONFLICT, "it is at revision %" PRId64 ", not %" PRId64, is,
                         write->expected);
    *done = write->value == NULL &&
            kube_key_value(patch->arena, kube->layout.mode, write->key, object) == NULL;
    if (*done)
        return true;
    if (!kube_key_patch(patch->arena, kube->layout.mode, write->key, write->value,
                        patch->annotations))
        return error_set(err, ERR_INVALID, "the value is no JSON object");
    if (write->key == KEY_INITIALIZE)
        mark_initialize(kube, write, patch);
    return true;
}

static bool write_key(Kube *kube, KeyWrite *write, Deadline deadline, Error *err)
{
    const char *name = records_key_name((int)write->key);
    const KubeUpdate update = {
        .what = arena_printf(kube->arena, "write '%s'", name),
        .role = kube_key_place(kube->layout.mode, write->key)->role,
        .prepare = prepare_write,
        .context = write,
        .once = write->expected == REVISION_ANY,
    };
    Instant sent_at;
    return kube_update(kube, &update, deadline, &sent_at, err);
}

// Without watches nobody else fills the cache, and what is not known cannot be compared.
static bool know_object(Kube *kube, KubeRole role, Deadline deadline, Error *err)
{
    pthread_mutex_lock(&kube->mutex);
    const bool filled = kube->cache.filled;
    pthread_mutex_unlock(&kube->mutex);
    return filled || kube_read_object(
                         kube, &kube->turn, kube->arena, kube_place(kube->layout.mode, role).kind,
                         kube_object_name(kube->arena, &kube->layout, role), deadline, NULL, err);
}

bool kube_op_write(Dcs *dcs, DcsKey key, const char *value, int64_t expected, Deadline deadline,
                   int64_t *out_revision, Error *err)
{
    Kube *kube = kube_of(dcs);
    KeyWrite write = {.key = key, .value = value, .expected = expected};
    (void)kube_begin(kube);
    if (!know_object(kube, kube_key_place(kube->layout.mode, key)->role, deadline, err) ||
        !write_key(kube, &write, deadline, err))
        return false;
    pthread_mutex_lock(&kube->mutex);
    arena_reset(kube->cache_arena);
    if (out_revision != NULL)
        *out_revision =
            kube_cache_key_revision(&kube->cache, kube->cache_arena, key, kube_now(kube));
    kube->service_due = kube->service_due || key == KEY_CONFIG;
    pthread_mutex_unlock(&kube->mutex);
    kube_raise(kube->upkeep_fd);
    return true;
}

bool kube_claim_initialize(Kube *kube, Deadline deadline, Error *err)
{
    KeyWrite write = {.key = KEY_INITIALIZE, .value = "", .claim = kube->session};
    return write_key(kube, &write, deadline, err);
}

// Whatever of ours bears the labels; pods and Services stay. A second copy deletes what was made
// anew in between, which is what was asked for.
static bool delete_collection(Kube *kube, KubeKind kind, Deadline deadline, Error *err)
{
    const KubeRequest request = {.method = KUBE_DELETE,
                                 .path = kube_path(kube->arena, &kube->layout, kind, NULL),
                                 .query = kube_label_query(kube->arena, kube->layout.labels,
                                                           kube->layout.scope_label,
                                                           kube->layout.scope)};
    KubeReply reply = {0};
    do {
        *err = (Error){0};
        if (kube_call(&kube->turn, kube->arena, &request, deadline, &reply, err))
            return true;
    } while (err->kind == ERR_UNCERTAIN && !deadline_over(kube->shared.clock, deadline));
    return error_wrap(err, "delete every %s of '%s'", kube_kind_name(kind), kube->layout.scope);
}

// The modes share objects, and labels: what another one uses would go, too.
static bool is_here_alone(Kube *kube, Deadline deadline, Error *err)
{
    const char *elsewhere;
    if (!kube_find_elsewhere(kube, deadline, &elsewhere, err))
        return false;
    return elsewhere == NULL ||
           error_set(err, ERR_INVALID,
                     "%s: with %s this would be the wrong one. If nobody uses that any more, "
                     "delete it first: howdahctl doctor says how",
                     elsewhere, kube_mode_line(kube->layout.mode));
}

bool kube_op_remove_cluster(Dcs *dcs, Deadline deadline, Error *err)
{
    Kube *kube = kube_of(dcs);
    (void)kube_begin(kube);
    if (!is_here_alone(kube, deadline, err))
        return false;
    for (KubeCollection c = COLLECTION_STATE; c < kube_collection_count(kube->layout.mode); c++) {
        if (!delete_collection(kube, kube_collection_kind(kube->layout.mode, c), deadline, err) ||
            !kube_list_collection(kube, kube->arena, c, deadline, err))
            return false;
    }
    return true;
}
