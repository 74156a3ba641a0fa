// What the agent is told: the local file and environment, and the cluster's dynamic configuration
// from the store, merged and checked. One Settings lives in one arena, is immutable once built, and
// is replaced whole on reload.
#pragma once
#include "common/base/lsn.h"
#include "common/model/cluster.h"
#include "common/model/tree.h"

#include <sys/types.h>

// Prints as ****; secret_reveal is the only way to the text.
typedef struct {
    const char *hidden; // NULL: not set
} Secret;

static inline const char *secret_reveal(Secret secret)
{
    return secret.hidden;
}

typedef struct {
    const char *host; // NULL: none
    int port;
} Address;

typedef struct {
    const char *username; // NULL: none
    Secret password;
    const char *sslmode, *sslcert, *sslkey, *sslrootcert, *sslcrl, *sslcrldir, *gssencmode,
        *channel_binding, *sslnegotiation; // NULL: not set
    Secret sslpassword;
} PgAuth;

typedef struct {
    Address listen_port;          // port; host is the raw list
    const char *listen_addresses; // "*", "127.0.0.1,::1"
    int port;
    Address connect; // what others use
    Address proxy;   // host NULL: none
    const char *data_dir;
    const char *config_dir;       // = data_dir by default
    const char *config_base_name; // "postgresql"
    const char *custom_conf;      // NULL
    const char *bin_dir;          // "": PATH
    const char *bin_name_initdb, *bin_name_pg_controldata, *bin_name_pg_basebackup,
        *bin_name_postgres, *bin_name_pg_rewind, *bin_name_pg_waldump;
    const char *database;   // "postgres"
    const char *pgpass;     // path
    const char *krbsrvname; // NULL
    bool use_unix_socket, use_unix_socket_repl;
    bool use_slots;
    bool use_pg_rewind;
    bool remove_data_directory_on_rewind_failure;
    bool remove_data_directory_on_diverged_timelines;
    int64_t pg_ctl_timeout_ms;
    PgAuth superuser, replication, rewind; // rewind falls back to superuser
    const Tree *parameters;                // map: merged, without what the agent controls itself
    const Tree *controlled;      // map: the DCS-controlled ones, passed on the command line
    const Tree *recovery_conf;   // map or NULL
    StringList pg_hba, pg_ident; // empty: not managed
    const Tree *basebackup;      // list or map of options, NULL
    StringList create_replica_methods;
    const Tree *section; // the whole postgresql section, for methods' own maps and hooks
} PostgresSettings;

typedef struct {
    bool present;
    const Tree *dcs;    // becomes /config; never NULL when present
    const char *method; // "initdb"
    const Tree *initdb; // list or map of options, NULL
    StringList pg_hba;
    const char *post_bootstrap; // NULL
    const Tree *section;
} BootstrapSettings;

typedef struct {
    Address listen, connect;
    const char *username; // NULL: no basic auth
    Secret password;
    const char *certfile, *keyfile, *cafile, *ciphers; // NULL
    Secret keyfile_password;
    enum { VERIFY_CLIENT_NONE, VERIFY_CLIENT_OPTIONAL, VERIFY_CLIENT_REQUIRED } verify_client;
    StringList allowlist;
    bool allowlist_include_members;
    const Tree *http_extra_headers, *https_extra_headers; // maps or NULL
    const char *api_url;                                  // "http://host:port/patroni"
} RestSettings;

typedef struct {
    const char *username; // falls back to restapi's
    Secret password;
    const char *cacert, *certfile, *keyfile; // NULL
    Secret keyfile_password;
    bool insecure;
} CtlSettings;

typedef struct {
    StringList endpoints;         // "http://host:port", from host, hosts, url or proxy
    bool fixed;                   // proxy or use_proxies: no member discovery
    const char *srv, *srv_suffix; // NULL
    const char *protocol;         // "http" or "https"
    const char *username;         // NULL
    Secret password;
    const char *cacert, *cert, *key; // NULL
} EtcdSettings;

// What carries the cluster's state.
typedef enum { KUBERNETES_ENDPOINTS, KUBERNETES_CONFIGMAPS, KUBERNETES_LEASES } KubernetesObjects;

typedef struct {
    const char *key, *value;
} KubernetesLabel;

typedef struct {
    KubernetesLabel *items;
    size_t count;
} KubernetesLabels;

typedef struct {
    const char *name; // NULL: none
    int port;
    const char *protocol; // "TCP", "UDP" or "SCTP"
} KubernetesPort;

