// Starting a warden that outlives us, from a process with threads: between fork and exec nothing
// but async-signal-safe calls (signal-safety(7)), on values made before.
#include "agent/warden/warden_client.h"

#include "common/os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRY_EVERY_MS 5
#define REPORT_FD    3 // the one descriptor above the standard three, until exec closes it

typedef struct {
    const char *program;
    char *const *argv;
    char *const *env;
    int null, log, report, fd_limit;
} DetachedStart;

static _Noreturn void start_fail(int report)
{
    const int error = errno;
    (void)!write(report, &error, sizeof error); // nobody else to tell
    _exit(127);
}

static void start_close_rest(int fd_limit)
{
    if (syscall(SYS_close_range, REPORT_FD + 1, ~0U, 0) == 0)
        return;
    for (int fd = REPORT_FD + 1; fd < fd_limit; fd++) // before Linux 5.9
        (void)close(fd);
}

// The grandchild: all three descriptors are above 3 when it begins.
static _Noreturn void start_exec(const DetachedStart *start)
{
    sigset_t none;
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal <= 64; signal++)
        (void)sigaction(signal, &plain, NULL); // KILL and STOP refuse, and need not
    (void)sigemptyset(&none);
    if (dup2(start->null, STDIN_FILENO) < 0 || dup2(start->log, STDOUT_FILENO) < 0 ||
        dup2(start->log, STDERR_FILENO) < 0 || dup3(start->report, REPORT_FD, O_CLOEXEC) < 0 ||
        chdir("/") != 0)
        start_fail(start->report);
    start_close_rest(start->fd_limit);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(start->program, start->argv, start->env);
    start_fail(REPORT_FD);
}

static void start_fork(const DetachedStart *start)
{
    if (setsid() < 0)
        start_fail(start->report);
    const pid_t pid = fork(); // so that it is adopted by init, and can take no terminal
    if (pid < 0)
        start_fail(start->report);
    if (pid == 0)
        start_exec(start);
    _exit(0);
}

static bool socket_accepts(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1); // the caller has looked at its length
    const bool accepts = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return accepts;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            (void)close(fds[i]);
    }
}

// Past the numbers the grandchild's own three will have.
static int dup_high(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, REPORT_FD + 1);
}

// errno of what went wrong on the way to exec; 0: it runs.
static int start_result(int report, Deadline deadline)
{
    int error = 0;
    struct pollfd ready = {.fd = report, .events = POLLIN};
    const int64_t left = deadline_left_ms(deadline, clock_now(clock_system()));
    if (poll(&ready, 1, left > INT32_MAX ? INT32_MAX : (int)left) != 1)
        return ETIMEDOUT;
    return read(report, &error, sizeof error) == sizeof error ? error : 0;
}

static int start_program(DetachedStart *start, int log_fd, Deadline deadline)
{
    int status = 0;
    int report[2] = {-1, -1};
    sigset_t all, before;
    if (pipe2(report, O_CLOEXEC) != 0)
        return errno;
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    start->null = null < 0 ? -1 : dup_high(null);
    start->log = dup_high(log_fd);
    start->report = dup_high(report[1]);
    int fds[] = {report[0], report[1], null, start->null, start->log, start->report};
    if (start->null < 0 || start->log < 0 || start->report < 0) {
        const int error = errno;
        close_all(fds, COUNT_OF(fds));
        return error;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); // no handler of ours may run in the child
    const pid_t pid = fork();
    if (pid == 0)
        start_fork(start);
    int error = pid < 0 ? errno : 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    close_all(fds + 1, COUNT_OF(fds) - 1); // the writing ends: only the child's remain
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (error == 0)
        error = start_result(report[0], deadline);
    (void)close(report[0]);
    return error;
}

bool warden_start_detached(const char *program, const char *socket_path, const char *data_dir,
                           int log_fd, Deadline deadline, Error *err)
{
    const struct sockaddr_un *const address = NULL;
    const char *const words[] = {program, "--socket", socket_path, "--data-dir", data_dir};
    char *argv[COUNT_OF(words) + 1] = {NULL};
    const long limit = sysconf(_SC_OPEN_MAX);
    if (strlen(socket_path) >= sizeof address->sun_path)
        return error_set(err, ERR_INVALID, "start warden: socket path is longer than 107 bytes: %s",
                         socket_path);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        memcpy(&argv[i], &words[i],
               sizeof words[i]); // exec's type has no const; it changes nothing
    if (socket_accepts(socket_path))
        return true;

    DetachedStart start = {.program = program,
                           .argv = argv,
                           .env = environ,
                           .fd_limit = limit > 0 && limit < 65536 ? (int)limit : 65536};
    const int error = start_program(&start, log_fd, deadline);
    if (error != 0)
        return error_set(err, ERR_UNAVAILABLE, "start warden: %s: %s", program, strerror(error));

    while (!socket_accepts(socket_path)) {
        const struct timespec pause = {.tv_nsec = TRY_EVERY_MS * NS_PER_MS};
        if (deadline_over(clock_system(), deadline))
            return error_set(err, ERR_UNAVAILABLE,
                             "start warden: %s does not listen on %s; see its log", program,
                             socket_path);
        (void)nanosleep(&pause, NULL);
    }
    return true;
}
