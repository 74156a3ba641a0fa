#include "common/model/words.h"

#include "common/base/text.h"

static const char *const role_names[] = {
    [ROLE_UNINITIALIZED] = "uninitialized",
    [ROLE_PRIMARY] = "primary",
    [ROLE_STANDBY_LEADER] = "standby_leader",
    [ROLE_REPLICA] = "replica",
    [ROLE_DEMOTED] = "demoted",
    [ROLE_PROMOTED] = "promoted",
    [ROLE_UNKNOWN] = "unknown",
};

static const struct {
    const char *name, *metric;
} states[] = {
    [STATE_INITDB] = {"initializing new cluster", "initdb"},
    [STATE_INITDB_FAILED] = {"initdb failed", "initdb_failed"},
    [STATE_CUSTOM_BOOTSTRAP] = {"running custom bootstrap script", "custom_bootstrap"},
    [STATE_CUSTOM_BOOTSTRAP_FAILED] = {"custom bootstrap failed", "custom_bootstrap_failed"},
    [STATE_CREATING_REPLICA] = {"creating replica", "creating_replica"},
    [STATE_RUNNING] = {"running", "running"},
    [STATE_STARTING] = {"starting", "starting"},
    [STATE_BOOTSTRAP_STARTING] = {"starting after custom bootstrap", "bootstrap_starting"},
    [STATE_START_FAILED] = {"start failed", "start_failed"},
    [STATE_RESTARTING] = {"restarting", "restarting"},
    [STATE_RESTART_FAILED] = {"restart failed", "restart_failed"},
    [STATE_STOPPING] = {"stopping", "stopping"},
    [STATE_STOPPED] = {"stopped", "stopped"},
    [STATE_STOP_FAILED] = {"stop failed", "stop_failed"},
    [STATE_CRASHED] = {"crashed", "crashed"},
    [STATE_UNKNOWN] = {"unknown", "unknown"},
};

const char *role_name(Role role)
{
    ASSERT((size_t)role < COUNT_OF(role_names));
    return role_names[role];
}

Role role_parse(const char *text)
{
    if (str_eq(text, "master"))
        return ROLE_PRIMARY;
    for (size_t i = 0; i < COUNT_OF(role_names); i++)
        if (str_eq(text, role_names[i]))
            return (Role)i;
    return ROLE_UNKNOWN;
}

const char *state_name(ServerState s)
{
    ASSERT((size_t)s < COUNT_OF(states));
    return states[s].name;
}

const char *state_metric_name(ServerState s)
{
    ASSERT((size_t)s < COUNT_OF(states));
    return states[s].metric;
}

ServerState state_parse(const char *text)
{
    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (str_eq(text, states[i].name))
            return (ServerState)i;
    return STATE_UNKNOWN;
}
