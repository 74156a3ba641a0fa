// ttl, loop_wait and retry_timeout under Patroni's rule, and what the fence takes of the ttl
// (docs/architecture.md, "The lease and the fence").
#include "common/model/settings_check.h"

#include <inttypes.h>

typedef struct {
    int64_t ttl, loop_wait, retry_timeout; // seconds
} Timers;

static int64_t at_least(int64_t value, int64_t low)
{
    return value < low ? low : value;
}

static Timers adjust(Timers timers, Timers minimum)
{
    timers.ttl = at_least(timers.ttl, minimum.ttl);
    timers.loop_wait = at_least(timers.loop_wait, minimum.loop_wait);
    timers.retry_timeout = at_least(timers.retry_timeout, minimum.retry_timeout);
    if (1 + 2 * timers.retry_timeout > timers.ttl) {
        timers.loop_wait = 1;
        timers.retry_timeout = (timers.ttl - 1) / 2;
    } else if (timers.loop_wait + 2 * timers.retry_timeout > timers.ttl) {
        timers.loop_wait = timers.ttl - 2 * timers.retry_timeout;
    }
    return timers;
}

static void warn_if_changed(Findings *findings, const Tree *dynamic, const char *name, int64_t from,
                            int64_t to)
{
    if (from != to)
        finding_warning(findings, tree_get(dynamic, name), name,
                        "adjusted from %" PRId64 " to %" PRId64
                        " (loop_wait + 2 * retry_timeout <= ttl, and the minima)",
                        from, to);
}

static int64_t margin_least_ms(const Settings *settings, int64_t wanted_ms)
{
    enum { SHORTEST_MS = 500 };
    // Killing takes about a millisecond a backend.
    const int64_t backends = tree_get_int(settings->postgresql.controlled, "max_connections", 100);
    return at_least(at_least(SHORTEST_MS, backends), wanted_ms);
}

static FenceShare share_of(const HowdahSettings *howdah, int64_t ttl_ms)
{
    const int64_t wanted_ms = howdah->stop_budget_wanted_ms;
    return (FenceShare){.margin_ms = at_least(howdah->margin_least_ms, ttl_ms / 20),
                        .stop_budget_ms =
                            wanted_ms > 0 ? wanted_ms : at_least(MS_PER_S, ttl_ms / 10)};
}

static int64_t whole(FenceShare share)
{
    return share.margin_ms + share.stop_budget_ms;
}

FenceShare settings_fence(const Settings *settings, int64_t ttl_ms)
{
    const HowdahSettings *howdah = &settings->howdah;
    if (ttl_ms >= settings->ttl_ms)
        return (FenceShare){howdah->margin_ms, howdah->stop_budget_ms};
    FenceShare share = share_of(howdah, ttl_ms);
    if (2 * whole(share) > ttl_ms) { // these settings would not have gone with that ttl
        share.margin_ms = share.margin_ms * (ttl_ms / 2) / whole(share);
        share.stop_budget_ms = ttl_ms / 2 - share.margin_ms;
    }
    return share;
}

// At least half of the ttl must be left for renewing.
static void fit_fence(Findings *findings, const Tree *dynamic, const Tree *local, Settings *out)
{
    const int64_t margin = int_at(local, "howdah.margin_ms", 0);
    const int64_t before_ms = out->ttl_ms;
    out->howdah.margin_least_ms = margin_least_ms(out, margin);
    out->howdah.stop_budget_wanted_ms = int_at(local, "howdah.stop_budget_ms", 0);
    while (2 * whole(share_of(&out->howdah, out->ttl_ms)) > out->ttl_ms)
        out->ttl_ms += MS_PER_S;
    const FenceShare share = share_of(&out->howdah, out->ttl_ms);
    out->howdah.margin_ms = share.margin_ms;
    out->howdah.stop_budget_ms = share.stop_budget_ms;
    if (out->ttl_ms != before_ms)
        finding_warning(findings, tree_get(dynamic, "ttl"), "ttl",
                        "adjusted from %" PRId64 " to %" PRId64 ": stopping and killing up to "
                        "max_connections backends takes %" PRId64 " ms of it",
                        before_ms / MS_PER_S, out->ttl_ms / MS_PER_S,
                        out->howdah.margin_ms + out->howdah.stop_budget_ms);
    if (margin > 0 && out->howdah.margin_ms > margin)
        finding_warning(findings, tree_path(local, "howdah.margin_ms"), "howdah.margin_ms",
                        "raised from %" PRId64 " to %" PRId64 ", the least that is safe", margin,
                        out->howdah.margin_ms);
}

void settings_timers(Findings *findings, const Tree *dynamic, const Tree *local, bool all_howdah,
                     Settings *out)
{
    static const Timers patroni_minimum = {20, 1, 3}, our_minimum = {5, 1, 2};
    const Timers given = {.ttl = int_at(dynamic, "ttl", 30),
                          .loop_wait = int_at(dynamic, "loop_wait", 10),
                          .retry_timeout = int_at(dynamic, "retry_timeout", 10)};
    const Timers used = adjust(given, all_howdah ? our_minimum : patroni_minimum);
    warn_if_changed(findings, dynamic, "ttl", given.ttl, used.ttl);
    warn_if_changed(findings, dynamic, "loop_wait", given.loop_wait, used.loop_wait);
    warn_if_changed(findings, dynamic, "retry_timeout", given.retry_timeout, used.retry_timeout);
    out->fast_timers_allowed = all_howdah;
    out->ttl_ms = used.ttl * MS_PER_S;
    out->loop_wait_ms = used.loop_wait * MS_PER_S;
    out->retry_timeout_ms = used.retry_timeout * MS_PER_S;
    fit_fence(findings, dynamic, local, out);
}
