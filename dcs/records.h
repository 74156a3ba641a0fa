// Patroni's keys and their JSON, both ways (docs/store.md, "Keys"). Pure: no I/O.
//
// A store hands its raw key-value pairs to records_parse and gets the ClusterView; everything that
// is not what it should be becomes "absent", never an error.
#pragma once
#include "common/model/cluster.h"
#include "common/model/server_view.h"
#include "common/model/settings.h"

typedef struct {
    const char *key;   // below the cluster's prefix: "leader", "members/a"
    const char *value; // NUL-terminated
    size_t length;     // a value with a NUL byte inside is garbage
    int64_t create_revision, mod_revision;
    const char *lease; // decimal id, NULL: none
} RawKey;

// Strings of out point into the arena; raw may go afterwards. Leaves vacancy, seen_at and
// cluster_id alone, so out must be initialized. Revisions are those of the key, also where its
// value is garbage.
void records_parse(Arena *arena, const RawKey *raw, size_t count, int64_t revision,
                   ClusterView *out);

const char *records_key_name(int dcs_key); // DcsKey -> "initialize", …

typedef struct {
    const Settings *settings;
    const ServerView *server;
    bool leader; // we hold the key
    bool paused;
    const Tree *scheduled_restart; // NULL: none
} MemberRecordInput;
char *records_member(Arena *arena, const MemberRecordInput *input);

// slots: name -> LSN map or NULL; both lists empty are left out.
char *records_status(Arena *arena, Lsn optime, const Tree *slots, const StringList *retain_slots);
char *records_history(Arena *arena, const HistoryLine *lines, size_t count);
char *records_failover(Arena *arena, const char *leader, const char *candidate,
                       const char *scheduled_at); // "{}" when nothing is given
// Names are sorted; without standbys sync_standby is null.
char *records_sync(Arena *arena, const char *leader, const StringList *standbys, int quorum);
char *records_term(Arena *arena, const char *holder, const char *instance, int64_t term,
                   uint32_t parent_timeline, uint32_t timeline, bool confirmed, bool released,
                   Lsn lsn);
// Microseconds since 1970 -> ISO 8601 in the local zone, with its offset.
char *records_timestamp(Arena *arena, int64_t wall_us);
