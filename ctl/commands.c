#include "ctl/commands.h"

#include "ctl/ctl.h"
#include "ctl/select.h"
#include "ctl/table.h"

static const char *const EXPLAIN_FORMATS[] = {"pretty", "json", "yaml", NULL};
static const char *const FLUSH_ACTIONS[] = {"restart", "switchover", NULL};

#define FLAG(option_id, text, ...)                                                                 \
    {                                                                                              \
        .kind = OPTION_FLAG, .id = OPT_##option_id, .names = {__VA_ARGS__}, .help = (text)         \
    }
#define TEXT(option_id, text, ...)                                                                 \
    {                                                                                              \
        .kind = OPTION_TEXT, .id = OPT_##option_id, .names = {__VA_ARGS__}, .help = (text)         \
    }
#define END                                                                                        \
    {                                                                                              \
        .kind = OPTION_END                                                                         \
    }

#define FORMAT_OPTION                                                                              \
    {                                                                                              \
        .kind = OPTION_CHOICE, .id = OPT_FORMAT, .names = {"-f", "--format"},                      \
        .choices = FORMAT_CHOICES, .help = "Output format"                                         \
    }
#define ROLE_OPTION(text)                                                                          \
    {                                                                                              \
        .kind = OPTION_CHOICE, .id = OPT_ROLE, .names = {"-r", "--role"}, .choices = ROLE_CHOICES, \
        .help = (text)                                                                             \
    }
#define MEMBER_OPTION(text) TEXT(MEMBER, text, "-m", "--member")
#define FORCE_OPTION        FLAG(FORCE, "Do not ask for confirmation at any point", "--force")
#define WATCH_OPTIONS                                                                              \
    FLAG(WATCH_2S, "Auto update the screen every 2 seconds", "-W"),                                \
    {                                                                                              \
        .kind = OPTION_FLOAT, .id = OPT_WATCH, .names = {"-w", "--watch"},                         \
        .help = "Auto update the screen every X seconds"                                           \
    }

static const Option globals[] = {
    TEXT(CONFIG, "Settings file", "-c", "--config-file"),
    TEXT(DCS, "The store: etcd3://host:port[/namespace]", "-d", "--dcs-url", "--dcs"),
    TEXT(API, "Go through this member's REST API instead of the store", "--api"),
    FLAG(INSECURE, "Do not verify certificates of REST APIs", "-k", "--insecure"),
    FLAG(VERSION, "Show the version and exit", "--version"),
    FLAG(HELP, "Show this message and exit", "--help"),
    END,
};

