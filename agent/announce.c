#include "agent/announce.h"

#include "common/base/text.h"

#include <string.h>

// --- the cluster in short

static size_t streaming_members(const Facts *f, size_t *out_wanted)
{
    const ClusterView *c = f->cluster;
    size_t streaming = 0;
    *out_wanted = 0;
    for (size_t i = 0; i < c->member_count; i++) {
        const MemberView *m = &c->members[i];
        // A pod with our labels is a member once its agent has written a record, or where a
        // StatefulSet says that one is to be there. What else bears them will never stream.
        const bool foreign = !m->version && !m->revision;
        if (foreign || str_ieq(m->name, f->settings->name))
            continue;
        bool streams = false;
        for (size_t k = 0; k < f->server->sender_count && !streams; k++) {
            const WalSenderView *sender = &f->server->senders[k];
            streams =
                str_ieq(sender->application_name, m->name) && str_eq(sender->state, "streaming");
        }
        // Who streams from another standby is not seen from here.
        const bool elsewhere = m->tags.nostream || !str_empty(m->tags.replicatefrom);
        streaming += streams;
        *out_wanted += !elsewhere;
    }
    return streaming;
}

static SignSync sync_of(const Facts *f)
{
    const Tree *dynamic = f->settings->dynamic;
    if (!f->settings->sync_mode || !f->cluster->sync.leader)
        return SIGN_SYNC_OFF;
    if (str_ieq(tree_string_of(tree_get(dynamic, "synchronous_mode")), "quorum"))
        return SIGN_SYNC_QUORUM;
    return tree_get_bool(dynamic, "synchronous_mode_strict", false) ? SIGN_SYNC_STRICT
                                                                    : SIGN_SYNC_ON;
}

static SignState state_of(const Facts *f, bool complete)
{
    if (f->memory.bootstrapping)
        return SIGN_NO_LEADER;
    if (f->memory.handover != HANDOVER_NONE)
        return SIGN_FAILING_OVER;
    if (!is_primary(f)) // crashed in the middle of its term, or not yet promoted in it
        return f->memory.primary_term == f->lease.term ? SIGN_DEGRADED : SIGN_FAILING_OVER;
    if (f->settings->pause)
        return SIGN_PAUSED;
    return complete ? SIGN_HEALTHY : SIGN_DEGRADED;
}

static ClusterSigns our_signs(const Facts *f)
{
    size_t wanted = 0;
    const size_t streaming = streaming_members(f, &wanted);
    ClusterSigns signs = {.state = state_of(f, streaming >= wanted),
                          .sync = sync_of(f),
                          .timeline = f->server->timeline};
    if (signs.state == SIGN_NO_LEADER)
        return signs;
    signs.leader = f->settings->name;
    signs.replicas = is_primary(f) ? streaming : 0;
    return signs;
}

// By name, so that no two of ours write over each other.
static bool is_first_of_ours(const Facts *f)
{
    const ClusterView *c = f->cluster;
    for (size_t i = 0; i < c->member_count; i++) {
        if (c->members[i].howdah && strcmp(c->members[i].name, f->settings->name) < 0)
            return false;
    }
    return true;
}

bool signs_of(const Facts *f, ClusterSigns *out)
{
    if (!f->store_known)
        return false;
    if (f->lease.held) {
        *out = our_signs(f);
        return true;
    }
    // What our last leader has said stands there until it is taken back.
    const MemberView *leader = cluster_leader_member(f->cluster);
    if (!leader || !leader->version || leader->howdah || !is_first_of_ours(f))
        return false;
    *out = (ClusterSigns){.state = SIGN_NOT_KNOWN, .leader = leader->name};
    return true;
}

// --- decisions as Events

static const AnnouncedReason announced[REASON_COUNT] = {
    // The cluster
    [REASON_BOOTSTRAP_DONE] = {"Bootstrapped", .of_cluster = true},
    [REASON_BOOTSTRAP_FAILED] = {"BootstrapFailed", .warning = true, .of_cluster = true},
    [REASON_ADOPT_CLUSTER] = {"Adopted", .of_cluster = true},
    [REASON_LEADER_CHECKPOINT] = {"Promoted", .of_cluster = true, .promotion = true},
    [REASON_LEADER_HEALTHY] = {"Promoted", .of_cluster = true, .promotion = true},
    [REASON_SWITCHOVER_RELEASE] = {"Demoted", .of_cluster = true, .demotion = true},
    [REASON_SHUTDOWN_RELEASE] = {"Demoted", .of_cluster = true, .demotion = true},
    [REASON_LEASE_RUNNING_OUT] = {"Demoted", .warning = true, .of_cluster = true, .demotion = true},
    [REASON_LEASE_LOST] = {"Demoted", .warning = true, .of_cluster = true, .demotion = true},
    [REASON_PRIMARY_WITHOUT_LEASE] = {"Demoted", .warning = true, .of_cluster = true,
                                      .demotion = true},
    [REASON_LEADER_DIRECTORY_LOST] = {"Demoted", .warning = true, .of_cluster = true,
                                      .demotion = true},
    [REASON_LEADER_START_TIMEOUT] = {"Demoted", .warning = true, .of_cluster = true,
                                     .demotion = true},
    [REASON_LEADER_PROMOTION_STUCK] = {"Demoted", .warning = true, .of_cluster = true,
                                       .demotion = true},
    [REASON_DISK_HUNG] = {"DiskHung", .warning = true, .of_cluster = true},
    [REASON_LEADER_CRASHED] = {"Crashed", .warning = true, .of_cluster = true},
    [REASON_SHUTDOWN_KEEP] = {"StoppedWithoutSuccessor", .warning = true, .of_cluster = true},
    [REASON_SWITCHOVER_IMPOSSIBLE] = {"SwitchoverRefused", .warning = true, .of_cluster = true},
    [REASON_SWITCHOVER_STALE] = {"SwitchoverRefused", .warning = true, .of_cluster = true},
    // This member does not take over, though nobody leads
    [REASON_RACE_LAG] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_RACE_DIVERGED] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_RACE_NOT_SYNC] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_RACE_PRIMARY_ALIVE] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_RACE_RESERVED] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_MODE_UNSUPPORTED] = {"FailoverRefused", .warning = true, .of_cluster = true},
    [REASON_OTHER_STORE_IN_USE] = {"OtherStoreInUse", .warning = true, .of_cluster = true},
    // This member alone
    [REASON_SYSTEM_ID_FOREIGN] = {"ForeignData", .warning = true},
    [REASON_DIRECTORY_INACCESSIBLE] = {"DataInaccessible", .warning = true},
    [REASON_LEADER_KEY_FOREIGN] = {"NameInUse", .warning = true},
    [REASON_CLONE] = {"Copying"},
    [REASON_REINITIALIZE] = {"Reinitializing"},
    [REASON_REPLICA_REWIND] = {"Rewinding"},
    [REASON_REPLICA_WIPE] = {"Wiping", .warning = true},
    [REASON_REPLICA_REWIND_IMPOSSIBLE] = {"ReinitNeeded", .warning = true},
    [REASON_REPLICA_REWIND_FAILED] = {"ReinitNeeded", .warning = true},
    [REASON_RESTART] = {"Restarting"},
    [REASON_RESTART_SCHEDULED] = {"Restarting"},
};

AnnouncedReason announced_reason(Reason reason)
{
    ASSERT(reason < REASON_COUNT);
    return announced[reason];
}
