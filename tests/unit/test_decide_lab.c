#include "tests/unit/test_decide_lab.h"

void base(World *w)
{
    memset(w, 0, sizeof *w);
    w->settings = (Settings){
        .name = "a",
        .ttl_ms = 30000,
        .loop_wait_ms = 10000,
        .retry_timeout_ms = 10000,
        .maximum_lag_on_failover = 1048576,
        .primary_start_timeout_ms = 300000,
        .tags = {.failover_priority = 1, .sync_priority = 1},
        .postgresql = {.use_pg_rewind = true, .use_slots = true},
        .bootstrap = {.present = true},
        .howdah = {.margin_ms = 1500, .stop_budget_ms = 3000},
    };
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        w->members[i] = (MemberView){.name = names[i],
                                     .host = "10.0.0.1",
                                     .port = 5432 + i,
                                     .api_url = "http://x/patroni",
                                     .state = STATE_RUNNING,
                                     .role = ROLE_REPLICA,
                                     .timeline = 1,
                                     .howdah = "1",
                                     .tags = {.failover_priority = 1}};
    w->cluster = (ClusterView){.revision = 100,
                               .initialize = "7277694203142172922",
                               .config_revision = 2,
                               .members = w->members,
                               .member_count = 3,
                               .optime = 5000000};
    w->server = (ServerView){.warden = true,
                             .running = true,
                             .remains = true,
                             .answered = true,
                             .answered_at = {S(999)},
                             .in_recovery = true,
                             .timeline = 1,
                             .receive_lsn = 5000000,
                             .replay_lsn = 5000000,
                             .dir = DIR_VALID,
                             .standby_signal = true,
                             .role = ROLE_REPLICA,
                             .state = STATE_RUNNING,
                             .history = {.timeline = 1},
                             .control = {.known = true,
                                         .state = CONTROL_IN_ARCHIVE_RECOVERY,
                                         .system_identifier = "7277694203142172922",
                                         .timeline = 1,
                                         .checksums = true}};
    w->f = (Facts){.now = {S(1000)},
                   .started_at = {S(10)},
                   .wall_us = INT64_C(1000000000),
                   .settings = &w->settings,
                   .store_known = true,
                   .store_ok = true,
                   .cluster = &w->cluster,
                   .history = {.timeline = 1},
                   .warden = {.connected = true},
                   .server = &w->server};
}

void led_by(World *w, int i)
{
    w->members[i].role = ROLE_PRIMARY;
    w->cluster.leader = (LeaderView){
        .name = w->members[i].name, .session = "77", .create_revision = 50, .mod_revision = 50};
    w->cluster.term = (TermRecord){.present = true,
                                   .holder = w->members[i].name,
                                   .mod_revision = 50,
                                   .timeline = 1,
                                   .confirmed = true,
                                   .term = 50};
}

void leading(World *w)
{
    base(w);
    led_by(w, 0);
    w->f.leader_is_us = w->f.leader_is_us_by_name = true;
    w->f.lease.held = true;
    w->f.lease.term = 50;
    w->f.lease.proven_at = (Instant){S(995)};
    w->f.lease.valid_until = (Instant){S(1025)};
    w->f.lease.ttl_ms = 30000;
    w->f.warden.fence_armed = w->f.warden.writer = true;
    w->f.warden.quit_at = (Instant){S(1023)};
    w->f.memory.primary_term = w->f.memory.promoted_term = 50;
    w->server.in_recovery = w->server.standby_signal = false;
    w->server.role = ROLE_PRIMARY;
    w->server.flush_lsn = 5000000;
    w->server.control.state = CONTROL_IN_PRODUCTION;
}

void stopped(World *w)
{
    w->server.running = w->server.remains = w->server.answered = false;
    w->server.state = STATE_STOPPED;
}

void vacant(World *w)
{
    base(w);
    w->cluster.vacancy = (Vacancy){.kind = VACANCY_EXPIRED, .holder = "b", .since = {S(999)}};
}

void asked(World *w)
{
    w->f.peers = (PeerFacts){.asked_at = {S(1000)}, .answers = w->answers, .count = 2};
    w->answers[0] = (PeerAnswer){.name = "b", .failover_priority = 1};
    w->answers[1] = (PeerAnswer){.name = "c",
                                 .reachable = true,
                                 .in_recovery = true,
                                 .running = true,
                                 .failover_priority = 1,
                                 .position = {1, 5000000}};
}

void racing(World *w)
{
    vacant(w);
    asked(w);
}

void following(World *w)
{
    base(w);
    led_by(w, 1);
    w->server.upstream = "b";
    w->server.streaming = true;
    w->server.receiver_host = "10.0.0.1";
    w->server.receiver_port = 5433;
}
