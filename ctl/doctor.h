// `howdahctl doctor`: what can be wrong with an installation, and the line that mends it.
//
// First everything is gathered (doctor_gather.c and its helpers: requests, files, SQL; each with a
// deadline, none of them writes). Then the checks look at it: pure functions over DoctorFacts,
// listed in one table (doctor_checks.c), each of which adds lines to the report.
#pragma once
#include "common/model/settings.h"
#include "dcs/probe.h"

#include <sys/types.h>

// --- facts

// Something that was asked for. value NULL: why says why it could not be had. Both NULL: nobody has
// asked, because it does not matter here.
typedef struct {
    const Tree *value;
    const char *why;
} Known;

typedef struct {
    const char *group, *resource, *name, *verb; // as KubeRight
    bool optional;        // without it something is missing, and the cluster works
    const char *for_what; // what it is for
    bool allowed;
} RightFact;

// A pod that belongs to the cluster by its name and not by its labels.
typedef struct {
    const char *name;
    const Tree *labels; // NULL: none at all
} StrayPod;

typedef struct {
    bool in_pod; // by the service account of the pod that we run in
    const char *server, *namespace;
    Known version;
    KubeToken token;
    int64_t now_s;       // by the clock of this machine, for the token alone
    const char *account; // whose rights were asked for; NULL: our own
    const RightFact *rights;
    size_t right_count;
    const char *rights_why; // they could not be asked for; NULL: they could
    Known pods, services;   // lists of objects
    const StrayPod *strays;
    size_t stray_count;
    KubeOtherMode others[KUBE_OTHER_MODES];
} KubeFacts;

typedef struct {
    const char *what; // "etcd3.cacert"
    const char *path;
    int error;   // of stat or of opening it to read; 0: none
    bool is_key; // nobody else should read it
    mode_t mode;
} FileFact;

typedef struct {
    int error; // 0: the rest holds
    mode_t mode;
    uid_t uid;
    gid_t gid;
} PathFact;

// What a child process has seen of the data volume, which may hang.
typedef struct {
    bool answered; // false: it did not within the time
    PathFact data_dir, parent, state_dir, pgpass, version_file;
    bool has_space;
    uint64_t bytes, bytes_free, inodes, inodes_free;
} VolumeFacts;

typedef enum {
    WARDEN_NO_SOCKET, // and errno says why
    WARDEN_NOT_ASKED, // it takes connections of its own user alone, and we are somebody else
    WARDEN_REFUSES,   // nobody listens, or it hung up
    WARDEN_SILENT,
    WARDEN_ANSWERS,
} WardenAnswer;

typedef struct {
    const char *socket;
    WardenAnswer answer;
    int error;
    uid_t owner;
    int pid;               // 0: not known, as in a pod
    int64_t locked_kb;     // of that process; -1: not known
    int64_t memlock_limit; // bytes, of that process or else of ours; -1: none
    bool limit_is_wardens;
    bool swaps; // this machine has swap
} WardenFacts;

typedef struct {
    bool beside;         // the data directory's place is here
    const char *why_not; // …it is not
    uid_t uid;           // ours
    VolumeFacts volume;
    WardenFacts warden;
} LocalFacts;

typedef struct {
    const char *name, *url;
    bool leads;
    const Tree *status; // GET /patroni; NULL: none
    const char *error;  // why; NULL: it was not asked, because it has no address
    const Tree *why;    // GET /why; NULL: a Patroni member, or it did not answer
} MemberFact;

typedef struct {
    const char *server; // "127.0.0.1:5432"
    const char *error;  // why there is no connection; NULL: there is
    const char *member; // whose server it is
    // Rows as lists of maps.
    Known settings, server_facts, roles, hba, slots, senders, archiver, receiver;
} SqlFacts;

typedef struct {
    Arena *arena; // for what checks say
    const char *scope;
    const char *path;         // of the settings; NULL: the environment
    StringList findings;      // of the validator
    bool is_agents;           // the settings are those of an agent
    bool usable;              // and it would start with them
    const Settings *settings; // never NULL; of an agent as it would see them, if usable
    const ClusterView *view;  // NULL: view_why says why
    const char *view_why;
    StringList dynamic_findings; // in the cluster's configuration
    const FileFact *files;
    size_t file_count;
    KubeFacts kube;
    const EtcdEndpointFacts *etcd;
    size_t etcd_count;
    LocalFacts local;
    const MemberFact *members;
    size_t member_count;
    SqlFacts sql;
} DoctorFacts;

// --- the report

typedef enum { DOCTOR_OK, DOCTOR_WARN, DOCTOR_WRONG, DOCTOR_SKIPPED, DOCTOR_VERDICTS } Verdict;

