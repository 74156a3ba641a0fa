// What anybody may send to a probe: a path, ?lag=, ?replication_state=, a tag. And a point in time.
// No bytes make a check say anything but 200 or 503, and a member without a lease is no primary.
#include "api/health.h"
#include "common/base/timestamp.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const char *at, *end;
} Input;

// The next text, up to a NUL.
static const char *take(Input *in)
{
    const char *text = in->at;
    in->at += strlen(in->at) + (in->at < in->end ? 1 : 0);
    if (in->at > in->end)
        in->at = in->end;
    return text;
}

static void check_timestamp(const char *text)
{
    Timestamp once, again;
    if (!timestamp_parse(text, NULL, &once))
        return;
    const TimestampText iso = timestamp_format(&once, 'T');
    ASSERT(timestamp_parse(iso.text, NULL, &again)); // what we print is what we read
    ASSERT(again.has_zone == once.has_zone && timestamp_us(&again) == timestamp_us(&once) &&
           strcmp(iso.text, timestamp_format(&again, 'T').text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    char *text = arena_alloc(arena, size + 1);
    if (size > 0)
        memcpy(text, data, size);
    Input in = {.at = text, .end = text + size};
    const char *path = take(&in);
    const QueryItem items[] = {{"lag", take(&in)},
                               {"replication_state", take(&in)},
                               {arena_printf(arena, "tag_%.64s", take(&in)), take(&in)},
                               {"mode", "write"}};
    const Query query = {.items = items, .count = COUNT_OF(items)};
    Tree *tags = tree_map(arena);
    tree_set(arena, tags, "zone", tree_string(arena, "a"));
    tree_set(arena, tags, "n", tree_int(arena, 5));
    const Instant now = {1000};
    const Snapshot snapshot = {.name = "a",
                               .tags = tags,
                               .ttl_ms = 30000,
                               .cluster_known = true,
                               .cluster = {.seen_at = now, .optime = 1000},
                               .server = {.running = true,
                                          .answered = true,
                                          .in_recovery = true,
                                          .replay_lsn = 800,
                                          .streaming = true,
                                          .role = ROLE_REPLICA,
                                          .state = STATE_RUNNING}};
    const int health = health_status(&snapshot, now, path, &query);
    ASSERT(health == 503 || (health == 200 && strstr(path, "primary") == NULL &&
                             strstr(path, "leader") == NULL && strcmp(path, "/") != 0));
    const int ready = readiness_status(&snapshot, now, &query);
    ASSERT(ready == 200 || ready == 503);
    check_timestamp(take(&in));
    return 0;
}
