// The field's words as enums, with their spelling in the store and in the REST API: Patroni's.
#pragma once
#include <stdbool.h>

typedef enum {
    ROLE_UNINITIALIZED,
    ROLE_PRIMARY,
    ROLE_STANDBY_LEADER,
    ROLE_REPLICA,
    ROLE_DEMOTED,
    ROLE_PROMOTED, // promote was sent, not yet out of recovery
    ROLE_UNKNOWN,  // a word we do not know; never written
} Role;

// The order is that of the patroni_postgres_state metric.
typedef enum {
    STATE_INITDB,
    STATE_INITDB_FAILED,
    STATE_CUSTOM_BOOTSTRAP,
    STATE_CUSTOM_BOOTSTRAP_FAILED,
    STATE_CREATING_REPLICA,
    STATE_RUNNING,
    STATE_STARTING,
    STATE_BOOTSTRAP_STARTING,
    STATE_START_FAILED,
    STATE_RESTARTING,
    STATE_RESTART_FAILED,
    STATE_STOPPING,
    STATE_STOPPED,
    STATE_STOP_FAILED,
    STATE_CRASHED,
    STATE_UNKNOWN, // REST only: memory says running but the query failed
} ServerState;

const char *role_name(Role role);             // "primary", …
Role role_parse(const char *text);            // "master" reads as primary
const char *state_name(ServerState s);        // "running", "creating replica", …
const char *state_metric_name(ServerState s); // "running", "initdb", …
ServerState state_parse(const char *text);
