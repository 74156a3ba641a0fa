// What the tables of test_decide*.c share: a cluster to begin from, and how a row reads.
#pragma once
#include "tests/support/test.h"

#include "agent/core/decide.h"
#include "common/base/text.h"

#include <string.h>

#define S(seconds) ((int64_t)(seconds)*1000000000)

// A cluster of three at t = 1000 s, we are "a"; ttl 30, loop_wait 10.
typedef struct {
    Facts f;
    Settings settings;
    ClusterView cluster;
    ServerView server;
    MemberView members[3];
    PeerAnswer answers[2];
    WalSenderView senders[1];
    TimelineSwitch parents[2];
} World;

void base(World *w);
void led_by(World *w, int i);
// We lead, as a primary in term 50, with 25 s of lease left.
void leading(World *w);
void stopped(World *w);
// Nobody leads; b did, and its lease expired at 999 s.
void vacant(World *w);
void asked(World *w);
void racing(World *w);
void following(World *w);

// Given these facts, that is decided.
typedef struct {
    const char *given;
    void (*facts)(World *w);
    KeyAction key;
    TaskKind task;
    Reason reason;
    bool strike;
} Row;

typedef struct {
    const Row *rows;
    size_t count;
} RowTable;

#define ROW(name) static void name(World *w)
#define R(fn, k, t, r)                                                                             \
    {                                                                                              \
#fn, fn, KEY_##k, TASK_##t, REASON_##r, false                                              \
    }
#define R_STRIKE(fn, k, r)                                                                         \
    {                                                                                              \
#fn, fn, KEY_##k, TASK_NONE, REASON_##r, true                                              \
    }
#define TABLE(rows)                                                                                \
    {                                                                                              \
        rows, COUNT_OF(rows)                                                                       \
    }

extern const RowTable decide_empty_rows, decide_race_rows, decide_leader_rows, decide_handover_rows,
    decide_replica_rows;

void test_copies_the_leader_itself_when_told_to(void **state);
void test_timelines_already_used_are_reserved(void **state);
void test_a_second_timeline_in_a_term_is_announced(void **state);
void test_a_lost_source_is_no_failed_rewind(void **state);