typedef struct {
    Verdict verdict;
    const char *topic, *check;
    const char *found;
    const char *mend; // lines; NULL: none
} DoctorLine;

typedef struct {
    Arena *arena;
    DoctorLine *lines;
    size_t count, capacity;
    const char *topic, *check; // of what is added
} DoctorReport;

void doctor_ok(DoctorReport *report, const char *fmt, ...) PRINTF_LIKE(2, 3);
void doctor_skipped(DoctorReport *report, const char *fmt, ...) PRINTF_LIKE(2, 3);
// mend: what to do, ready to be copied.
void doctor_warn(DoctorReport *report, const char *mend, const char *fmt, ...) PRINTF_LIKE(3, 4);
void doctor_wrong(DoctorReport *report, const char *mend, const char *fmt, ...) PRINTF_LIKE(3, 4);
const char *verdict_name(Verdict verdict); // "ok"
size_t doctor_count(const DoctorReport *report, Verdict verdict);
// False, with a line that says why, if the answer is not there.
bool doctor_known(DoctorReport *report, const Known *known, const char *what);

// --- checks

typedef void DoctorCheckRun(const DoctorFacts *facts, DoctorReport *report);

typedef struct {
    const char *topic; // "kubernetes"
    const char *name;  // "rights"
    DoctorCheckRun *run;
} DoctorCheck;

extern const DoctorCheck doctor_checks[];
extern const size_t doctor_check_count;
// All of them, in the table's order; those of a topic that cannot be looked at leave one line.
void doctor_run_checks(const DoctorFacts *facts, DoctorReport *report);

// doctor_settings.c
DoctorCheckRun check_settings, check_timers, check_dynamic, check_files;
// doctor_etcd.c
DoctorCheckRun check_etcd_endpoints, check_etcd_health, check_cluster;
// doctor_access.c
DoctorCheckRun check_api, check_token, check_rights;
// doctor_pods.c
DoctorCheckRun check_pod_labels, check_pod_roles, check_grace, check_users, check_volume_group,
    check_other_stores;
// doctor_services.c
DoctorCheckRun check_primary_service, check_replica_service, check_member_service,
    check_service_links;
// doctor_local.c
DoctorCheckRun check_warden, check_memlock, check_data_dir, check_space, check_pgpass;
// doctor_members.c
DoctorCheckRun check_own_api, check_members, check_fences;
// doctor_postgres.c
DoctorCheckRun check_connection, check_replication_settings, check_durability, check_rewind,
    check_archiving, check_listening, check_pending_restart;
// doctor_roles.c
DoctorCheckRun check_roles, check_rewind_rights;
// doctor_hba.c
DoctorCheckRun check_hba;
// doctor_slots.c
DoctorCheckRun check_slots, check_streaming;

// --- what checks share

// The rights that this cluster's agents need, without answers. Of Services those that the agents
// write on. Pure.
size_t doctor_rights_of(Arena *arena, const Settings *settings, const char *scope,
                        const Tree *services, RightFact **out);
size_t list_count(const Tree *list); // 0: NULL, or no list
const Tree *list_at(const Tree *list, size_t i);
const char *object_name(const Tree *object); // metadata.name, ""
const Tree *object_labels(const Tree *object);
// Every key of the selector has the same value among the labels. An empty selector selects nothing.
bool selector_fits(const Tree *selector, const Tree *labels);
// What sets a parameter of PostgreSQL, where it is set now: the cluster's configuration (howdahctl
// edit-config …), the member's own settings, or ALTER SYSTEM; and what makes it take effect.
const char *mend_parameter(const DoctorFacts *facts, const char *name, const char *value,
                           bool restart);
const char *join_names(Arena *arena, const StringList *names); // "a, b"

// --- gathering

struct Ctl;
// Never fails: what could not be had is a fact. Strings live in the command's arena.
void doctor_gather(struct Ctl *ctl, const char *config, const char *scope, DoctorFacts *out);
// doctor_kube.c
void gather_kubernetes(DoctorFacts *facts, Clock *clock, Resolver *resolver, Deadline deadline);
// doctor_disk.c: false when the time is over.
bool doctor_wait(int fd, short events, Clock *clock, Deadline deadline);
// In a child process, because a dead disk lets nobody go.
void gather_volume(const Settings *settings, Clock *clock, Arena *arena, Deadline deadline,
                   VolumeFacts *out);
// doctor_warden.c
void gather_warden(const Settings *settings, Clock *clock, Arena *arena, Deadline deadline,
                   WardenFacts *out);
// doctor_sql.c
void gather_sql(DoctorFacts *facts, Clock *clock, Resolver *resolver, Deadline deadline);