static const Option list_options[] = {
    FLAG(EXTENDED, "Show some extra information", "-e", "--extended"),
    FLAG(TIMESTAMP, "Print timestamp", "-t", "--timestamp"),
    FORMAT_OPTION,
    WATCH_OPTIONS,
    END,
};
static const Option topology_options[] = {WATCH_OPTIONS, END};
static const Option history_options[] = {FORMAT_OPTION, END};
static const Option dsn_options[] = {
    ROLE_OPTION("Give a dsn of any member with this role"),
    MEMBER_OPTION("Generate a dsn for this member"),
    END,
};
static const Option query_options[] = {
    TEXT(FORMAT, "Output format (pretty, tsv, json, yaml)", "--format"),
    {.kind = OPTION_FILE,
     .id = OPT_FILE,
     .names = {"-f", "--file"},
     .help = "Execute the SQL commands from this file"},
    TEXT(COMMAND, "The SQL commands to execute", "-c", "--command"),
    FLAG(PASSWORD, "Force password prompt", "--password"),
    TEXT(USERNAME, "Database user name", "-U", "--username"),
    TEXT(DBNAME, "Database name to connect to", "-d", "--dbname"),
    ROLE_OPTION("The role of the query"),
    MEMBER_OPTION("Query a specific member"),
    TEXT(DELIMITER, "The column delimiter", "--delimiter"),
    WATCH_OPTIONS,
    END,
};
static const Option remove_options[] = {FORMAT_OPTION, END};
static const Option reload_options[] = {
    ROLE_OPTION("Reload only members with this role"),
    FORCE_OPTION,
    END,
};
static const Option restart_options[] = {
    ROLE_OPTION("Restart only members with this role"),
    FLAG(ANY, "Restart a single member only", "--any"),
    TEXT(SCHEDULED, "Time of a scheduled restart, unambiguous (e.g. ISO 8601)", "--scheduled"),
    TEXT(PG_VERSION, "Restart if the PostgreSQL version is less than provided", "--pg-version"),
    FLAG(PENDING, "Restart if pending", "--pending"),
    TEXT(TIMEOUT, "Return error and fail over if necessary when restarting takes longer",
         "--timeout"),
    FORCE_OPTION,
    END,
};
static const Option reinit_options[] = {
    FORCE_OPTION,
    FLAG(FROM_LEADER, "Get basebackup from leader", "--from-leader"),
    FLAG(WAIT, "Wait until reinitialization completes", "--wait"),
    END,
};
static const Option failover_options[] = {
    TEXT(CANDIDATE, "The name of the candidate", "--candidate"),
    FORCE_OPTION,
    END,
};
static const Option switchover_options[] = {
    TEXT(LEADER, "The name of the current leader", "--leader", "--primary"),
    TEXT(CANDIDATE, "The name of the candidate", "--candidate"),
    TEXT(SCHEDULED, "Time of a scheduled switchover, unambiguous (e.g. ISO 8601)", "--scheduled"),
    FORCE_OPTION,
    END,
};
static const Option flush_options[] = {
    ROLE_OPTION("Flush only members with this role"),
    FORCE_OPTION,
    END,
};
static const Option pause_options[] = {
    FLAG(WAIT, "Wait until it is applied on all members", "--wait"),
    END,
};
static const Option edit_options[] = {
    FLAG(QUIET, "Do not show changes", "-q", "--quiet"),
    {.kind = OPTION_LIST,
     .id = OPT_SET,
     .names = {"-s", "--set"},
     .help = "Set a configuration value, path=value; may be repeated"},
    {.kind = OPTION_LIST,
     .id = OPT_PG,
     .names = {"-p", "--pg"},
     .help = "Set a PostgreSQL parameter: -s postgresql.parameters.…; may be repeated"},
    TEXT(APPLY, "Apply configuration from file. Use - for stdin", "--apply"),
    TEXT(REPLACE, "Replace the configuration by that of a file. Use - for stdin", "--replace"),
    FORCE_OPTION,
    END,
};
static const Option demote_options[] = {
    FORCE_OPTION,
    TEXT(HOST, "Address of the remote node", "--host"),
    {.kind = OPTION_INTEGER,
     .id = OPT_PORT,
     .names = {"--port"},
     .help = "Port of the remote node"},
    TEXT(RESTORE_COMMAND, "Command to restore WAL records from the remote primary",
         "--restore-command"),
    TEXT(SLOT, "Name of the slot on the remote node to use for replication", "--primary-slot-name"),
    END,
};
static const Option promote_options[] = {FORCE_OPTION, END};
static const Option doctor_options[] = {FORMAT_OPTION, END};
static const Option explain_options[] = {
    {.kind = OPTION_INTEGER,
     .id = OPT_NUMBER,
     .names = {"-n", "--number"},
     .help = "How many earlier decisions to show (10)"},
    {.kind = OPTION_CHOICE,
     .id = OPT_FORMAT,
     .names = {"-f", "--format"},
     .choices = EXPLAIN_FORMATS,
     .help = "Output format"},
    END,
};

#define CLUSTER_REQUIRED                                                                           \
    {                                                                                              \
        "CLUSTER_NAME", WORD_REQUIRED                                                              \
    }
