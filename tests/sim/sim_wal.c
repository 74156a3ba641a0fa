// The write-ahead log of every data directory there is: who wrote which timeline, and what is a
// prefix of what. Kept by the world, so that it is right whatever an agent believes.
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

#define FIRST_LSN ((Lsn)0x1000028)

uint64_t wal_new_identity(Sim *sim)
{
    return ++sim->identities;
}

static Branch *add_branch(Sim *sim, size_t lineage, Branch branch)
{
    Lineage *l = &sim->lineages[lineage];
    l->branches = realloc(l->branches, (l->count + 1) * sizeof *l->branches);
    ASSERT(l->branches);
    l->branches[l->count] = branch;
    return &l->branches[l->count++];
}

size_t wal_initdb(Sim *sim, Member *m)
{
    sim->lineages = realloc(sim->lineages, (sim->lineage_count + 1) * sizeof *sim->lineages);
    ASSERT(sim->lineages);
    const size_t lineage = sim->lineage_count++;
    sim->lineages[lineage] = (Lineage){0};
    (void)snprintf(sim->lineages[lineage].system_identifier,
                   sizeof sim->lineages[lineage].system_identifier, "74%017llu",
                   (unsigned long long)(lineage + 1));
    const uint64_t identity = wal_new_identity(sim);
    (void)add_branch(sim, lineage,
                     (Branch){.timeline = 1,
                              .begin = FIRST_LSN,
                              .end = FIRST_LSN,
                              .writer = identity,
                              .member = m->index});
    m->dir.identity = identity;
    m->dir.lineage = lineage;
    m->dir.end = (WalPosition){1, FIRST_LSN};
    m->dir.target = m->dir.newest_timeline = m->dir.control_timeline = 1;
    m->dir.checkpoint_lsn = FIRST_LSN;
    m->dir.min_recovery = (WalPosition){0};
    return lineage;
}

Branch *wal_branch(Sim *sim, size_t lineage, uint32_t timeline)
{
    Lineage *l = &sim->lineages[lineage];
    for (size_t i = 0; i < l->count; i++)
        if (l->branches[i].timeline == timeline)
            return &l->branches[i];
    return NULL;
}

// As StartupXLOG() does it: the parent is the timeline it aimed at, which may be one it has not
// reached yet.
Branch *wal_fork(Sim *sim, Member *m, uint32_t timeline)
{
    const DataDir *dir = &m->dir;
    const uint32_t parent = dir->target > dir->end.timeline ? dir->target : dir->end.timeline;
    const Branch *from = wal_branch(sim, dir->lineage, parent);
    ASSERT(from);
    const size_t count = from->parent_count + 1;
    TimelineSwitch *parents = calloc(count, sizeof *parents);
    ASSERT(parents);
    if (from->parent_count > 0)
        memcpy(parents, from->parents, from->parent_count * sizeof *parents);
    parents[count - 1] = (TimelineSwitch){.timeline = parent, .switch_lsn = dir->end.lsn};
    return add_branch(sim, dir->lineage,
                      (Branch){.timeline = timeline,
                               .parents = parents,
                               .parent_count = count,
                               .begin = dir->end.lsn,
                               .end = dir->end.lsn,
                               .writer = dir->identity,
                               .member = m->index});
}

// How far the ancestor counts in that history: up to where it, or any later one, was left.
static bool ancestor_end(const Branch *b, uint32_t timeline, Lsn *end)
{
    *end = UINT64_MAX;
    if (b->timeline == timeline)
        return true;
    for (size_t i = b->parent_count; i-- > 0;) {
        if (b->parents[i].switch_lsn < *end)
            *end = b->parents[i].switch_lsn;
        if (b->parents[i].timeline == timeline)
            return true;
    }
    return false;
}

bool wal_on_path(Sim *sim, size_t lineage, WalPosition at, uint32_t timeline)
{
    const Branch *b = wal_branch(sim, lineage, timeline);
    Lsn end;
    return b && ancestor_end(b, at.timeline, &end) && at.lsn <= end;
}

uint32_t wal_timeline_at(Sim *sim, size_t lineage, uint32_t timeline, Lsn lsn)
{
    const Branch *b = wal_branch(sim, lineage, timeline);
    ASSERT(b);
    for (size_t i = 0; i < b->parent_count; i++) {
        Lsn end;
        if (ancestor_end(b, b->parents[i].timeline, &end) && lsn <= end)
            return b->parents[i].timeline;
    }
    return timeline;
}

bool wal_contains(Sim *sim, size_t lineage, WalPosition b, WalPosition a)
{
    return a.lsn <= b.lsn && wal_on_path(sim, lineage, a, b.timeline);
}

TimelineHistory wal_history(Sim *sim, Arena *arena, size_t lineage, uint32_t timeline)
{
    const Branch *b = wal_branch(sim, lineage, timeline);
    if (!b)
        return (TimelineHistory){0};
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, b->parent_count);
    if (b->parent_count > 0)
        memcpy(parents, b->parents, b->parent_count * sizeof *parents);
    return (TimelineHistory){timeline, parents, b->parent_count};
}

// Only the server that began a timeline may go on with it, and only from its very end: anything
// else is two different contents under one name.
bool wal_append(Sim *sim, Member *m, Lsn bytes)
{
    DataDir *dir = &m->dir;
    Branch *b = wal_branch(sim, dir->lineage, dir->end.timeline);
    if (!b || b->writer != dir->identity || b->end != dir->end.lsn) {
        sim_fail(sim, "%s writes timeline %u at %s, which %s wrote up to %s", m->name,
                 dir->end.timeline, lsn_format(dir->end.lsn).text,
                 b ? sim->members[b->member].name : "nobody", b ? lsn_format(b->end).text : "-");
        return false;
    }
    b->end = dir->end.lsn += bytes;
    return true;
}

void wal_commit(Sim *sim, Member *m)
{
    if (!wal_append(sim, m, (Lsn)roll(sim, 10, 1000) * 8))
        return;
    if (sim->commit_count == sim->commit_capacity) {
        sim->commit_capacity = sim->commit_capacity ? 2 * sim->commit_capacity : 256;
        sim->commits = realloc(sim->commits, sim->commit_capacity * sizeof *sim->commits);
        ASSERT(sim->commits);
    }
    sim->commits[sim->commit_count++] =
        (Commit){.lineage = m->dir.lineage, .end = m->dir.end, .at = sim->now, .member = m->index};
}

void wal_done(Sim *sim)
{
    for (size_t i = 0; i < sim->lineage_count; i++) {
        for (size_t k = 0; k < sim->lineages[i].count; k++)
            free(sim->lineages[i].branches[k].parents);
        free(sim->lineages[i].branches);
    }
    free(sim->lineages);
    free(sim->commits);
}

// A standby's replay runs after what it has received.
Lsn wal_replayed(const Member *m)
{
    const Postgres *pg = &m->pg;
    if (pg->state == PG_PRIMARY || pg->state == PG_NONE)
        return m->dir.end.lsn;
    const int64_t ms = (m->sim->now - pg->replay_since) / MS(1);
    const Lsn left = m->dir.end.lsn - pg->replay_from;
    const Lsn done = (Lsn)(ms > 0 ? ms : 0) * (Lsn)pg->replay_bytes_per_ms;
    return done < left ? pg->replay_from + done : m->dir.end.lsn;
}
