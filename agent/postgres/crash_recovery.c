// Single-user recovery of a directory that was not shut down cleanly, before a rewind.
#include "agent/postgres/task.h"

#include <string.h>

static bool is_clean(const ControlData *control)
{
    return control->state == CONTROL_SHUT_DOWN || control->state == CONTROL_SHUT_DOWN_IN_RECOVERY;
}

// A single-user server refuses to be a standby, so the signal file steps aside while it runs. Its
// WAL must stay for the rewind: archiving that never succeeds keeps it.
bool recover_single_user(TaskRun *run, Error *err)
{
    Arena *arena = run->arena;
    const bool was_standby = run->seen.standby_signal;
    if (is_clean(&run->seen.control.data))
        return true;
    ConfInput input = conf_input(run, CONF_PRIMARY, NULL);
    input.standby = true; // take what the control file asks for
    const PostmasterCommand command =
        postmaster_command(arena, &input, conf_path(run), &run->seen.control.data);
    StringList argv = {0};
    string_list_add(&argv, arena, command.argv.items[0]);
    string_list_add(&argv, arena, "--single");
    for (size_t i = 1; i < command.argv.count; i++)
        string_list_add(&argv, arena, command.argv.items[i]);
    string_list_add(&argv, arena, "--archive_mode=on");
    string_list_add(&argv, arena, "--archive_command=false");
    string_list_add(&argv, arena, "template1");
    const Program program = {.id = "task-single", .argv = &argv};
    task_phase(run, "single-user recovery");
    run->changed = true;
    if (!conf_set_signal(run, false, err))
        return false;
    const bool ok = task_run_ok(run, &program, NULL, err);
    Error back;
    if (was_standby && !conf_set_signal(run, true, &back)) {
        if (ok)
            *err = back;
        return error_wrap(err, "single-user recovery");
    }
    if (!ok || !inspect_control(run, err))
        return error_wrap(err, "single-user recovery");
    return is_clean(&run->seen.control.data) ||
           error_set(err, ERR_UNAVAILABLE, "single-user recovery left the server \"%s\"",
                     control_state_name(run->seen.control.data.state));
}

bool task_crash_recovery(TaskRun *run, Error *err)
{
    if (postmaster_runs(run->server, NULL))
        return error_set(err, ERR_CONFLICT, "postgres runs: stop it first");
    if (!inspect_directory(run, err))
        return false;
    if (run->seen.dir != DIR_VALID)
        return error_set(err, ERR_INVALID, "%s is no data directory", run->pg->data_dir);
    // backup_label means a base backup that never ran: recovering it as a crash would ruin it.
    if (run->seen.from_backup)
        return error_set(err, ERR_INVALID, "%s is a base backup that was not started yet",
                         run->pg->data_dir);
    const bool ok = inspect_control(run, err) && recover_single_user(run, err);
    inspect_publish(run);
    return ok;
}
