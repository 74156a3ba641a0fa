// From fork to exec. The warden never waits for it: a program or a working directory on a dead disk
// can hang the child for ever, so the way there is told through a pipe that exec closes.
#include "agent/warden/data_dir.h"
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_GUESS         1024 // for kernels without close_range (before 5.9)
#define MEMFD_NOEXEC_SEAL 8U   // <linux/memfd.h>; some systems insist on it

typedef struct {
    int input, output, report; // the child's ends
} LaunchFds;

void launch_reset_signals(void)
{
    sigset_t none;
    for (int signal = 1; signal <= 64; signal++) {
        const struct sigaction plain = {.sa_handler = SIG_DFL};
        (void)sigaction(signal, &plain, NULL); // the few that cannot be changed never were
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void launch_close_inherited(void)
{
    if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
        return;
    for (int fd = STDERR_FILENO + 1; fd < FDS_GUESS; fd++)
        (void)close(fd);
}

static _Noreturn void launch_fail(int fd, const char *step)
{
    LaunchReport report = {.kind = LAUNCH_FAILED, .error = errno};
    (void)snprintf(report.step, sizeof report.step, "%s", step);
    (void)!write(fd, &report, sizeof report); // nobody else to tell
    _exit(127);
}

// The strings lie in the request, each with its NUL.
static void launch_strings(WireReader *in, char **out)
{
    const unsigned count = wire_get_u16(in);
    for (unsigned i = 0; i < count; i++) {
        size_t size = 0;
        const char *text = wire_get_sized(in, &size);
        memcpy(&out[i], &text, sizeof text); // exec's type has no const; it changes nothing
    }
    out[count] = NULL;
}

// Whatever works in another directory would be out of the fence's reach as soon as its postmaster
// is gone. Links and other spellings of ours are fine.
static void launch_check_dir(const Warden *w, DirId ours, char *const *argv, char *const *env,
                             int fd)
{
    LaunchReport report = {.kind = LAUNCH_FAILED};
    const char *named = data_dir_of(argv, env);
    const DirId theirs = named ? dir_id(AT_FDCWD, named) : (DirId){0};
    if (!named)
        (void)snprintf(report.step, sizeof report.step,
                       "a postmaster wants its data directory by -D or PGDATA");
    else if (ours.known && theirs.known ? ours.device == theirs.device && ours.inode == theirs.inode
                                        : strcmp(named, w->data_dir) == 0)
        return;
    else
        (void)snprintf(report.step, sizeof report.step,
                       "its data directory %.48s is not that of this warden, %.48s", named,
                       w->data_dir);
    (void)!write(fd, &report, sizeof report);
    _exit(127);
}

static _Noreturn void launch_child(const Warden *w, const Launch *launch, const LaunchFds *fds)
{
    char *argv[WARDEN_ARGS_MAX + 1], *env[WARDEN_ARGS_MAX + 1];
    WireReader args = launch->args;
    DirId ours = {0};
    // Held by a child that hangs here, the lock would keep our successor out.
    (void)close(w->lock);
    (void)close(w->listener);
    (void)setsid(); // so that the whole task can be signalled; and no terminal reaches Postgres

    // A postmaster whose warden is gone must not go on alone. SIGKILL would let its backends go on
    // committing. A task has no such children, and a new warden could not find it again.
    if (prctl(PR_SET_PDEATHSIG, launch->postmaster ? SIGQUIT : SIGKILL) != 0)
        launch_fail(fds->report, "prctl");
    if (getppid() != w->self)
        _exit(127); // it died before that

    if (launch->postmaster) {
        ours = dir_id(AT_FDCWD, w->data_dir);
        const LaunchReport report = {.kind = LAUNCH_DIR, .dir = ours};
        if (write(fds->report, &report, sizeof report) != sizeof report)
            launch_fail(fds->report, "pipe");
    }
    if (dup2(fds->input, STDIN_FILENO) < 0)
        launch_fail(fds->report, "dup2");
    if (fds->output >= 0 &&
        (dup2(fds->output, STDOUT_FILENO) < 0 || dup2(fds->output, STDERR_FILENO) < 0))
        launch_fail(fds->report, "dup2");
    if (chdir(launch->cwd) != 0)
        launch_fail(fds->report, "chdir");

    launch_strings(&args, argv);
    launch_strings(&args, env);
    if (launch->postmaster)
        launch_check_dir(w, ours, argv, env, fds->report);
    environ = env; // the PATH searched is the program's own
    launch_reset_signals();
    // NOLINTNEXTLINE(*NonNullParamChecker): on_spawn has made sure of one word at least
    (void)execvp(argv[0], argv);
    launch_fail(fds->report, "exec");
}

static int launch_input(const char *text, const char **what_failed)
{
    *what_failed = "open /dev/null";
    if (!text)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);

    // Not a pipe: writing it would need somebody who reads, and us to wait for that.
    *what_failed = "memfd_create";
    int fd = memfd_create("stdin", MFD_CLOEXEC | MEMFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) // before Linux 6.3
        fd = memfd_create("stdin", MFD_CLOEXEC);
    const size_t size = strlen(text);
    if (fd >= 0 && (write(fd, text, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            (void)close(pair[i]);
    }
}

static bool launch_pipes(const Launch *launch, int report[2], int output[2],
                         const char **what_failed)
{
    *what_failed = "pipe2";
    if (pipe2(report, O_CLOEXEC) != 0)
        return false;
    if (!launch->postmaster && pipe2(output, O_CLOEXEC) != 0)
        return false;
    *what_failed = "fcntl";
    return fcntl(report[0], F_SETFL, O_NONBLOCK) == 0 &&
           (output[0] < 0 || fcntl(output[0], F_SETFL, O_NONBLOCK) == 0);
}

bool launch(Warden *w, Child *child, const Launch *launch, const char **what_failed)
{
    int report[2] = {-1, -1}, output[2] = {-1, -1};
    const int input = launch_input(launch->stdin_text, what_failed);
    pid_t pid = -1;
    if (input >= 0 && launch_pipes(launch, report, output, what_failed)) {
        const LaunchFds fds = {input, output[1], report[1]};
        *what_failed = "fork";
        pid = fork(); // not vfork, whose parent waits until the child is through
        if (pid == 0)
            launch_child(w, launch, &fds);
    }
    const int error = errno;
    if (input >= 0)
        (void)close(input);
    if (pid < 0) {
        close_pair(report);
        close_pair(output);
        errno = error;
        return false;
    }
    (void)close(report[1]);
    if (output[1] >= 0)
        (void)close(output[1]);
    child->pid = pid;
    child->starting = report[0];
    child->output = output[0];
    return true;
}
