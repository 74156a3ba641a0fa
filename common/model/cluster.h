// The cluster as the store shows it: one consistent snapshot, parsed (docs/store.md).
#pragma once
#include "common/base/lsn.h"
#include "common/base/time.h"
#include "common/base/timeline.h"
#include "common/model/tree.h"
#include "common/model/words.h"

typedef struct {
    bool nofailover;       // effective: the tag, or failover_priority <= 0 where it is unset
    int failover_priority; // 1 by default, 0 when nofailover
    bool nosync;
    int sync_priority;
    bool noloadbalance;
    bool clonefrom;
    bool nostream;
    const char *replicatefrom; // NULL: none
} Tags;

// Reads the tags map of settings or of a member record; NULL gives the defaults.
Tags tags_parse(const Tree *tags);

typedef struct {
    const char *name;
    int64_t mod_revision;
    const char *session;                        // lease id as text, NULL: none
    const char *conn_url, *api_url, *proxy_url; // NULL: not published
    const char *host;                           // from conn_url; NULL: not known
    int port;
    ServerState state;
    const char *state_text; // as published, "" if absent
    Role role;
    const char *version;
    const char *howdah; // our version; NULL: a Patroni member, which has no fence
    Lsn xlog_location, receive_lsn, replay_lsn;
    const char *replication_state; // NULL: absent
    uint32_t timeline;
    bool pause;
    bool checkpoint_pending; // checkpoint_after_promote: false
    bool pending_restart;
    Tags tags;
    const char *revision; // of the template that its pod was made from; NULL: no StatefulSet's pod
    const Tree *data;     // the whole record; never NULL, empty map if it was garbage
} MemberView;

typedef struct {
    const char *name;    // NULL: nobody leads
    const char *session; // lease id, NULL: the key has no lease (somebody wrote it by hand)
    int64_t create_revision, mod_revision;
} LeaderView;

// Key `howdah`, beside Patroni's: who holds the lease, in which term, with which timeline.
// docs/store.md, "The term record". Written with the acquire; re-written when the new timeline is
// known and on release.
typedef struct {
    bool present;
    int64_t mod_revision;
    const char *holder;
    const char *instance; // boot id and data directory: a name is not an identity
    int64_t term;         // leader's create_revision; 0 in the record the acquire itself wrote
    uint32_t parent_timeline;
    uint32_t timeline; // intended, or real once confirmed
    bool confirmed;
    bool released;    // the marker: written in the same transaction as the delete
    Lsn released_lsn; // end of the holder's WAL at release
} TermRecord;

// Does the record speak of this very leader key?
bool term_record_valid(const TermRecord *record, const LeaderView *leader);

// How the last leader key went, as seen by this observer.
typedef enum {
    VACANCY_NONE,     // there is a leader
    VACANCY_NEVER,    // no trace of any leader: a new cluster
    VACANCY_RELEASED, // by its holder's marker: free at once
    VACANCY_EXPIRED,  // lease over: leader and member key went in one revision: free at once
    VACANCY_TAMPERED, // vanished or changed otherwise: reserved for the holder for a ttl
    VACANCY_FOUND,    // it was so when we arrived, and no marker stands
} VacancyKind;

typedef struct {
    VacancyKind kind;
    const char *holder; // the last one; NULL: not known
    Instant since;      // when this observer saw it
} Vacancy;

typedef struct {
    const char *leader, *candidate; // NULL: not given
    const char *scheduled_at;       // ISO 8601 as written, NULL: now
    int64_t scheduled_us;           // wall clock; 0: none or unparsable
    bool schedule_invalid;
    int64_t mod_revision;
} FailoverView;

typedef struct {
    const char *leader; // NULL: no sync state
    StringList voters;  // without the leader
    int quorum;
    int64_t mod_revision;
} SyncView;

typedef struct {
    uint32_t timeline;
    Lsn lsn;
    const char *reason, *timestamp, *new_leader; // NULL: shorter line
} HistoryLine;

typedef struct {
    int64_t revision;   // store revision of this snapshot; grows
    int64_t cluster_id; // of the store; changes when it was replaced
    Instant seen_at;    // when it was last known to be current
    const char
        *initialize; // NULL: absent, "": somebody is bootstrapping, else the system identifier
    int64_t initialize_revision;
    const Tree *config;      // NULL: absent or garbage
    int64_t config_revision; // 0: absent
    bool config_invalid;     // present, but garbage
    LeaderView leader;
    TermRecord term;
    Vacancy vacancy;
    Lsn optime;        // from status
    const Tree *slots; // name -> LSN, NULL: none
    StringList retain_slots;
    const char *status_text;   // as stored, to skip equal writes
    const MemberView *members; // sorted by name
    size_t member_count;
    FailoverView failover;
    SyncView sync;
    const HistoryLine *history;
    size_t history_count;
    bool history_known;       // false: absent or garbage, which disables timeline checks
    const char *history_text; // as stored
    int64_t history_revision;
    const Tree *failsafe; // name -> api_url, NULL: absent or garbage
    int64_t failsafe_revision;
    // Why this store must not be raced for nor bootstrapped in: the cluster is kept in another one,
    // or that is not known yet (Kubernetes). NULL: no reason.
    const char *other_store;
    const char *other_store_line; // of the settings, that would be right then; NULL: not known
} ClusterView;

const MemberView *cluster_member(const ClusterView *view,
                                 const char *name); // case ignored; NULL: none
const MemberView *cluster_leader_member(const ClusterView *view);
// Of the members that have written a record, each is ours. (A pod is a member before it does.)
bool cluster_is_all_howdah(const ClusterView *view);
// Last history line's timeline + 1; `[]` gives 1; not known gives 0.
uint32_t cluster_timeline(const ClusterView *view);
// The newest timeline with its ancestors as /history tells them; timeline 0 when not known.
TimelineHistory cluster_history(Arena *arena, const ClusterView *view);
bool initialize_is_valid(const char *initialize); // all digits, at least 10
// The one mapping from member name to slot name: Patroni's.
const char *slot_name_of(Arena *arena, const char *member);
