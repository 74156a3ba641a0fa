// The decisions. Pure: facts in, decision out; no clock, no I/O, no memory of its own.
//
// Guard clauses, most dangerous first: whatever stops writes comes before whatever allows them.
#pragma once
#include "agent/core/facts.h"

typedef enum {
    KEY_KEEP = 0, // renewal is not a decision: it comes first in every turn
    KEY_ACQUIRE,
    KEY_RELEASE,
} KeyAction;

typedef struct {
    KeyAction key;
    bool acquire_bootstrap;        // claim the right to create the cluster with it
    int64_t acquire_over_revision; // see AcquireRequest
    TaskKind task;                 // TASK_NONE: none
    StopMode stop_mode;
    bool checkpoint_first;
    const MemberView *upstream; // NULL: nobody
    bool clone_by_basebackup;   // TASK_CLONE: not by the configured methods
    uint32_t reserve_through;   // TASK_PROMOTE, and the acquire's intended timeline - 1
    uint32_t announce;          // the term record is to name this timeline first; 0: as it is
    bool arm;                   // it may write under our lease, and no fence is armed
    bool strike;                // the warden is to stop the server now
    bool unfence;               // no process remains, or a standby that was never promoted
    bool cancel_task;
    bool ask_peers;
    bool clear_failover; // the failover key at failover_revision is done with
    int64_t failover_revision;
    bool to_successor;    // a release: somebody fit for it was there a moment ago
    bool drop_initialize; // a bootstrap of ours failed
    bool write_initialize, write_config, write_history, confirm_term; // a leader's upkeep
    bool exit;
    int exit_code;
    Reason reason;
    char evidence[200]; // for the ledger, "key=value …"
    Instant wake_at;    // 0: at the next loop
    Memory memory;      // for the next turn
} Decision;

Decision decide(const Facts *facts);

// Questions about the facts that are asked outside of the rules, too. Pure.
// The fence has struck, and stands: no process of ours reaches user mode again, even if one is
// stuck in the kernel and cannot be reaped (docs/architecture.md, "The warden").
bool is_struck(const Facts *f);
// The server is up as a primary, and has said so.
bool is_primary(const Facts *f);

// Names for logs and the ledger.
const char *key_action_name(KeyAction action);
