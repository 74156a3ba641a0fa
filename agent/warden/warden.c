// howdah-warden: Postgres's parent and dead-man's switch; and, with --respawn, a plain respawner.
//
// It does what the agent tells it over a unix socket (protocol.h), and one thing by itself: when
// the deadline it was given passes, it kills. One thread, one loop; each round looks at the clock
// before it looks at anything else.
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define STACK_MAPPED ((uintptr_t)132 * 1024)
#define STACK_USED   ((uintptr_t)48 * 1024)

static int64_t read_clock(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t); // these two clocks exist
    return (int64_t)t.tv_sec * 1000 * NS_PER_MS + t.tv_nsec;
}

int64_t time_boot(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

void time_take(Warden *w)
{
    w->now = read_clock(CLOCK_BOOTTIME);
    w->wall = read_clock(CLOCK_REALTIME);
}

int poll_add(Warden *w, int fd, short events)
{
    if (fd < 0 || w->poll_count >= POLL_MAX)
        return -1;
    w->polls[w->poll_count] = (struct pollfd){.fd = fd, .events = events};
    return w->poll_count++;
}

short poll_result(const Warden *w, int place)
{
    return place < 0 ? 0 : w->polls[place].revents;
}

// ---- arguments

typedef struct {
    const char *name, *value, *help;
    bool (*take)(Warden *w, const char *text);
} Option;

static bool take_socket(Warden *w, const char *text)
{
    w->socket_path = text;
    return text[0] == '/' && strlen(text) < SOCKET_SIZE;
}

static bool take_data_dir(Warden *w, const char *text)
{
    w->data_dir = text;
    return text[0] == '/' && strlen(text) < DATA_DIR_SIZE;
}

// Seconds, with up to three digits after a point.
static bool parse_seconds(const char *text, int64_t *out_ms)
{
    int64_t ms = 0, unit = 1000;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && ms < 86400 * 1000; at++)
        ms = 10 * ms + (*at - '0') * 1000;
    if (at == text)
        return false;
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9' && unit > 1; at++) {
            unit /= 10;
            ms += (*at - '0') * unit;
        }
    }
    *out_ms = ms;
    return *at == 0 && ms <= 86400 * 1000;
}

static bool take_stop_timeout(Warden *w, const char *text)
{
    return parse_seconds(text, &w->stop_timeout_ms);
}

static bool take_fast_timeout(Warden *w, const char *text)
{
    return parse_seconds(text, &w->fast_timeout_ms);
}

static const Option options[] = {
    {"--socket", "PATH", "listen here for the agent; absolute, at most 107 bytes", take_socket},
    {"--data-dir", "DIR", "the data directory of the Postgres looked after; absolute",
     take_data_dir},
    {"--stop-timeout", "SECONDS", "told to stop: time for the agent to hand over (default 60)",
     take_stop_timeout},
    {"--fast-timeout", "SECONDS", "then: time for a fast shutdown before it is killed (default 30)",
     take_fast_timeout},
};

static void print_help(void)
{
    (void)printf(
        "usage: howdah-warden --socket PATH --data-dir DIR [--respawn -- PROGRAM ARGS...]\n"
        "       howdah-warden --respawn -- PROGRAM ARGS...\n"
        "       howdah-warden --install DIR\n\n"
        "The parent of Postgres: does what the agent says, and stops Postgres when the\n"
        "agent's deadline passes.\n\n");
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        (void)printf("  %-14s %-8s %s\n", options[i].name, options[i].value, options[i].help);
    (void)printf("  %-14s %-8s %s\n", "--respawn", "", "start PROGRAM, and again when it ends");
    (void)printf("  %-14s %-8s %s\n", "--install", "DIR",
                 "put this program, and a passwd and a group that know its user, there");
    (void)printf("  %-14s %-8s %s\n", "--version", "", "print the version");
    (void)printf("  %-14s %-8s %s\n", "--help", "", "print this");
}

static bool usage_error(const char *what, const char *where)
{
    (void)fprintf(stderr, "howdah-warden: %s%s; see howdah-warden --help\n", what, where);
    return false;
}

static bool parse_option(Warden *w, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (!value)
            return usage_error("a value is missing after ", name);
        if (!options[i].take(w, value)) {
            (void)fprintf(stderr, "howdah-warden: %s '%s': wants %s: %s\n", name, value,
                          options[i].value, options[i].help);
            return false;
        }
        return true;
    }
    return usage_error("unknown argument ", name);
}

static bool parse_arguments(Warden *w, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--respawn") == 0) {
            if (i + 2 >= argc || strcmp(argv[i + 1], "--") != 0)
                return usage_error("--respawn must be followed by ", "-- PROGRAM ARGS...");
            w->program.argv = argv + i + 2;
            break;
        }
        if (!parse_option(w, argv[i], argv[i + 1]))
            return false;
    }
    if (!w->socket_path != !w->data_dir)
        return usage_error("--socket and --data-dir belong together", "");
    if (!w->socket_path && !w->program.argv)
        return usage_error("wants --socket and --data-dir, or --respawn", "");
    return true;
}

// ---- the start

