// --respawn: the program that is started again when it crashes, so that in a container this costs
// milliseconds and none of the kubelet's back-off.
#include "agent/warden/warden.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTLED_NS     (10000 * NS_PER_MS) // having run so long it starts again at once
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 5000
#define EXIT_NO_EXEC   127

static void program_start(Warden *w)
{
    Program *program = &w->program;
    program->started_at = w->now;
    const pid_t pid = fork();
    if (pid == 0) {
        launch_reset_signals();
        (void)execvp(program->argv[0], program->argv);
        report("cannot run program='%s' error='%s'", program->argv[0], strerror(errno));
        _exit(EXIT_NO_EXEC);
    }
    if (pid < 0) {
        report("cannot start program='%s' error='%s'", program->argv[0], strerror(errno));
        program->start_next = w->now + BACKOFF_MAX_MS * NS_PER_MS;
        return;
    }
    program->pid = pid;
}

bool program_reaped(Warden *w, pid_t pid, int status)
{
    Program *program = &w->program;
    if (program->pid == 0 || program->pid != pid)
        return false;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const bool first = !program->started_once;
    program->pid = 0;
    program->started_once = true;
    // Stopped, or never there at all: then our end is its end. With a Postgres to look after, our
    // own comes when that is gone.
    if (program->stop_signal != 0 || (first && code == EXIT_NO_EXEC)) {
        w->exit_code = w->socket_path && program->stop_signal != 0 ? 0 : code;
        w->finished = w->finished || w->stop == STOP_NO;
        return true;
    }
    const bool settled = w->now - program->started_at >= SETTLED_NS;
    program->start_next = w->now + (settled ? 0 : program->backoff_ms) * NS_PER_MS;
    report("program ended, starting it again status=%d in_ms=%lld", code,
           (long long)((program->start_next - w->now) / NS_PER_MS));
    program->backoff_ms = settled                                    ? BACKOFF_MIN_MS
                          : 2 * program->backoff_ms < BACKOFF_MIN_MS ? BACKOFF_MIN_MS
                          : 2 * program->backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
                                                                     : 2 * program->backoff_ms;
    return true;
}

void program_signal(Warden *w, int signal)
{
    Program *program = &w->program;
    if (!program->argv)
        return;
    if (signal == SIGTERM || signal == SIGINT || signal == SIGQUIT)
        program->stop_signal = signal;
    if (program->pid != 0)
        (void)kill(program->pid, signal); // ours and not reaped: the number means it
    else if (program->stop_signal != 0 && !w->socket_path)
        w->finished = true; // between two starts: there is nothing to stop
}

void program_step(Warden *w)
{
    Program *program = &w->program;
    if (program->argv && program->pid == 0 && program->stop_signal == 0 &&
        w->now >= program->start_next)
        program_start(w);
}

int64_t program_next(const Warden *w)
{
    const Program *program = &w->program;
    const bool waits = program->argv && program->pid == 0 && program->stop_signal == 0;
    return waits ? program->start_next : NEVER;
}
