// Giving the lease up on purpose: switchover, being told to stop.
#include "tests/unit/test_decide_lab.h"

ROW(switchover_asks)
{
    leading(w);
    w->cluster.failover = (FailoverView){.leader = "a", .candidate = "c", .mod_revision = 60};
}
ROW(switchover_begins)
{
    switchover_asks(w);
    asked(w);
    w->senders[0] = (WalSenderView){.application_name = "c", .state = "streaming"};
    w->server.senders = w->senders;
    w->server.sender_count = 1;
}
ROW(switchover_to_one_that_does_not_stream)
{
    switchover_begins(w);
    w->server.sender_count = 0;
}
ROW(switchover_unfit)
{
    switchover_begins(w);
    w->answers[1].reachable = false;
}
ROW(switchover_lagging)
{
    switchover_begins(w);
    w->answers[1].position.lsn = 1000;
}
ROW(switchover_stale)
{
    switchover_asks(w);
    w->cluster.failover.scheduled_at = "then";
    w->cluster.failover.scheduled_us = INT64_C(900000000);
}
ROW(switchover_unparsable)
{
    switchover_stale(w);
    w->cluster.failover.schedule_invalid = true;
}
ROW(switchover_other_leader)
{
    switchover_asks(w);
    w->cluster.failover.leader = "b";
}
ROW(switchover_stopped)
{
    leading(w);
    stopped(w);
    w->f.memory.handover = HANDOVER_SWITCHOVER;
    w->server.task = (TaskView){.kind = TASK_STOP, .number = 3, .ok = true, .ended_at = {S(999)}};
    w->server.control.state = CONTROL_SHUT_DOWN;
    w->server.control.checkpoint_lsn = 5000000;
}
ROW(switchover_asks_again)
{
    switchover_stopped(w);
}
ROW(switchover_releases)
{
    switchover_stopped(w);
    asked(w);
    w->answers[1].position.lsn = 5000104;
}
ROW(switchover_peer_lacks_the_checkpoint_record)
{
    switchover_releases(w);
    w->answers[1].position.lsn = 5000000;
}
ROW(switchover_nobody_caught_up)
{
    switchover_releases(w);
    w->answers[1].position.lsn = 4999999;
    w->server.task.ended_at = (Instant){S(990)};
}
ROW(handover_crashed)
{
    switchover_releases(w);
    w->server.control.state = CONTROL_IN_PRODUCTION;
}
ROW(shutdown_leader)
{
    leading(w);
    w->f.request.shutdown = true;
}
ROW(shutdown_released)
{
    switchover_releases(w);
    w->f.request.shutdown = true;
    w->f.memory.handover = HANDOVER_SHUTDOWN;
}
ROW(shutdown_alone)
{
    switchover_nobody_caught_up(w);
    w->f.request.shutdown = true;
    w->f.memory.handover = HANDOVER_SHUTDOWN;
}
ROW(shutdown_waits_for_a_successor)
{
    shutdown_alone(w);
    w->server.task.ended_at = (Instant){S(999)};
}
ROW(shutdown_of_the_only_member)
{
    shutdown_waits_for_a_successor(w);
    w->cluster.member_count = 1;
    w->f.peers.count = 0;
}
ROW(shutdown_replica)
{
    following(w);
    w->f.request.shutdown = true;
}
ROW(shutdown_terminating)
{
    following(w);
    w->f.warden.terminating = true;
}
ROW(shutdown_done)
{
    shutdown_replica(w);
    stopped(w);
}
ROW(shutdown_handed_over)
{
    vacant(w);
    stopped(w);
    w->f.request.shutdown = true;
    w->f.memory.handover = HANDOVER_SHUTDOWN;
    w->f.memory.released_at = (Instant){S(1000) - S(1) / 10};
}
ROW(shutdown_successor_leads)
{
    shutdown_handed_over(w);
    led_by(w, 1);
    w->members[1].role = ROLE_REPLICA;
}
ROW(shutdown_successor_is_primary)
{
    shutdown_successor_leads(w);
    w->members[1].role = ROLE_PRIMARY;
}
ROW(shutdown_successor_does_not_come)
{
    shutdown_handed_over(w);
    w->f.memory.released_at = (Instant){S(998)};
}

static const Row rows[] = {
    R(switchover_asks, KEEP, NONE, SWITCHOVER_ASK_PEERS),
    R(switchover_begins, KEEP, STOP, SWITCHOVER),
    R(switchover_unfit, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_to_one_that_does_not_stream, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_lagging, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(switchover_stale, KEEP, NONE, SWITCHOVER_STALE),
    R(switchover_unparsable, KEEP, NONE, SWITCHOVER_STALE),
    R(switchover_other_leader, KEEP, NONE, SWITCHOVER_NOT_MINE),
    R(switchover_asks_again, KEEP, NONE, SWITCHOVER),
    R(switchover_releases, RELEASE, NONE, SWITCHOVER_RELEASE),
    R(switchover_peer_lacks_the_checkpoint_record, KEEP, NONE, SWITCHOVER),
    R(switchover_nobody_caught_up, KEEP, NONE, SWITCHOVER_IMPOSSIBLE),
    R(handover_crashed, KEEP, NONE, LEADER_CRASHED),
    R(shutdown_leader, KEEP, STOP, SHUTDOWN_HANDOVER),
    R(shutdown_released, RELEASE, NONE, SHUTDOWN_RELEASE),
    R(shutdown_alone, KEEP, NONE, SHUTDOWN_KEEP),
    R(shutdown_waits_for_a_successor, KEEP, NONE, SHUTDOWN_HANDOVER),
    R(shutdown_of_the_only_member, KEEP, NONE, SHUTDOWN_KEEP),
    R(shutdown_replica, KEEP, STOP, SHUTDOWN_STOP),
    R(shutdown_terminating, KEEP, STOP, SHUTDOWN_STOP),
    R(shutdown_done, KEEP, NONE, SHUTDOWN_DONE),
    R(shutdown_handed_over, KEEP, NONE, SHUTDOWN_STAY),
    R(shutdown_successor_leads, KEEP, NONE, SHUTDOWN_STAY),
    R(shutdown_successor_is_primary, KEEP, NONE, SHUTDOWN_DONE),
    R(shutdown_successor_does_not_come, KEEP, NONE, SHUTDOWN_DONE),
};

const RowTable decide_handover_rows = TABLE(rows);
