#include "common/model/settings_table.h"

#include "common/base/text.h"

#include <string.h>

#define RANGE(low, high) .bounded = true, .min = (low), .max = (high)
#define AT_LEAST(low)    .bounded = true, .min = (low), .max = INT32_MAX
#define TEXT             .type = OPTION_TEXT
#define SECRET           .type = OPTION_SECRET
#define BOOL             .type = OPTION_BOOL
#define INT              .type = OPTION_INT
#define SECONDS          .type = OPTION_SECONDS
#define LOCAL_RELOAD     .where = LOCAL, .applies = ON_RELOAD
#define LOCAL_RESTART    .where = LOCAL, .applies = ON_RESTART
#define DYNAMIC_RELOAD   .where = DYNAMIC, .applies = ON_RELOAD
#define BOTH_RELOAD      .where = BOTH, .applies = ON_RELOAD
#define BOTH_RESTART     .where = BOTH, .applies = ON_RESTART
#define BOOTSTRAP        .where = LOCAL, .applies = AT_BOOTSTRAP

// One user's credentials and connection options.
#define AUTHENTICATION(user, env_name, needed, name_sample, secret_sample)                         \
    {"postgresql.authentication." user ".username",                                                \
     TEXT,                                                                                         \
     LOCAL_RELOAD,                                                                                 \
     .env = env_name "_USERNAME",                                                                  \
     .required = needed,                                                                           \
     .sample = name_sample,                                                                        \
     .help = "name of the role"},                                                                  \
        {"postgresql.authentication." user ".password",                                            \
         SECRET,                                                                                   \
         LOCAL_RELOAD,                                                                             \
         .env = env_name "_PASSWORD",                                                              \
         .sample = secret_sample,                                                                  \
         .help = "its password"},                                                                  \
        {"postgresql.authentication." user ".sslmode", TEXT, LOCAL_RELOAD,                         \
         .env = env_name "_SSLMODE", .help = "libpq's sslmode"},                                   \
        {"postgresql.authentication." user ".sslcert", TEXT, LOCAL_RELOAD,                         \
         .env = env_name "_SSLCERT", .help = "client certificate"},                                \
        {"postgresql.authentication." user ".sslkey", TEXT, LOCAL_RELOAD,                          \
         .env = env_name "_SSLKEY", .help = "its key"},                                            \
        {"postgresql.authentication." user ".sslpassword", SECRET, LOCAL_RELOAD,                   \
         .env = env_name "_SSLPASSWORD", .help = "the key's password"},                            \
        {"postgresql.authentication." user ".sslrootcert", TEXT, LOCAL_RELOAD,                     \
         .env = env_name "_SSLROOTCERT", .help = "authorities to trust"},                          \
        {"postgresql.authentication." user ".sslcrl", TEXT, LOCAL_RELOAD,                          \
         .env = env_name "_SSLCRL", .help = "revoked certificates, a file"},                       \
        {"postgresql.authentication." user ".sslcrldir", TEXT, LOCAL_RELOAD,                       \
         .env = env_name "_SSLCRLDIR", .help = "revoked certificates, a directory"},               \
        {"postgresql.authentication." user ".gssencmode", TEXT, LOCAL_RELOAD,                      \
         .env = env_name "_GSSENCMODE", .help = "libpq's gssencmode"},                             \
        {"postgresql.authentication." user ".channel_binding", TEXT, LOCAL_RELOAD,                 \
         .env = env_name "_CHANNEL_BINDING", .help = "libpq's channel_binding"},                   \
    {                                                                                              \
        "postgresql.authentication." user ".sslnegotiation", TEXT, LOCAL_RELOAD,                   \
            .env = env_name "_SSLNEGOTIATION", .help = "libpq's sslnegotiation"                    \
    }

#define PROGRAM(name, env_name)                                                                    \
    {                                                                                              \
        "postgresql.bin_name." name, TEXT, BOTH_RELOAD, .fallback = name, .env = env_name,         \
                                                        .help = "what " name " is called here"     \
    }

