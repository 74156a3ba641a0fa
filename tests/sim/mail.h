// Requests to the store as they travel, and the watch beside them; for sim_mail.c, sim_watch.c and
// sim_dcs.c.
#pragma once
#include "dcs/dcs.h"
#include "tests/sim/world.h"

typedef void MailApply(Sim *sim, Mail *mail);

struct Mail {
    Mail *previous, *next;
    Arena *arena; // its strings
    AgentProc *from;
    uint64_t call;
    StoreOp op;
    bool once;           // not to be sent again when no answer comes
    bool perhaps_before; // an earlier copy may have been done
    MailApply *apply;
    const char *what;
    // --- the request
    const char *key, *value, *status, *text;
    int64_t session, term, expected, ttl_ms;
    AcquireRequest acquire;
    // --- the reply
    ErrorKind kind; // ERR_NONE: done
    const char *why;
    int64_t revision;
    uint64_t cluster_id;
    RawKey *keys; // a listing
    size_t count;
    size_t log_count; // how far the store's log was when it was done
};

Mail *mail_new(AgentProc *proc, StoreOp op, MailApply *apply);
void mail_free(Sim *sim, Mail *mail);
// Sends it, and again when no answer comes, until the deadline. NULL: see err. The reply is the
// caller's; the mail is used up.
Mail *mail_call(Mail *mail, const char *what, Deadline deadline, Error *err) MUST_CHECK;
Mail *refuse(Mail *mail, ErrorKind kind, const char *why);
bool store_at(const Sim *sim, const char *key, int64_t revision); // 0: absent

// --- sim_watch.c
void watch_begin(AgentProc *proc);
EtcdKeys store_listing(Sim *sim, Arena *arena);
bool store_reachable(const AgentProc *proc);
void watch_take_listing(AgentProc *proc, const EtcdKeys *keys, int64_t revision,
                        uint64_t cluster_id, Instant sent_at);
// Until the watch has brought what the store's log held; false: not within that time.
bool watch_wait_for(AgentProc *proc, size_t log_count, int64_t ms);
void watch_wait_for_own(AgentProc *proc, const Mail *reply);
// The store has said how far it is, and the watch does not come after: it is opened anew.
void watch_check(AgentProc *proc, size_t log_count, int64_t grace_ms);
