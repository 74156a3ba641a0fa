// What the named scenarios share: cmocka, and a cluster that stands.
#pragma once
#include "tests/support/test.h"

#include "api/api.h"
#include "tests/sim/sim.h"

#include <string.h>

// Reports seed and trace when it does not hold, or when an invariant was broken on the way.
#define EXPECT(sim, condition) expect((sim), (condition), #condition, __FILE__, __LINE__)
#define FOR_SEEDS(seed, count) for (uint64_t seed = 1; seed <= (uint64_t)(count); seed++)

static inline void expect(Sim *sim, bool holds, const char *what, const char *file, int line)
{
    if (holds && sim_ok(sim))
        return;
    sim_report(sim);
    const char *unsettled = sim_unsettled(sim);
    fail_msg("%s:%d: expected %s (%s; %s)", file, line, what, sim_failure(sim),
             unsettled ? unsettled : "settled");
}

// A cluster of these options, created, settled, and in use for a while.
static inline Sim *settled(SimOptions options, uint64_t seed)
{
    options.seed = seed;
    Sim *sim = sim_new(&options);
    EXPECT(sim, sim_run_until(sim, sim_settled, SECONDS(90)));
    EXPECT(sim, sim_run(sim, SECONDS(5)));
    return sim;
}

static inline bool another_primary(Sim *sim, int former)
{
    const int now = sim_primary(sim);
    return now >= 0 && now != former;
}

static inline bool not_primary(Sim *sim, int member)
{
    return !sim_is_primary(sim, member);
}

static inline bool answered(Sim *sim)
{
    return sim_answer_status(sim) != 0;
}

// No fault from here on: it comes to rest, and the end is as it should be.
static inline void heals(Sim *sim)
{
    sim_heal(sim);
    EXPECT(sim, sim_run_until(sim, sim_has_primary, sim_writer_ms(sim)));
    EXPECT(sim, sim_run_until(sim, sim_settled, sim_settle_ms(sim)));
    EXPECT(sim, sim_run(sim, SECONDS(2)));
}

static inline int other_than(const Sim *sim, int member, int members)
{
    (void)sim;
    return (member + 1) % members;
}

static inline int run_scenarios(const struct CMUnitTest *tests, size_t count)
{
    sim_report_on_crash();
    return _cmocka_run_group_tests("sim", tests, count, NULL, NULL);
}
