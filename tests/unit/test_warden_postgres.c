// What the tests of the warden look after: a program that, named postgres, behaves like one as far
// as processes go: works in its data directory, has children that are leaders of sessions of their
// own, stops fast on SIGINT and at once on SIGQUIT.
//
//   postgres -D DIR [backends=N] [deaf] [deaf-postmaster] [archiver] [exit=N] [slow-stop-ms=N]
//
//   deaf             the backends ignore SIGQUIT
//   deaf-postmaster  the postmaster ignores SIGINT and SIGQUIT
//   archiver         one backend runs an archive command, which is no postgres
//   exit=N           the postmaster exits with N once it is ready
//   slow-stop-ms=N   a fast stop takes so long
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKENDS_MAX 64

typedef struct {
    int backends, exit_code, slow_stop_ms;
    bool deaf, deaf_postmaster, archiver;
    pid_t pids[BACKENDS_MAX];
} Server;

static void ignore_signal(int signal)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(signal, &ignore, NULL);
}

// A busy backend does not notice that its postmaster is gone.
static _Noreturn void backend(const Server *server, int number)
{
    (void)setsid();
    if (server->deaf) {
        ignore_signal(SIGQUIT);
        ignore_signal(SIGTERM);
    }
    if (server->archiver && number == 0 && fork() == 0) {
        ignore_signal(SIGQUIT);
        (void)execl("/bin/sleep", "sleep", "987", (char *)NULL);
        _exit(1);
    }
    for (;;)
        (void)pause();
}

static void parse(Server *server, const char *word)
{
    if (strncmp(word, "backends=", 9) == 0)
        server->backends = atoi(word + 9);
    else if (strncmp(word, "exit=", 5) == 0)
        server->exit_code = atoi(word + 5);
    else if (strncmp(word, "slow-stop-ms=", 13) == 0)
        server->slow_stop_ms = atoi(word + 13);
    else if (strcmp(word, "deaf") == 0)
        server->deaf = true;
    else if (strcmp(word, "deaf-postmaster") == 0)
        server->deaf_postmaster = true;
    else if (strcmp(word, "archiver") == 0)
        server->archiver = true;
}

static void stop(const Server *server, int signal)
{
    const struct timespec wait = {.tv_sec = server->slow_stop_ms / 1000,
                                  .tv_nsec = server->slow_stop_ms % 1000 * 1000000L};
    if (signal == SIGINT)
        (void)nanosleep(&wait, NULL);
    for (int i = 0; i < server->backends; i++)
        (void)kill(server->pids[i], signal == SIGINT ? SIGKILL : SIGQUIT);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    _exit(0);
}

int main(int argc, char **argv)
{
    Server server = {.backends = 2, .exit_code = -1};
    sigset_t wanted, before;
    if (argc < 3 || chdir(argv[2]) != 0)
        return 1;
    for (int i = 3; i < argc; i++)
        parse(&server, argv[i]);
    if (server.backends > BACKENDS_MAX)
        return 1;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGQUIT);
    (void)sigprocmask(SIG_BLOCK, &wanted, &before);
    for (int i = 0; i < server.backends; i++) {
        server.pids[i] = fork();
        if (server.pids[i] == 0) {
            (void)sigprocmask(SIG_SETMASK, &before, NULL);
            backend(&server, i);
        }
    }
    (void)close(open("ready", O_WRONLY | O_CREAT, 0600));
    (void)printf("postmaster is ready\n");
    (void)fflush(stdout);
    if (server.exit_code >= 0)
        _exit(server.exit_code);
    for (;;) {
        int signal = 0;
        if (sigwait(&wanted, &signal) == 0 && !server.deaf_postmaster)
            stop(&server, signal == SIGQUIT ? SIGQUIT : SIGINT);
    }
}