typedef struct {
    KubernetesObjects objects; // store; else by use_endpoints, as Patroni
    // The top-level namespace if there is one, else this section's. NULL: the pod's own, and
    // outside of a cluster "default".
    const char *namespace;
    KubernetesLabels labels; // without the scope's own; perhaps none is left
    const char *scope_label; // its value is the scope
    const char *role_label;
    const char *leader_label_value, *follower_label_value, *standby_leader_label_value;
    const char *tmp_role_label;        // NULL: none
    KubernetesLabels bootstrap_labels; // perhaps none
    const char *pod_ip;                // NULL: the pod's status says it
    KubernetesPort *ports;             // at least one
    size_t port_count;
    bool bypass_api_service;
    int *retriable_http_codes; // besides 500, 502, 503 and 504
    size_t retriable_http_code_count;
    const char *cacert;  // NULL: the service account's
    const char *context; // of the kubeconfig; NULL: "kind-kind" if there is one, else its current
} KubernetesSettings;

typedef struct {
    const char *state_dir; // default: <parent of data_dir>/.howdah-<its name>
    const char *run_dir;   // NULL: /run/howdah if writable, else state_dir
    const char *warden;    // program; NULL: found beside us
    const char *socket;    // w-<hash of data_dir>.sock, below run_dir unless it begins with '/'
    int64_t margin_ms;     // effective: docs/architecture.md, "The lease and the fence"
    int64_t stop_budget_ms;
    int64_t margin_least_ms;       // whatever the ttl
    int64_t stop_budget_wanted_ms; // 0: by the ttl
} HowdahSettings;

typedef struct {
    int level; // LogLevel
    bool json;
    const char *dir; // NULL: stderr
    int64_t file_size_bytes;
    int file_count, queue_records;
} LogSettings;

typedef struct {
    const char *name, *scope; // of howdahctl both may be NULL
    const char *namespace;    // "service"
    const char *base_path;    // "/service/demo": namespace and scope; NULL without scope
    // --- dynamic, from the store; milliseconds and bytes
    int64_t ttl_ms, loop_wait_ms, retry_timeout_ms; // adjusted to the rule
    bool fast_timers_allowed;                       // every member is ours: ttl may go down to 5 s
    uint64_t maximum_lag_on_failover;
    int64_t primary_start_timeout_ms, primary_stop_timeout_ms;
    bool failsafe_mode;
    bool pause;
    bool standby_cluster;
    bool sync_mode; // asked for; it is in force while /sync names a leader
    bool check_timeline;
    int64_t member_slots_ttl_ms;
    int max_timelines_history;
    const Tree *dynamic; // the whole dynamic configuration in force, never NULL
    int64_t dynamic_revision;
    // --- local
    Tags tags;
    const Tree *tags_tree; // as published, falsy ones dropped; NULL: none
    PostgresSettings postgresql;
    BootstrapSettings bootstrap;
    RestSettings restapi;
    CtlSettings ctl;
    enum { STORE_ETCD, STORE_KUBERNETES } store; // which of the next two holds
    EtcdSettings etcd;
    KubernetesSettings kubernetes;
    HowdahSettings howdah;
    LogSettings log;
    const Tree *local; // the whole local document
} Settings;

typedef struct {
    StringList warnings; // one line each; those that are errors begin with "error: "
} SettingsNotes;

// Checks and merges. dynamic is /config (NULL: none yet, then bootstrap.dcs stands in). On error
// every finding is a line in notes->warnings and err holds the first. server_major 0: not known.
// What is wrong in dynamic is a warning, and the default holds: a member must come up whatever the
// store says. Both documents are copied. for_ctl: nothing is required, and only scope, namespace,
// etcd, kubernetes, ctl and restapi are read.
// The local document comes from common/model/io/settings_read.h.
bool settings_build(Arena *arena, const Tree *local, const Tree *dynamic, int64_t dynamic_revision,
                    bool all_howdah, int server_major, bool for_ctl, Settings *out,
                    SettingsNotes *notes, Error *err) MUST_CHECK;

// What the fence takes of a lease proven with that ttl. One that was had before the ttl was raised
// is judged by its own: the margins of the longer one may be longer than all of it.
typedef struct {
    int64_t margin_ms, stop_budget_ms;
} FenceShare;
FenceShare settings_fence(const Settings *settings, int64_t ttl_ms);

// Findings in a dynamic configuration that somebody is about to write; false if there are any.
bool settings_check_dynamic(Arena *arena, const Tree *dynamic, SettingsNotes *notes);
// "/service/demo": where that cluster is in the store.
const char *settings_base_path(Arena *arena, const char *name_space, const char *scope);

// The one table of options; docs/settings.md, the sample file and --help are printed from it.
char *settings_reference_markdown(Arena *arena);
char *settings_sample_yaml(Arena *arena);
char *settings_help(Arena *arena);