// clang-format off
const Option option_table[] = {
{"scope", TEXT, LOCAL_RESTART, .env = "SCOPE", .required = true, .sample = "demo",
 .help = "name of the cluster"},
{"namespace", TEXT, LOCAL_RESTART, .fallback = "service", .env = "NAMESPACE",
 .help = "where clusters live in the store: /<namespace>/<scope>; with kubernetes, its namespace"},
{"name", TEXT, LOCAL_RESTART, .env = "NAME", .required = true, .sample = "node1",
 .help = "name of this member, unique within the cluster"},
{"thread_pool_size", INT, LOCAL_RESTART, AT_LEAST(1), .env = "THREAD_POOL_SIZE",
 .help = "accepted for Patroni's sake, without effect"},
{"thread_stack_size", .type = OPTION_BYTES, LOCAL_RESTART, AT_LEAST(0), .env = "THREAD_STACK_SIZE",
 .help = "accepted for Patroni's sake, without effect"},

{"log.level", .type = OPTION_WORD, LOCAL_RELOAD, .fallback = "INFO", .env = "LOG_LEVEL",
 .words = "DEBUG INFO WARN WARNING ERROR FATAL CRITICAL", .help = "least important level to log"},
{"log.type", .type = OPTION_WORD, LOCAL_RELOAD, .fallback = "plain", .words = "plain json",
 .env = "LOG_TYPE", .help = "one line of text, or one JSON object, a record"},
{"log.dir", TEXT, LOCAL_RELOAD, .env = "LOG_DIR",
 .help = "directory for log files; standard error if not set"},
{"log.file_size", INT, LOCAL_RELOAD, AT_LEAST(1), .fallback = "25000000", .env = "LOG_FILE_SIZE",
 .help = "bytes after which a new log file begins"},
{"log.file_num", INT, LOCAL_RELOAD, RANGE(0, 10000), .fallback = "4", .env = "LOG_FILE_NUM",
 .help = "how many older log files to keep"},
{"log.max_queue_size", INT, LOCAL_RELOAD, RANGE(1, 1000000), .fallback = "1000",
 .env = "LOG_MAX_QUEUE_SIZE", .help = "records that may wait for a slow disk before some are dropped"},
{"log.mode", INT, LOCAL_RELOAD, RANGE(0, 511), .env = "LOG_MODE",
 .help = "accepted for Patroni's sake, without effect"},
{"log.format", .type = OPTION_ANY, LOCAL_RELOAD, .env = "LOG_FORMAT",
 .help = "accepted for Patroni's sake, without effect"},
{"log.dateformat", TEXT, LOCAL_RELOAD, .env = "LOG_DATEFORMAT",
 .help = "accepted for Patroni's sake, without effect"},
{"log.traceback_level", TEXT, LOCAL_RELOAD, .env = "LOG_TRACEBACK_LEVEL",
 .help = "accepted for Patroni's sake, without effect"},
{"log.static_fields", .type = OPTION_MAP, LOCAL_RELOAD, .env = "LOG_STATIC_FIELDS",
 .help = "accepted for Patroni's sake, without effect"},
{"log.loggers", .type = OPTION_MAP, LOCAL_RELOAD, .env = "LOG_LOGGERS",
 .help = "accepted for Patroni's sake, without effect"},
{"log.deduplicate_heartbeat_logs", BOOL, LOCAL_RELOAD, .env = "LOG_DEDUPLICATE_HEARTBEAT_LOGS",
 .help = "accepted for Patroni's sake: nothing is logged while nothing changes"},

{"restapi.listen", .type = OPTION_ADDRESS, LOCAL_RELOAD, .env = "RESTAPI_LISTEN", .required = true,
 .sample = "0.0.0.0:8008", .help = "where the REST API listens"},
{"restapi.connect_address", .type = OPTION_ADDRESS, LOCAL_RELOAD, .env = "RESTAPI_CONNECT_ADDRESS",
 .prose_default = "as listen", .sample = "127.0.0.1:8008", .help = "where other members reach it"},
{"restapi.authentication.username", TEXT, LOCAL_RELOAD, .env = "RESTAPI_USERNAME",
 .help = "user for requests that change something"},
{"restapi.authentication.password", SECRET, LOCAL_RELOAD, .env = "RESTAPI_PASSWORD",
 .help = "that user's password"},
{"restapi.certfile", TEXT, LOCAL_RELOAD, .env = "RESTAPI_CERTFILE",
 .help = "certificate; turns TLS on"},
{"restapi.keyfile", TEXT, LOCAL_RELOAD, .env = "RESTAPI_KEYFILE", .help = "its key"},
{"restapi.keyfile_password", SECRET, LOCAL_RELOAD, .env = "RESTAPI_KEYFILE_PASSWORD",
 .help = "the key's password"},
{"restapi.cafile", TEXT, LOCAL_RELOAD, .env = "RESTAPI_CAFILE",
 .help = "authorities of client certificates"},
{"restapi.ciphers", TEXT, LOCAL_RELOAD, .env = "RESTAPI_CIPHERS", .help = "TLS ciphers to allow"},
{"restapi.verify_client", .type = OPTION_WORD, LOCAL_RELOAD, .fallback = "none",
 .words = "none optional required", .env = "RESTAPI_VERIFY_CLIENT",
 .help = "client certificates: required for every request, or for those that change something"},
{"restapi.allowlist", .type = OPTION_CSV, LOCAL_RELOAD, .env = "RESTAPI_ALLOWLIST",
 .help = "addresses, networks and names from which changes are accepted; all if not set"},
{"restapi.allowlist_include_members", BOOL, LOCAL_RELOAD, .fallback = "false",
 .env = "RESTAPI_ALLOWLIST_INCLUDE_MEMBERS", .help = "accept changes from other members too"},
{"restapi.http_extra_headers", .type = OPTION_MAP, LOCAL_RELOAD,
 .env = "RESTAPI_HTTP_EXTRA_HEADERS", .help = "headers for every answer"},
{"restapi.https_extra_headers", .type = OPTION_MAP, LOCAL_RELOAD,
 .env = "RESTAPI_HTTPS_EXTRA_HEADERS", .help = "headers for every answer over TLS, on top"},
{"restapi.server_tokens", .type = OPTION_WORD, LOCAL_RELOAD, .env = "RESTAPI_SERVER_TOKENS",
 .words = "original productonly minimal", .help = "accepted for Patroni's sake, without effect"},
{"restapi.request_queue_size", INT, LOCAL_RESTART, RANGE(0, 4096),
 .env = "RESTAPI_REQUEST_QUEUE_SIZE", .help = "accepted for Patroni's sake, without effect"},
{"restapi.thread_pool_size", INT, LOCAL_RESTART, AT_LEAST(1),
 .help = "accepted for Patroni's sake, without effect"},

{"ctl.authentication.username", TEXT, LOCAL_RELOAD, .env = "CTL_USERNAME",
 .prose_default = "as restapi's", .help = "user for requests to members"},
{"ctl.authentication.password", SECRET, LOCAL_RELOAD, .env = "CTL_PASSWORD",
 .prose_default = "as restapi's", .help = "that user's password"},
{"ctl.cacert", TEXT, LOCAL_RELOAD, .env = "CTL_CACERT", .prose_default = "restapi.cafile",
 .help = "authorities of the members' certificates"},
{"ctl.certfile", TEXT, LOCAL_RELOAD, .env = "CTL_CERTFILE", .help = "client certificate"},
{"ctl.keyfile", TEXT, LOCAL_RELOAD, .env = "CTL_KEYFILE", .help = "its key"},
{"ctl.keyfile_password", SECRET, LOCAL_RELOAD, .env = "CTL_KEYFILE_PASSWORD",
 .help = "the key's password"},
{"ctl.insecure", BOOL, LOCAL_RELOAD, .fallback = "false", .env = "CTL_INSECURE",
 .help = "do not verify the members' certificates"},

{"etcd3.hosts", .type = OPTION_CSV, LOCAL_RESTART, .env = "ETCD3_HOSTS",
 .sample = "[127.0.0.1:2379]", .help = "etcd's members, host:port each"},
{"etcd3.host", TEXT, LOCAL_RESTART, .env = "ETCD3_HOST", .help = "one of them, if you know only one"},
{"etcd3.url", TEXT, LOCAL_RESTART, .env = "ETCD3_URL", .help = "the same, as a URL"},
{"etcd3.proxy", TEXT, LOCAL_RESTART, .env = "ETCD3_PROXY",
 .help = "URL of a proxy; etcd's members are then not looked for"},
{"etcd3.use_proxies", BOOL, LOCAL_RESTART, .fallback = "false", .env = "ETCD3_USE_PROXIES",
 .help = "the hosts are proxies; etcd's members are then not looked for"},
{"etcd3.srv", TEXT, LOCAL_RESTART, .env = "ETCD3_SRV",
 .help = "domain whose SRV records name etcd's members"},
{"etcd3.srv_suffix", TEXT, LOCAL_RESTART, .env = "ETCD3_SRV_SUFFIX",
 .help = "suffix of the SRV records' names"},
{"etcd3.discovery_srv", TEXT, LOCAL_RESTART, .alias_of = "etcd3.srv"},
{"etcd3.srv_domain", TEXT, LOCAL_RESTART, .alias_of = "etcd3.srv"},
{"etcd3.protocol", .type = OPTION_WORD, LOCAL_RESTART, .fallback = "http", .words = "http https",
 .env = "ETCD3_PROTOCOL", .help = "how to talk to host and hosts"},
{"etcd3.port", INT, LOCAL_RESTART, RANGE(1, 65535), .fallback = "2379", .env = "ETCD3_PORT",
 .help = "port of hosts that name none"},
{"etcd3.username", TEXT, LOCAL_RELOAD, .env = "ETCD3_USERNAME", .help = "etcd user"},
{"etcd3.password", SECRET, LOCAL_RELOAD, .env = "ETCD3_PASSWORD", .help = "that user's password"},
{"etcd3.cacert", TEXT, LOCAL_RESTART, .env = "ETCD3_CACERT",
 .help = "authorities of etcd's certificates"},
{"etcd3.cert", TEXT, LOCAL_RESTART, .env = "ETCD3_CERT", .help = "client certificate"},
{"etcd3.key", TEXT, LOCAL_RESTART, .env = "ETCD3_KEY", .help = "its key"},

{"kubernetes.labels", .type = OPTION_MAP, LOCAL_RESTART, .env = "KUBERNETES_LABELS",
 .help = "labels of the cluster's pods, and of every object that is made; required in this section"},
{"kubernetes.store", .type = OPTION_WORD, LOCAL_RESTART, .words = "endpoints configmaps leases",
 .env = "KUBERNETES_STORE", .prose_default = "endpoints if use_endpoints, else configmaps",
 .help = "kind of the objects that carry the cluster's state; Patroni knows the first two"},
{"kubernetes.use_endpoints", BOOL, LOCAL_RESTART, .fallback = "false",
 .env = "KUBERNETES_USE_ENDPOINTS", .help = "Patroni's way to say store: endpoints"},
{"kubernetes.namespace", TEXT, LOCAL_RESTART, .env = "KUBERNETES_NAMESPACE",
 .prose_default = "the top-level namespace, the pod's own, or default",
 .help = "namespace of pods and objects"},
{"kubernetes.scope_label", TEXT, LOCAL_RESTART, .fallback = "cluster-name",
 .env = "KUBERNETES_SCOPE_LABEL", .help = "label that holds the scope"},
{"kubernetes.role_label", TEXT, LOCAL_RESTART, .fallback = "role", .env = "KUBERNETES_ROLE_LABEL",
 .help = "label of the pods that holds their role"},
{"kubernetes.leader_label_value", TEXT, LOCAL_RESTART, .fallback = "primary",
 .env = "KUBERNETES_LEADER_LABEL_VALUE", .help = "its value on the leader"},
{"kubernetes.follower_label_value", TEXT, LOCAL_RESTART, .fallback = "replica",
 .env = "KUBERNETES_FOLLOWER_LABEL_VALUE", .help = "its value on replicas"},
{"kubernetes.standby_leader_label_value", TEXT, LOCAL_RESTART, .fallback = "primary",
 .env = "KUBERNETES_STANDBY_LEADER_LABEL_VALUE",
 .help = "its value on the leader of a standby cluster"},
{"kubernetes.tmp_role_label", TEXT, LOCAL_RESTART, .env = "KUBERNETES_TMP_ROLE_LABEL",
 .help = "a second label with the role's own name, for the time of a change of names"},
{"kubernetes.bootstrap_labels", .type = OPTION_MAP, LOCAL_RESTART,
 .env = "KUBERNETES_BOOTSTRAP_LABELS", .help = "labels of a pod while its server is being made"},
{"kubernetes.pod_ip", TEXT, LOCAL_RESTART, .env = "KUBERNETES_POD_IP",
 .prose_default = "what the pod's status says", .help = "address put into the leader's Endpoints"},
{"kubernetes.ports", .type = OPTION_ANY, LOCAL_RESTART, .fallback = "[{port: 5432}]",
 .env = "KUBERNETES_PORTS",
 .help = "ports put into the leader's Endpoints: name, port and protocol; names as in the Service"},
{"kubernetes.bypass_api_service", BOOL, LOCAL_RESTART, .fallback = "false",
 .env = "KUBERNETES_BYPASS_API_SERVICE",
 .help = "talk to the API servers' own addresses, not through the service"},
{"kubernetes.retriable_http_codes", .type = OPTION_ANY, LOCAL_RESTART,
 .env = "KUBERNETES_RETRIABLE_HTTP_CODES",
 .help = "answers after which a request is sent again, besides 429, 500, 502, 503 and 504"},
{"kubernetes.cacert", TEXT, LOCAL_RESTART, .env = "KUBERNETES_CACERT",
 .prose_default = "the service account's", .help = "authorities of the API server's certificate, in a pod"},
{"kubernetes.context", TEXT, LOCAL_RESTART, .env = "KUBERNETES_CONTEXT",
 .prose_default = "kind-kind if there is one, else the current one",
 .help = "context of the kubeconfig file, outside of a cluster"},

{"bootstrap.dcs", .type = OPTION_MAP, BOOTSTRAP,
 .help = "the new cluster's configuration: whatever is marked \"cluster\" in this list"},
{"bootstrap.method", TEXT, BOOTSTRAP, .fallback = "initdb",
 .help = "initdb, or the name of a section below bootstrap with a command"},
{"bootstrap.initdb", .type = OPTION_OPTIONS, BOOTSTRAP, .sample = "[encoding: UTF8, data-checksums]",
 .help = "initdb's options"},
{"bootstrap.pg_hba", .type = OPTION_TEXTS, BOOTSTRAP,
 .help = "pg_hba.conf's lines; those in postgresql are better"},
{"bootstrap.post_bootstrap", TEXT, BOOTSTRAP,
 .help = "command run on the new primary, with a connection string as its argument"},
{"bootstrap.post_init", TEXT, BOOTSTRAP, .alias_of = "bootstrap.post_bootstrap"},

{"ttl", INT, DYNAMIC_RELOAD, AT_LEAST(1), .fallback = "30", .sample = "30",
 .help = "seconds a leader's right lasts without renewal; at least 20, or 5 without Patroni members"},
{"loop_wait", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "10", .sample = "10",
 .help = "seconds between two looks at the cluster"},
{"retry_timeout", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "10", .sample = "10",
 .help = "seconds an operation on the store is tried again"},
{"maximum_lag_on_failover", INT, DYNAMIC_RELOAD, .bounded = true, .min = 0, .max = INT64_MAX,
 .fallback = "1048576", .help = "bytes a replica may be behind and still become leader"},
{"maximum_lag_on_syncnode", INT, DYNAMIC_RELOAD, .bounded = true, .min = -1, .max = INT64_MAX,
 .fallback = "-1", .help = "bytes a synchronous standby may be behind before another takes its place"},
{"max_timelines_history", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "0",
 .help = "lines kept in the history key; 0 keeps all"},
{"primary_start_timeout", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "300",
 .help = "seconds a crashed primary may take to come back; 0 fails over at once"},
{"master_start_timeout", INT, DYNAMIC_RELOAD, AT_LEAST(0), .alias_of = "primary_start_timeout"},
{"primary_stop_timeout", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "0",
 .help = "seconds a primary may take to stop in synchronous mode; 0 waits for it"},
{"master_stop_timeout", INT, DYNAMIC_RELOAD, AT_LEAST(0), .alias_of = "primary_stop_timeout"},
{"primary_race_backoff", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "0",
 .help = "accepted for Patroni's sake, without effect"},
{"synchronous_mode", .type = OPTION_ANY, DYNAMIC_RELOAD, .fallback = "off", .help = "off, on or quorum"},
{"synchronous_mode_strict", BOOL, DYNAMIC_RELOAD, .fallback = "false",
 .help = "without a synchronous standby, writes wait"},
{"synchronous_node_count", INT, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "1",
 .help = "how many synchronous standbys are wanted"},
{"failsafe_mode", BOOL, DYNAMIC_RELOAD, .fallback = "false",
 .help = "keep the primary while the store is away, if every member agrees"},
{"check_timeline", BOOL, DYNAMIC_RELOAD, .fallback = "false",
 .help = "refuse a leader on a lower timeline than the history key's; ancestry is checked anyway"},
{"pause", BOOL, DYNAMIC_RELOAD, .fallback = "false", .help = "look on and do nothing"},
{"member_slots_ttl", SECONDS, DYNAMIC_RELOAD, AT_LEAST(0), .fallback = "30min",
 .help = "how long the slot of an absent member is kept"},
{"slots", .type = OPTION_MAP, DYNAMIC_RELOAD, .help = "permanent replication slots"},
{"permanent_slots", .type = OPTION_MAP, DYNAMIC_RELOAD, .alias_of = "slots"},
{"permanent_replication_slots", .type = OPTION_MAP, DYNAMIC_RELOAD, .alias_of = "slots"},
{"ignore_slots", .type = OPTION_ANY, DYNAMIC_RELOAD, .help = "list of slots that are left alone"},
{"standby_cluster", .type = OPTION_MAP, DYNAMIC_RELOAD,
 .help = "follow a primary elsewhere: host, port, primary_slot_name, restore_command, …"},

{"postgresql.listen", .type = OPTION_LISTEN, .where = LOCAL, .applies = ON_SERVER_RESTART,
 .env = "POSTGRESQL_LISTEN", .required = true, .sample = "0.0.0.0:5432",
 .help = "listen_addresses and port"},
{"postgresql.connect_address", .type = OPTION_ADDRESS, LOCAL_RELOAD,
 .env = "POSTGRESQL_CONNECT_ADDRESS", .prose_default = "a local address", .sample = "127.0.0.1:5432",
 .help = "where clients and other members reach this server"},
{"postgresql.proxy_address", .type = OPTION_ADDRESS, LOCAL_RELOAD,
 .env = "POSTGRESQL_PROXY_ADDRESS", .help = "a pooler or proxy in front of it, for the record"},
{"postgresql.data_dir", TEXT, LOCAL_RESTART, .env = "POSTGRESQL_DATA_DIR", .required = true,
 .sample = "/var/lib/postgresql/15/demo", .help = "the data directory"},
{"postgresql.config_dir", TEXT, LOCAL_RESTART, .env = "POSTGRESQL_CONFIG_DIR",
 .prose_default = "data_dir", .help = "where postgresql.conf and pg_hba.conf are"},
{"postgresql.config_base_name", TEXT, BOTH_RESTART, .fallback = "postgresql",
 .help = "name of the configuration file, without .conf"},
{"postgresql.custom_conf", TEXT, BOTH_RELOAD,
 .help = "configuration file to include instead of postgresql.base.conf"},
{"postgresql.bin_dir", TEXT, BOTH_RESTART, .env = "POSTGRESQL_BIN_DIR", .prose_default = "from PATH",
 .sample = "/usr/lib/postgresql/15/bin", .help = "where PostgreSQL's programs are"},
PROGRAM("initdb", "POSTGRESQL_BIN_INITDB"),
PROGRAM("pg_controldata", "POSTGRESQL_BIN_PG_CONTROLDATA"),
PROGRAM("pg_basebackup", "POSTGRESQL_BIN_PG_BASEBACKUP"),
PROGRAM("postgres", "POSTGRESQL_BIN_POSTGRES"),
PROGRAM("pg_rewind", "POSTGRESQL_BIN_PG_REWIND"),
PROGRAM("pg_waldump", "POSTGRESQL_BIN_PG_WALDUMP"),
PROGRAM("pg_ctl", "POSTGRESQL_BIN_PG_CTL"),
PROGRAM("pg_isready", "POSTGRESQL_BIN_PG_ISREADY"),
{"postgresql.database", TEXT, BOTH_RESTART, .fallback = "postgres", .env = "POSTGRESQL_DATABASE",
 .help = "database the agent connects to"},
{"postgresql.pgpass", TEXT, LOCAL_RESTART, .env = "POSTGRESQL_PGPASS",
 .prose_default = "<howdah.state_dir>/pgpass", .help = "password file written for PostgreSQL's programs"},
{"postgresql.krbsrvname", TEXT, BOTH_RELOAD, .help = "Kerberos service name"},
{"postgresql.use_unix_socket", BOOL, BOTH_RELOAD, .fallback = "false",
 .help = "connect to the local server through its socket"},
{"postgresql.use_unix_socket_repl", BOOL, BOTH_RELOAD, .fallback = "false",
 .help = "the same for local replication connections"},
{"postgresql.use_slots", BOOL, DYNAMIC_RELOAD, .fallback = "true",
 .help = "replicas stream through replication slots"},
{"postgresql.use_pg_rewind", BOOL, BOTH_RELOAD, .fallback = "false",
 .help = "repair a former primary with pg_rewind"},
{"postgresql.remove_data_directory_on_rewind_failure", BOOL, BOTH_RELOAD, .fallback = "false",
 .help = "copy it afresh if pg_rewind fails"},
{"postgresql.remove_data_directory_on_diverged_timelines", BOOL, BOTH_RELOAD, .fallback = "false",
 .help = "copy it afresh if it has diverged and pg_rewind cannot be used"},
{"postgresql.pg_ctl_timeout", SECONDS, BOTH_RELOAD, AT_LEAST(0), .fallback = "60",
 .help = "how long a start may take before it counts as slow"},
AUTHENTICATION("superuser", "SUPERUSER", false, "postgres", "change-me-1"),
AUTHENTICATION("replication", "REPLICATION", true, "replicator", "change-me-2"),
AUTHENTICATION("rewind", "REWIND", false, NULL, NULL),
{"postgresql.parameters", .type = OPTION_MAP, BOTH_RELOAD, .help = "postgresql.conf's settings"},
{"postgresql.recovery_conf", .type = OPTION_MAP, BOTH_RELOAD,
 .help = "recovery settings of standbys: restore_command, …"},
{"postgresql.pg_hba", .type = OPTION_TEXTS, BOTH_RELOAD,
 .sample = "[\"local all all peer\", \"host replication replicator samenet scram-sha-256\", "
           "\"host all all samenet scram-sha-256\"]",
 .help = "pg_hba.conf's lines; not touched if not set"},
{"postgresql.pg_ident", .type = OPTION_TEXTS, BOTH_RELOAD,
 .help = "pg_ident.conf's lines; not touched if not set"},
{"postgresql.create_replica_methods", .type = OPTION_CSV, BOTH_RELOAD, .fallback = "[basebackup]",
 .help = "how to make a replica: basebackup, or names of sections below postgresql; in this order"},
{"postgresql.create_replica_method", .type = OPTION_CSV, BOTH_RELOAD,
 .alias_of = "postgresql.create_replica_methods"},
{"postgresql.basebackup", .type = OPTION_OPTIONS, BOTH_RELOAD, .help = "pg_basebackup's options"},
{"postgresql.rewind", .type = OPTION_OPTIONS, BOTH_RELOAD, .help = "pg_rewind's options"},
{"postgresql.callbacks", .type = OPTION_MAP, BOTH_RELOAD,
 .help = "commands for on_start, on_stop, on_restart, on_reload and on_role_change"},
{"postgresql.pre_promote", TEXT, BOTH_RELOAD,
 .help = "command before a promotion; if it fails there is none"},
{"postgresql.before_stop", TEXT, BOTH_RELOAD, .help = "command before each stop"},

{"watchdog.mode", .type = OPTION_WORD, LOCAL_RELOAD, .words = "off automatic auto required require",
 .fallback = "off", .help = "Patroni's hardware watchdog; the warden does its work here"},
{"watchdog.device", TEXT, LOCAL_RELOAD, .help = "accepted for Patroni's sake, without effect"},
{"watchdog.safety_margin", INT, LOCAL_RELOAD, AT_LEAST(-1),
 .help = "accepted for Patroni's sake, without effect"},
{"watchdog.driver", TEXT, LOCAL_RELOAD, .help = "accepted for Patroni's sake, without effect"},

{"tags", .type = OPTION_MAP, LOCAL_RELOAD,
 .help = "nofailover, failover_priority, nosync, sync_priority, noloadbalance, clonefrom, "
         "replicatefrom, nostream, and your own"},

{"howdah.state_dir", TEXT, LOCAL_RESTART, .env = "STATE_DIR",
 .prose_default = "<parent of data_dir>/.howdah-<its name>", .help = "lock, ledger and rescued writes"},
{"howdah.run_dir", TEXT, LOCAL_RESTART, .env = "RUN_DIR", .prose_default = "/run/howdah, or state_dir",
 .help = "where the warden's socket is"},
{"howdah.socket", TEXT, LOCAL_RESTART, .env = "SOCKET",
 .prose_default = "<run_dir>/w-<hash of data_dir>.sock",
 .help = "the warden's socket; an absolute path: somebody else, systemd say, keeps a warden there"},
{"howdah.warden", TEXT, LOCAL_RESTART, .env = "WARDEN", .prose_default = "found beside howdah",
 .help = "the warden's program"},
{"howdah.margin_ms", INT, LOCAL_RELOAD, RANGE(500, 600000), .env = "MARGIN_MS",
 .prose_default = "500, ttl/20 or 1 per max_connections, the largest",
 .help = "how long before the lease ends the server is killed; smaller values are raised"},
{"howdah.stop_budget_ms", INT, LOCAL_RELOAD, RANGE(200, 600000), .env = "STOP_BUDGET_MS",
 .prose_default = "1000 or ttl/10, the larger",
 .help = "how long before that a fast stop is tried"},
};
// clang-format on