#define CLUSTER_OPTIONAL                                                                           \
    {                                                                                              \
        "CLUSTER_NAME", WORD_OPTIONAL                                                              \
    }
#define CLUSTERS                                                                                   \
    {                                                                                              \
        "CLUSTER_NAMES", WORD_ANY_NUMBER                                                           \
    }
#define MEMBERS                                                                                    \
    {                                                                                              \
        "MEMBER_NAMES", WORD_ANY_NUMBER                                                            \
    }

static const Command commands[] = {
    {"demote-cluster",
     "Demote cluster to a standby cluster",
     {CLUSTER_OPTIONAL},
     NULL,
     demote_options,
     run_demote_cluster},
    {"doctor",
     "Look for what is wrong with an installation, and tell how to mend it",
     {CLUSTER_OPTIONAL},
     NULL,
     doctor_options,
     run_doctor,
     .error_status = 2},
    {"dsn",
     "Generate a dsn for the provided member, defaults to a dsn of the leader",
     {CLUSTER_OPTIONAL},
     NULL,
     dsn_options,
     run_dsn},
    {"edit-config",
     "Edit cluster configuration",
     {CLUSTER_OPTIONAL},
     NULL,
     edit_options,
     run_edit_config},
    {"explain",
     "Tell what members have decided, and why",
     {MEMBERS},
     NULL,
     explain_options,
     run_explain},
    {"failover", "Failover to a replica", {CLUSTER_OPTIONAL}, NULL, failover_options, run_failover},
    {"flush",
     "Discard scheduled events",
     {CLUSTER_REQUIRED, MEMBERS, {"{restart|switchover}", WORD_ACTION}},
     FLUSH_ACTIONS,
     flush_options,
     run_flush},
    {"history",
     "Show the history of failovers/switchovers",
     {CLUSTER_OPTIONAL},
     NULL,
     history_options,
     run_history},
    {"list", "List the members of clusters", {CLUSTERS}, NULL, list_options, run_list},
    {"pause", "Disable auto failover", {CLUSTER_OPTIONAL}, NULL, pause_options, run_pause},
    {"promote-cluster",
     "Promote cluster, make it run standalone",
     {CLUSTER_OPTIONAL},
     NULL,
     promote_options,
     run_promote_cluster},
    {"query", "Query a member's PostgreSQL", {CLUSTER_OPTIONAL}, NULL, query_options, run_query},
    {"reinit",
     "Reinitialize cluster member",
     {CLUSTER_REQUIRED, MEMBERS},
     NULL,
     reinit_options,
     run_reinit},
    {"reload",
     "Reload cluster member configuration",
     {CLUSTER_REQUIRED, MEMBERS},
     NULL,
     reload_options,
     run_reload},
    {"remove", "Remove cluster from DCS", {CLUSTER_REQUIRED}, NULL, remove_options, run_remove},
    {"restart",
     "Restart cluster member",
     {CLUSTER_REQUIRED, MEMBERS},
     NULL,
     restart_options,
     run_restart},
    {"resume", "Resume auto failover", {CLUSTER_OPTIONAL}, NULL, pause_options, run_resume},
    {"show-config", "Show cluster configuration", {CLUSTER_OPTIONAL}, NULL, NULL, run_show_config},
    {"switchover",
     "Switchover to a replica",
     {CLUSTER_OPTIONAL},
     NULL,
     switchover_options,
     run_switchover},
    {"topology",
     "Print the members as a tree under the leader",
     {CLUSTERS},
     NULL,
     topology_options,
     run_topology},
    {"version",
     "Output version of this command or of running members",
     {CLUSTER_OPTIONAL, MEMBERS},
     NULL,
     NULL,
     run_version},
};

CommandLine command_line(const char *program)
{
    return (CommandLine){.program = program,
                         .summary = "Look at and control clusters of Howdah and Patroni",
                         .globals = globals,
                         .commands = commands,
                         .command_count = COUNT_OF(commands)};
}
