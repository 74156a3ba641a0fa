// What an API server may say of our objects: a byte for the mode, then a line for each message, led
// by a letter: a list of pods, of the state, of the configuration; an object, or its end; an
// answer. No bytes stop the agent, and whatever is kept can be looked at.
#include "dcs/kubernetes/answer.h"
#include "dcs/kubernetes/body.h"
#include "dcs/kubernetes/cache.h"
#include "dcs/kubernetes/labels.h"
#include "dcs/kubernetes/signs.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static KubernetesLabel label_items[] = {{"application", "howdah"}};
static const KubernetesLabels labels = {label_items, 1};
static KubernetesPort ports[] = {{.port = 5432, .protocol = "TCP"}};
static const KubernetesSettings settings = {.labels = {label_items, 1},
                                            .scope_label = "cluster-name",
                                            .role_label = "role",
                                            .leader_label_value = "primary",
                                            .follower_label_value = "replica",
                                            .standby_leader_label_value = "primary",
                                            .ports = ports,
                                            .port_count = 1};

typedef struct {
    KubeCache cache;
    KubeLayout layout;
    Arena *arena;
    int64_t now_ms;
} World;

static Instant now_of(World *world)
{
    world->now_ms += 1000;
    return instant_plus_ms((Instant){1}, world->now_ms);
}

static void take_answer(World *world, const Tree *document, char *text)
{
    const KubeRequest request = {.method = KUBE_PATCH, .path = "/api/v1/namespaces/ns/pods/a"};
    const HttpReply reply = {
        .status = (int)tree_get_int(document, "code", 200), .body = text, .length = strlen(text)};
    KubeAnswer answer;
    (void)kube_judge(world->arena, &request, &reply, NULL, 0, &answer);
    const Tree *items = tree_get(document, "items");
    const Tree *signs = kube_sign_labels(world->arena, &(ClusterSigns){.leader = "a"});
    (void)kube_service_of_cluster(&world->layout, items);
    for (size_t i = 0; items != NULL && i < items->count; i++)
        (void)kube_signs_missing(world->arena, &world->layout, signs, items->entries[i].value);
}

static void take_line(World *world, char letter, char *text)
{
    const Tree *document = NULL;
    Error ignored = {0};
    if (!tree_parse_json(world->arena, text, &document, &ignored))
        return;
    const KubernetesObjects mode = world->layout.mode;
    const Tree *items = tree_get(document, "items"), *metadata = tree_get(document, "metadata");
    const int64_t version = kube_version_of(tree_get_string(metadata, "resourceVersion", NULL));
    const Instant now = now_of(world);
    if (letter >= '0' && letter <= '2') {
        const KubeCollection c = (KubeCollection)(letter - '0');
        if (c < kube_collection_count(mode) && items != NULL && items->kind == TREE_LIST)
            (void)kube_cache_list(&world->cache, world->arena, c, items, version, now, now);
    } else if (letter >= 'a' && letter < 'a' + KIND_COUNT) {
        (void)kube_cache_put(&world->cache, world->arena, (KubeKind)(letter - 'a'), document, now);
    } else if (letter >= 'A' && letter < 'A' + KIND_COUNT) {
        (void)kube_cache_remove(&world->cache, world->arena, (KubeKind)(letter - 'A'),
                                tree_get_string(metadata, "name", ""), version, now);
    } else {
        take_answer(world, document, text);
    }
}

// What the turn and the upkeep make of it.
static void look(World *world)
{
    const KubeCache *cache = &world->cache;
    Arena *arena = world->arena;
    ClusterView view;
    if (!kube_cache_view(cache, arena, "00000000000000ab", now_of(world), &view))
        return;
    ASSERT(view.member_count <= cache->pod_count);
    const KubeObject *leader = kube_cache_object(cache, OBJECT_LEADER);
    for (size_t i = 0; i < cache->pod_count; i++) {
        const Tree *pod = cache->pods[i]->tree;
        const PodFacts facts = {.leader = true, .role = "primary", .state = "running"};
        kube_labels_missing(arena, kube_pod_labels(arena, &settings, &facts), pod, tree_map(arena));
        (void)kube_bears_leader_label(&settings, pod);
        (void)kube_leader_subsets(arena, &world->layout, &settings, cache->pods[i]->name,
                                  leader != NULL ? leader->tree : NULL, pod);
    }
    if (leader == NULL)
        return;
    const LeaderWrite record = {.leader = "a",
                                .ttl_s = 30,
                                .transitions = 1,
                                .acquire_time = "2026-01-01T00:00:00.000001Z",
                                .renew_time = "2026-01-01T00:00:00.000002Z"};
    KubePatch patch = kube_patch_new(arena, &world->layout);
    kube_patch_record(&patch, &record);
    patch.subsets = kube_empty_subsets(arena, leader->tree);
    (void)kube_patch_applied(&patch, leader->tree);
    (void)kube_patch_body(&patch, "demo", leader->resource_version, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    World world = {.arena = arena,
                   .layout = {.mode = (KubernetesObjects)(data[0] % 3),
                              .namespace = "ns",
                              .scope = "demo",
                              .labels = &labels,
                              .scope_label = "cluster-name"}};
    kube_cache_init(&world.cache, &world.layout, "demo-0", 30000);
    char *at = arena_strndup(arena, (const char *)data + 1, size - 1);
    while (*at != '\0') {
        char *end = strchr(at, '\n');
        if (end != NULL)
            *end = '\0';
        if (*at != '\0')
            take_line(&world, at[0], at + 1);
        look(&world);
        at = end != NULL ? end + 1 : at + strlen(at);
    }
    kube_cache_done(&world.cache);
    return 0;
}