const size_t option_count = COUNT_OF(option_table);

// The first part "etcd" reads as "etcd3".
static bool same_path(const char *path, const char *option)
{
    if (str_starts(path, "etcd.") && str_starts(option, "etcd3."))
        return str_eq(path + strlen("etcd."), option + strlen("etcd3."));
    return str_eq(path, option);
}

const Option *option_find(const char *path)
{
    for (size_t i = 0; i < option_count; i++)
        if (same_path(path, option_table[i].path))
            return &option_table[i];
    return NULL;
}

bool option_is_section(const char *path)
{
    if (str_eq(path, "etcd"))
        return true;
    const size_t length = strlen(path);
    for (size_t i = 0; i < option_count; i++)
        if (str_starts(option_table[i].path, path) && option_table[i].path[length] == '.')
            return true;
    return false;
}

// Edit distance with neighbours swapped, capped: names beyond 63 bytes are nobody's typing error.
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    enum { LONGEST = 64 };
    if (a_length >= LONGEST || b_length >= LONGEST)
        return SIZE_MAX;
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *swapped = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            size_t least = above[j] < row[j - 1] ? above[j] + 1 : row[j - 1] + 1;
            least = replaced < least ? replaced : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                swapped[j - 2] + 1 < least)
                least = swapped[j - 2] + 1;
            row[j] = least;
        }
    }
    return rows[a_length % 3][b_length];
}