// Everything but what a fault of our own raises: an inherited habit of ignoring SIGCHLD would lose
// exit statuses, and a stray SIGALRM must not be the end of Postgres.
static bool open_signals(Warden *w)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t blocked, heard;
    launch_reset_signals();
    (void)sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        (void)sigdelset(&blocked, faults[i]);
    (void)sigemptyset(&heard);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        (void)sigaddset(&heard, wanted[i]);
    (void)sigprocmask(SIG_SETMASK, &blocked, NULL);
    w->signals = signalfd(-1, &heard, SFD_NONBLOCK | SFD_CLOEXEC);
    return w->signals >= 0;
}

// With 0, 1 or 2 closed, a pipe of ours would become some child's standard output.
static bool open_standard_fds(void)
{
    for (;;) {
        const int fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            return false;
        if (fd > STDERR_FILENO) {
            (void)close(fd);
            return true;
        }
    }
}

// Locked, so that neither swapping nor reading our own code from a dead disk can delay the fence.
// Of the stack the kernel maps 132 KiB, a third of which is more than we ever use: the rest goes
// back.
static void lock_memory(void)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(page - 1);
    if (mlockall(MCL_CURRENT) != 0) {
        report("memory not locked, swapping can delay the fence error='%s'", strerror(errno));
        return;
    }
    // From below upwards, for how much lies below us depends on the size of the environment above.
    for (uintptr_t at = here - STACK_MAPPED; at < here - STACK_USED; at += page) {
        if (munlock((void *)at, page) == 0)
            (void)madvise((void *)at, page, MADV_DONTNEED); // a page too many is no harm
    }
}

static void warden_init(Warden *w)
{
    *w = (Warden){.stop_timeout_ms = 60000,
                  .fast_timeout_ms = 30000,
                  .signals = -1,
                  .listener = -1,
                  .lock = -1,
                  .proc = -1,
                  .client = {.fd = -1},
                  .self = getpid()};
    for (size_t i = 0; i < PENDING_MAX; i++)
        w->pending[i].fd = -1;
    time_take(w);
    w->started_at = w->alone_since = w->now;
}

static bool warden_open(Warden *w)
{
    if (!open_standard_fds())
        return usage_error("cannot open /dev/null: ", strerror(errno));
    launch_close_inherited();
    report_open();
    if (!open_signals(w)) {
        report("signalfd failed error='%s'", strerror(errno));
        return false;
    }
    if (!w->socket_path)
        return true;

    // What a dead postmaster leaves behind comes to us.
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        report("prctl failed error='%s'", strerror(errno));
        return false;
    }
    if (!proc_open(w) || !socket_open(w))
        return false;
    w->dir = dir_id(AT_FDCWD, w->data_dir); // nothing runs yet: this may take its time
    leftover_inherit(w);
    lock_memory();
    report("ready version=%s socket='%s' data_dir='%s'", HOWDAH_VERSION, w->socket_path,
           w->data_dir);
    return true;
}

// ---- the loop

static void on_stop_signal(Warden *w, int signal)
{
    if (w->socket_path)
        stop_begin(w, signal);
    else
        program_signal(w, signal);
}

static void read_signals(Warden *w)
{
    struct signalfd_siginfo info;
    while (read(w->signals, &info, sizeof info) == sizeof info) {
        const int signal = (int)info.ssi_signo;
        if (signal == SIGTERM || signal == SIGINT || signal == SIGQUIT)
            on_stop_signal(w, signal);
        else if (signal != SIGCHLD)
            program_signal(w, signal);
    }
    children_reap(w);
}

static int64_t next_wake(const Warden *w)
{
    const int64_t wakes[] = {fence_next(w), children_next(w), socket_next(w), stop_next(w),
                             program_next(w)};
    int64_t next = NEVER;
    for (size_t i = 0; i < sizeof wakes / sizeof wakes[0]; i++)
        next = wakes[i] < next ? wakes[i] : next;
    return next;
}

static void wait_for_something(Warden *w)
{
    const int64_t next = next_wake(w);
    const int64_t left = next > w->now ? next - w->now : 0;
    const struct timespec timeout = {.tv_sec = (time_t)(left / (1000 * NS_PER_MS)),
                                     .tv_nsec = (long)(left % (1000 * NS_PER_MS))};
    w->poll_count = 0;
    w->poll_signals = poll_add(w, w->signals, POLLIN);
    socket_watch(w);
    children_watch(w);
    if (ppoll(w->polls, (nfds_t)w->poll_count, next == NEVER ? NULL : &timeout, NULL) < 0) {
        for (int i = 0; i < w->poll_count; i++)
            w->polls[i].revents = 0;
    }
}

static void run(Warden *w)
{
    while (!w->finished) {
        time_take(w);
        fence_step(w); // before anything that arrived while we may have been frozen
        read_signals(w);
        children_step(w);
        socket_step(w);
        program_step(w);
        stop_step(w);
        socket_flush(w);
        if (!w->finished)
            wait_for_something(w);
    }
}

int main(int argc, char **argv)
{
    static Warden warden;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("howdah-warden %s\n", HOWDAH_VERSION);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--install") == 0)
        return install(argv[2]);
    warden_init(&warden);
    if (!parse_arguments(&warden, argc, argv))
        return EXIT_USAGE;
    if (!warden_open(&warden))
        return 1;
    run(&warden);
    report("exits status=%d", warden.exit_code);
    socket_close(&warden);
    return warden.exit_code;
}
