// A switchover or failover that was asked for over REST: checked against the cluster as it is now,
// written to the failover key, and answered when it has happened. What the request alone can get
// wrong the API has answered already (api/actions.c). The texts are Patroni's: tools read them.
#include "agent/requests.h"

#include "common/base/text.h"
#include "common/os/log.h"
#include "dcs/records.h"

typedef struct {
    bool switchover;                            // from a leader that was named
    const char *leader, *candidate, *scheduled; // NULL: not given
    const char *word;
} Move;

static Move move_of(const ApiRequest *r)
{
    const bool switchover = r->kind == API_SWITCHOVER;
    return (Move){.switchover = switchover,
                  .leader = tree_get_string(r->body, "leader", NULL),
                  .candidate = tree_get_string(r->body, "candidate", NULL),
                  .scheduled = tree_get_string(r->body, "scheduled_at", NULL),
                  .word = switchover ? "switchover" : "failover"};
}

static bool write_failover(Agent *agent, const char *value, int64_t *revision)
{
    enum { WRITE_MS = 2000 };
    Dcs *dcs = agent->world.dcs;
    Error err = {0};
    const bool ok = dcs->ops->write(dcs, KEY_FAILOVER, value, agent->view.failover.mod_revision,
                                    deadline_in(agent->world.clock, WRITE_MS), revision, &err);
    return store_outcome(agent, ok, &err);
}

static bool peer_is_good(const PeerAnswer *p)
{
    return p->reachable && !p->nofailover && !p->watchdog_failed;
}

static bool good_candidate(Agent *agent, const Move *m)
{
    const ClusterView *v = &agent->view;
    PeerFacts peers;
    ask_peers(agent, &peers);
    bool good = m->candidate ? str_ieq(m->candidate, settings_of(agent)->name) : false;
    for (size_t i = 0; i < peers.count; i++) {
        const PeerAnswer *p = &peers.answers[i];
        const bool considered =
            m->candidate ? str_ieq(p->name, m->candidate) : !str_ieq(p->name, v->leader.name);
        good = good || (considered && peer_is_good(p));
    }
    // We ourselves may be the one to go to when the request came in at a replica.
    return good || (!m->candidate && !agent->lease.held && !settings_of(agent)->tags.nofailover);
}

// Why the cluster as it is now does not allow it; NULL: it does.
static const char *find_obstacle(Agent *agent, const ApiRequest *r, const Move *m)
{
    const ClusterView *v = &agent->view;
    if (m->leader && !str_ieq(m->leader, v->leader.name))
        return "leader name does not match";
    if (m->candidate && !cluster_member(v, m->candidate))
        return "candidate does not exists";
    size_t others = 0;
    for (size_t i = 0; i < v->member_count; i++)
        others += v->members[i].api_url && !str_ieq(v->members[i].name, v->leader.name);
    if (!m->candidate && others == 0)
        return arena_printf(
            r->arena, "%s is not possible: cluster does not have members except leader", m->word);
    if (!good_candidate(agent, m))
        return arena_printf(r->arena, "%s is not possible: no good candidates have been found",
                            m->word);
    return NULL;
}

bool handover_begin(Agent *agent, ApiRequest *r)
{
    const Move m = move_of(r);
    const char *obstacle = m.scheduled ? NULL : find_obstacle(agent, r, &m);
    if (obstacle) {
        request_answer(agent, r, 412, obstacle);
        return true;
    }
    const char *value = records_failover(agent->turn_arena, m.leader, m.candidate, m.scheduled);
    if (!write_failover(agent, value, &r->revision)) {
        request_answer(agent, r, 503, "failed to write failover key into DCS");
        return true;
    }
    log_info("%s asked for leader=%s candidate=%s at=%s", m.word, str_or(m.leader, "-"),
             str_or(m.candidate, "-"), str_or(m.scheduled, "now"));
    if (m.scheduled) {
        request_answer(agent, r, 202, "Switchover scheduled");
        return true;
    }
    r->old_leader = arena_strdup(r->arena, str_or(agent->view.leader.name, ""));
    return false;
}

bool handover_settle(Agent *agent, ApiRequest *r)
{
    const ClusterView *v = &agent->view;
    const Move m = move_of(r);
    if (!agent->view_known || v->revision < r->revision)
        return false;
    const char *leader = v->leader.name;
    const MemberView *member = cluster_leader_member(v);
    // Patroni answers when the key has changed hands; that the new leader also writes is what
    // people wait for, and costs a few milliseconds more.
    if (leader && !str_ieq(leader, r->old_leader) && member && member->role == ROLE_PRIMARY) {
        const bool wanted = !m.candidate || str_ieq(m.candidate, leader);
        const char *done = m.switchover ? "Successfully switched over" : "Successfully failed over";
        const char *other = m.switchover ? "Switched over" : "Failed over";
        request_answer(agent, r, 200,
                       wanted ? arena_printf(r->arena, "%s to \"%s\"", done, leader)
                              : arena_printf(r->arena, "%s to \"%s\" instead of \"%s\"", other,
                                             leader, m.candidate));
        return true;
    }
    const bool gone = str_empty(v->failover.leader) && str_empty(v->failover.candidate);
    if (gone && leader && str_ieq(leader, r->old_leader) &&
        v->failover.mod_revision > r->revision) {
        request_answer(agent, r, 503, m.switchover ? "Switchover failed" : "Failover failed");
        return true;
    }
    if (instant_before(now_of(agent), r->deadline.at))
        return false;
    request_answer(agent, r, 503, "too late"); // the API has told the asker
    return true;
}

void handover_delete(Agent *agent, ApiRequest *r)
{
    if (!agent->view.failover.scheduled_at) {
        request_answer(agent, r, 404, "no switchover is scheduled");
        return;
    }
    const bool ok = write_failover(agent, "{}", NULL);
    request_answer(agent, r, ok ? 200 : 409,
                   ok ? "scheduled switchover deleted" : "failover key changed");
}