const char *option_nearest(Arena *arena, const char *path, unsigned where)
{
    const char *dot = strrchr(path, '.');
    const char *name = dot == NULL ? path : dot + 1;
    char parent[128] = "";
    if ((size_t)(name - path) >= sizeof parent - 1)
        return NULL;
    memcpy(parent, path, (size_t)(name - path)); // with its dot
    if (strcmp(parent, "etcd.") == 0)
        strcpy(parent, "etcd3.");

    const size_t length = strlen(name);
    size_t best = length / 3 + 2; // one more than is accepted
    const char *found = NULL;
    for (size_t i = 0; i < option_count; i++) {
        if (!(option_table[i].where & where) || !str_starts(option_table[i].path, parent))
            continue;
        const char *candidate = option_table[i].path + strlen(parent);
        const size_t part = strcspn(candidate, ".");
        const size_t far = distance(name, length, candidate, part);
        if (far < best) {
            best = far;
            found = candidate;
        }
    }
    return found == NULL ? NULL : arena_strndup(arena, found, strcspn(found, "."));
}

const char *option_type_name(OptionType type)
{
    switch (type) {
    case OPTION_TEXT:
        return "text";
    case OPTION_SECRET:
        return "secret text";
    case OPTION_BOOL:
        return "true or false";
    case OPTION_INT:
        return "integer";
    case OPTION_SECONDS:
        return "seconds, or a text with a unit (30min)";
    case OPTION_BYTES:
        return "bytes, or a text with a unit (512kB)";
    case OPTION_ADDRESS:
        return "host:port";
    case OPTION_LISTEN:
        return "host,host:port";
    case OPTION_WORD:
        return "one of";
    case OPTION_TEXTS:
        return "list of texts";
    case OPTION_CSV:
        return "list of texts, or one text with commas";
    case OPTION_MAP:
        return "map";
    case OPTION_OPTIONS:
        return "list or map of options";
    case OPTION_ANY:
        return "any value";
    }
    return "";
}
