// The sampler thread: asks Postgres where it is, once for everybody who came before the question. A
// race counts only positions sampled after the asker saw the lease end (docs/architecture.md, "A
// turn").
#include "api/exchange.h"
#include "api/member_status.h"
#include "api/metrics.h"

typedef struct {
    Reply *replies[SAMPLE_KINDS]; // NULL: nobody asked for this kind
} Pages;

// Takes up all who wait now; what comes later is for the next round. Under the lock.
static bool take_up(Api *api, bool wanted[SAMPLE_KINDS])
{
    bool any = false;
    for (Exchange *x = api->suspended; x != NULL; x = x->next) {
        if (x->sample == SAMPLE_NONE || x->batch != 0)
            continue;
        if (!any)
            api->sample_batch++;
        any = wanted[x->sample] = true;
        x->batch = api->sample_batch;
    }
    return any;
}

static Pages make_pages(Api *api, const bool wanted[SAMPLE_KINDS])
{
    Pages pages = {0};
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    ServerView server;
    const bool sampled =
        api->host->sample(api->host, arena, deadline_in(api->clock, SAMPLE_MS), &server);

    const Instant now = clock_now(api->clock);
    AUTO(snapshot_release) Snapshot *snapshot = api->host->snapshot(api->host); // after the sample
    AUTO(policy_release) Policy *policy = api_policy(api);
    const StatusInput input = {
        .snapshot = snapshot,
        .server = sampled ? &server : NULL,
        .cluster_known = snapshot_cluster_known(snapshot, now),
        .position_age_ms = sampled ? instant_ms_between(server.answered_at, now) : -1,
    };
    if (wanted[SAMPLE_STATUS])
        pages.replies[SAMPLE_STATUS] =
            reply_new(policy, "application/json", status_document(arena, &input));
    if (wanted[SAMPLE_METRICS])
        pages.replies[SAMPLE_METRICS] =
            reply_new(policy, "text/plain", metrics_text(arena, &input, now));
    return pages;
}

static void hand_out(Api *api, uint64_t batch, Pages *pages)
{
    enum { OK = 200 };
    pthread_mutex_lock(&api->lock);
    for (Exchange *x = api->suspended, *next; x != NULL; x = next) {
        next = x->next;
        if (x->batch == batch)
            exchange_answer(x, OK, reply_ref(pages->replies[x->sample]));
    }
    pthread_mutex_unlock(&api->lock);
    for (size_t i = 0; i < SAMPLE_KINDS; i++)
        reply_unref(pages->replies[i]);
}

void *sampler_main(void *argument)
{
    Api *api = argument;
    pthread_mutex_lock(&api->lock);
    while (!api->stopping) {
        bool wanted[SAMPLE_KINDS] = {false};
        if (!take_up(api, wanted)) {
            pthread_cond_wait(&api->sample_wanted, &api->lock);
            continue;
        }
        const uint64_t batch = api->sample_batch;
        pthread_mutex_unlock(&api->lock);
        Pages pages = make_pages(api, wanted);
        hand_out(api, batch, &pages);
        pthread_mutex_lock(&api->lock);
    }
    pthread_mutex_unlock(&api->lock);
    return NULL;
}
