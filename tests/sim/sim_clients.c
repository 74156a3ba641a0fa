// Clients: they keep their connections, so every server that calls itself a primary has writers of
// its own, and what it acknowledges counts, whoever leads.
#include "tests/sim/world.h"

static void attempt(Sim *sim, void *context, uint64_t serial)
{
    Member *m = context;
    if (m->pg.serial != serial || !pg_writes(m) || !sim_ok(sim))
        return;
    // Just thawed as a whole, it may overlap with its successor until its warden wakes.
    const bool woken = sim->now - m->thawed_at < WAKE_UP || is_unguarded(m);
    // Nor has a cluster clients before it is one.
    const bool known = sim->commit_count > 0 || initialize_is_valid(sim_key(sim, "initialize"));
    if (sim->writes && !m->disk_hung_since && !woken && known) {
        check_acknowledged(m);
        wal_commit(sim, m);
        pg_wal_grown(m);
    }
    sim_in(sim, roll(sim, MS(20), MS(400)), &m->pg.actor, attempt, m, serial);
}

void clients_serve(Member *m)
{
    sim_in(m->sim, roll(m->sim, MS(1), MS(50)), &m->pg.actor, attempt, m, m->pg.serial);
}

void sim_writes(Sim *sim, bool on)
{
    sim->writes = on;
}
