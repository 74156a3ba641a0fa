#include "common/model/server_view.h"

static const char *const task_names[TASK_COUNT] = {
    [TASK_NONE] = "none",
    [TASK_INSPECT] = "inspect",
    [TASK_BOOTSTRAP] = "bootstrap",
    [TASK_POST_BOOTSTRAP] = "post_bootstrap",
    [TASK_START_PRIMARY] = "start_primary",
    [TASK_START_STANDBY] = "start_standby",
    [TASK_STOP] = "stop",
    [TASK_PROMOTE] = "promote",
    [TASK_FOLLOW] = "follow",
    [TASK_RELOAD] = "reload",
    [TASK_CLONE] = "clone",
    [TASK_CHECK_DIVERGENCE] = "check_divergence",
    [TASK_REWIND] = "rewind",
    [TASK_CRASH_RECOVERY] = "crash_recovery",
    [TASK_WIPE] = "wipe",
    [TASK_CHECKPOINT] = "checkpoint",
};

const char *task_name(TaskKind kind)
{
    ASSERT((size_t)kind < COUNT_OF(task_names));
    return task_names[kind];
}

// pg_controldata.c, dbState()
static const char *const control_state_names[] = {
    [CONTROL_UNKNOWN] = "unrecognized status code",
    [CONTROL_STARTING_UP] = "starting up",
    [CONTROL_SHUT_DOWN] = "shut down",
    [CONTROL_SHUT_DOWN_IN_RECOVERY] = "shut down in recovery",
    [CONTROL_SHUTTING_DOWN] = "shutting down",
    [CONTROL_IN_CRASH_RECOVERY] = "in crash recovery",
    [CONTROL_IN_ARCHIVE_RECOVERY] = "in archive recovery",
    [CONTROL_IN_PRODUCTION] = "in production",
};

const char *control_state_name(ControlState state)
{
    ASSERT((size_t)state < COUNT_OF(control_state_names));
    return control_state_names[state];
}

static Lsn later(Lsn a, Lsn b)
{
    return a > b ? a : b;
}

// A stopped server: a standby has replayed to its minimum recovery point at least, and that may lie
// beyond the checkpoint; a primary's end is its shutdown checkpoint.
static WalPosition position_by_control(const ControlData *control)
{
    if (!control->known)
        return (WalPosition){0};
    if (control->min_recovery_lsn > control->checkpoint_lsn)
        return (WalPosition){.timeline = control->min_recovery_timeline != 0
                                             ? control->min_recovery_timeline
                                             : control->timeline,
                             .lsn = control->min_recovery_lsn};
    return (WalPosition){.timeline = control->timeline, .lsn = control->checkpoint_lsn};
}

WalPosition server_position(const ServerView *server)
{
    if (!server->running)
        return position_by_control(&server->control);
    // Running, but this postmaster has told us nothing yet.
    if (!instant_is_set(server->answered_at) ||
        instant_before(server->answered_at, server->started_at))
        return (WalPosition){0};
    const Lsn lsn =
        server->in_recovery ? later(server->receive_lsn, server->replay_lsn) : server->flush_lsn;
    return (WalPosition){.timeline = server->timeline, .lsn = lsn};
}
