// The cluster as the commands see it, read from the store or from one member's GET /cluster: both
// give the same document.
#pragma once
#include "ctl/ctl.h"

typedef struct {
    const char *name;
    const char *role;  // "leader", "standby_leader", "sync_standby", "quorum_standby", "replica"
    const char *state; // "" if nothing is known
    const char *host;  // NULL: not known
    int port;
    const char *api_url; // NULL: none
    bool leads;          // holds the leader key
    bool nofailover;
    bool standby_leader, primary; // by the role the member itself has published
    bool pending_restart;
    const Tree *scheduled_restart; // NULL: none
    const Tree *row;               // its object in the document
} MemberInfo;

typedef struct {
    const char *scope;
    const char *identifier; // the system identifier, "uninitialized" or "initializing"
    const Tree *document;
    const MemberInfo *members; // sorted by name
    size_t count;
    const char *leader; // NULL: none; it may be no member
    bool paused;
    const Tree *scheduled_switchover; // "at", "from", "to"; NULL: none
    bool over_store;
    ClusterView view; // only over the store
} ClusterInfo;

// What the document of GET /cluster says; scope and identifier are left alone. Pure.
void cluster_info_fill(Arena *arena, const Tree *document, ClusterInfo *out);

// scope NULL: the one of the settings, or of the member behind --api.
bool cluster_info_read(Ctl *ctl, const char *scope, ClusterInfo *out, Error *err) MUST_CHECK;
const MemberInfo *cluster_info_member(const ClusterInfo *cluster, const char *name); // NULL: none
const MemberInfo *cluster_info_leader(const ClusterInfo *cluster); // NULL: none, or no member

// The dynamic configuration; *out NULL: there is none. *out_revision is 0 over the API.
bool cluster_config_read(Ctl *ctl, const ClusterInfo *cluster, const Tree **out,
                         int64_t *out_revision, Error *err) MUST_CHECK;
// Lists of [timeline, lsn, reason, timestamp, new leader], the last two perhaps missing.
bool cluster_history_read(Ctl *ctl, const ClusterInfo *cluster, const Tree **out, Error *err)
    MUST_CHECK;
