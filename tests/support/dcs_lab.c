#include "tests/support/dcs_lab.h"

#include "common/base/text.h"
#include "common/os/clock.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

Arena *lab_arena;
const char *lab_where = "";

Deadline lab_in(int64_t ms)
{
    return deadline_in(clock_system(), ms);
}

Instant lab_now(void)
{
    return clock_now(clock_system());
}

int64_t lab_ms_since(Instant since)
{
    return instant_ms_between(since, lab_now());
}

void lab_sleep_ms(int64_t ms)
{
    const struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&span, NULL); // the callers loop
}

void lab_check(bool ok, const Error *err, const char *what)
{
    if (!ok)
        fail_msg("%s%s: %s: %s", lab_where, what, error_kind_name(err->kind), err->text);
}

const char *lab_open(Dcs *dcs, int64_t ttl_ms)
{
    const char *session = NULL;
    LeaseProof proof;
    Error err = {0};
    CHECK(dcs->ops->open_session(dcs, ttl_ms, NULL, lab_in(5000), &session, &proof, &err));
    assert_non_null(session);
    return session;
}

ClusterView lab_refresh(Dcs *dcs)
{
    ClusterView view = {0};
    Error err = {0};
    CHECK(dcs->ops->refresh(dcs, lab_arena, lab_in(5000), &view, &err));
    return view;
}

AcquireRequest lab_request(const ClusterView *view, const char *instance)
{
    return (AcquireRequest){.sync_revision = view->sync.mod_revision,
                            .failover_revision = view->failover.mod_revision,
                            .failsafe_revision = view->failsafe_revision,
                            .config_revision = view->config_revision,
                            .term_revision = view->term.mod_revision,
                            .over_leader_revision = view->leader.mod_revision,
                            .instance = instance,
                            .parent_timeline = 1,
                            .timeline = 2};
}

Acquired lab_acquire(Dcs *dcs, const char *instance)
{
    const ClusterView view = lab_refresh(dcs);
    const AcquireRequest request = lab_request(&view, instance);
    Acquired acquired = {0};
    Error err = {0};
    CHECK(dcs->ops->acquire(dcs, &request, lab_in(5000), &acquired, &err));
    return acquired;
}

ClusterView lab_wait(Dcs *dcs, LabCondition *condition, const void *context, const char *what)
{
    const Instant began = lab_now();
    ClusterView view = {0};
    while (!dcs->ops->view(dcs, lab_arena, &view) || !condition(&view, context)) {
        if (lab_ms_since(began) > 15000)
            fail_msg("%swaited in vain for %s (vacancy %d, leader %s, revision %lld)", lab_where,
                     what, (int)view.vacancy.kind, str_or(view.leader.name, "-"),
                     (long long)view.revision);
        lab_sleep_ms(5);
    }
    return view;
}

bool lab_has_leader(const ClusterView *view, const void *name)
{
    return str_eq(view->leader.name, name);
}

bool lab_event(Dcs *dcs, int ms)
{
    struct pollfd ready = {.fd = dcs->ops->event_fd(dcs), .events = POLLIN};
    if (poll(&ready, 1, ms) != 1)
        return false;
    uint64_t count = 0;
    return read(ready.fd, &count, sizeof count) == sizeof count;
}
