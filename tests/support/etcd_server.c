#include "tests/support/etcd_server.h"

#include "tests/support/ports.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct EtcdServer {
    char directory[64], data[96];
    char name[8], client_url[64], peer_url[64], cluster[256], token[96];
    EtcdServerTls tls;
    int port;
    pid_t pid; // 0: not running
};

enum { MOST_WORDS = 32, PATIENCE_MS = 30000, STEP_MS = 20 };

static void sleep_ms(long ms)
{
    const struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&span, NULL); // the callers loop
}

// The program dies with the test, however the test ends.
static pid_t run(const char *const *words, const char *log)
{
    const pid_t parent = getpid();
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126);
    char *argv[MOST_WORDS + 1] = {NULL};
    for (size_t i = 0; i < MOST_WORDS && words[i] != NULL; i++)
        argv[i] = strdup(words[i]);
    execvp(argv[0], argv);
    _exit(127);
}

static bool accepts(int port)
{
    const struct sockaddr_in name = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const bool ok = connect(fd, (const struct sockaddr *)(const void *)&name, sizeof name) == 0;
    close(fd);
    return ok;
}

// etcd listens for clients only once it has joined its cluster.
static void spawn(EtcdServer *server)
{
    char log[96];
    snprintf(log, sizeof log, "%s/log", server->directory);
    const char *words[MOST_WORDS] = {"etcd",
                                     "--name",
                                     server->name,
                                     "--data-dir",
                                     server->data,
                                     "--listen-client-urls",
                                     server->client_url,
                                     "--advertise-client-urls",
                                     server->client_url,
                                     "--listen-peer-urls",
                                     server->peer_url,
                                     "--initial-advertise-peer-urls",
                                     server->peer_url,
                                     "--initial-cluster",
                                     server->cluster,
                                     "--initial-cluster-token",
                                     server->token,
                                     "--unsafe-no-fsync"};
    size_t count = 0;
    while (words[count] != NULL)
        count++;
    if (server->tls.cert_file != NULL) {
        words[count++] = "--cert-file";
        words[count++] = server->tls.cert_file;
        words[count++] = "--key-file";
        words[count++] = server->tls.key_file;
    }
    if (server->tls.ca_file != NULL) {
        words[count++] = "--client-cert-auth";
        words[count++] = "--trusted-ca-file";
        words[count++] = server->tls.ca_file;
    }
    server->pid = run(words, log);
}

static void wait_for(EtcdServer *server)
{
    for (int waited = 0; !accepts(server->port); waited += STEP_MS) {
        if (waited > PATIENCE_MS || waitpid(server->pid, NULL, WNOHANG) == server->pid)
            fail_msg("etcd does not start, see %s/log", server->directory);
        sleep_ms(STEP_MS);
    }
}

static void launch(EtcdServer *server)
{
    spawn(server);
    wait_for(server);
}

static void set_addresses(EtcdServer *server, bool tls)
{
    server->port = free_port();
    const int peer = free_port();
    snprintf(server->client_url, sizeof server->client_url, "%s://127.0.0.1:%d",
             tls ? "https" : "http", server->port);
    snprintf(server->peer_url, sizeof server->peer_url, "http://127.0.0.1:%d", peer);
}

// The token is the directory, so that other data is another cluster, with another id.
static void new_data(EtcdServer *server, int number)
{
    snprintf(server->data, sizeof server->data, "%s/data%d", server->directory, number);
    snprintf(server->token, sizeof server->token, "%s", server->data);
}

static EtcdServer *prepare(const char *name, const EtcdServerTls *tls)
{
    EtcdServer *server = calloc(1, sizeof *server);
    assert_non_null(server);
    snprintf(server->directory, sizeof server->directory, "/tmp/howdah-etcd-XXXXXX");
    assert_non_null(mkdtemp(server->directory));
    snprintf(server->name, sizeof server->name, "%s", name);
    if (tls != NULL)
        server->tls = *tls;
    set_addresses(server, tls != NULL);
    new_data(server, 1);
    snprintf(server->cluster, sizeof server->cluster, "%s=%s", name, server->peer_url);
    return server;
}

EtcdServer *etcd_server_start(const EtcdServerTls *tls)
{
    EtcdServer *server = prepare("one", tls);
    launch(server);
    return server;
}

void etcd_cluster_start(EtcdServer *out[3])
{
    static const char *const names[3] = {"one", "two", "three"};
    char all[sizeof out[0]->cluster];
    int used = 0;
    for (int i = 0; i < 3; i++) {
        out[i] = prepare(names[i], NULL);
        used += snprintf(all + used, sizeof all - (size_t)used, "%s%s=%s", i > 0 ? "," : "",
                         names[i], out[i]->peer_url);
    }
    for (int i = 0; i < 3; i++) {
        memcpy(out[i]->cluster, all, sizeof all);
        memcpy(out[i]->token, out[0]->data, sizeof out[i]->token);
        spawn(out[i]);
    }
    for (int i = 0; i < 3; i++)
        wait_for(out[i]);
}

const char *etcd_server_url(const EtcdServer *server)
{
    return server->client_url;
}

int etcd_server_port(const EtcdServer *server)
{
    return server->port;
}

void etcd_server_kill(EtcdServer *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void etcd_server_wipe(EtcdServer *server)
{
    static int number = 1;
    etcd_server_kill(server);
    new_data(server, ++number);
}

void etcd_server_restart(EtcdServer *server)
{
    etcd_server_kill(server);
    launch(server);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    return remove(path);
}

static void copy_directory(const EtcdServer *server, const char *from, const char *to)
{
    char log[96];
    int status = 0;
    snprintf(log, sizeof log, "%s/cp", server->directory);
    const pid_t pid = run((const char *[]){"cp", "-a", from, to, NULL}, log);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void etcd_server_save(EtcdServer *server)
{
    char saved[128];
    snprintf(saved, sizeof saved, "%s.saved", server->data);
    etcd_server_kill(server);
    copy_directory(server, server->data, saved);
    launch(server);
}

void etcd_server_go_back(EtcdServer *server)
{
    char saved[128];
    snprintf(saved, sizeof saved, "%s.saved", server->data);
    etcd_server_kill(server);
    assert_int_equal(nftw(server->data, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(rename(saved, server->data), 0);
    launch(server);
}

// True: it answers nothing any more. SIGSTOP reaches the threads of a process one after the other.
static bool all_stopped(pid_t pid)
{
    char path[64], state = 'T';
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    assert_non_null(tasks);
    for (const struct dirent *task; state == 'T' && (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)pid, task->d_name);
        FILE *stat = fopen(path, "r");
        if (stat == NULL || fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
            state = '?'; // a thread that has just ended
        if (stat != NULL)
            fclose(stat);
    }
    closedir(tasks);
    return state == 'T';
}

void etcd_server_signal(EtcdServer *server, int signal)
{
    assert_int_equal(kill(server->pid, signal), 0);
    for (int waited = 0; signal == SIGSTOP && !all_stopped(server->pid); waited += STEP_MS) {
        assert_true(waited < PATIENCE_MS);
        sleep_ms(STEP_MS);
    }
}

void etcd_server_free(EtcdServer *server)
{
    if (server == NULL)
        return;
    etcd_server_kill(server);
    (void)nftw(server->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS); // best effort
    free(server);
}

void etcd_server_ctl(EtcdServer *server, const char *const *words)
{
    const char *all[MOST_WORDS] = {"etcdctl", "--endpoints", server->client_url};
    size_t count = 3;
    for (size_t i = 0; words[i] != NULL && count < MOST_WORDS - 1; i++)
        all[count++] = words[i];
    char log[96];
    int status = 0;
    snprintf(log, sizeof log, "%s/ctl", server->directory);
    setenv("ETCDCTL_API", "3", 1);
    const pid_t pid = run(all, log);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("etcdctl %s failed, see %s", words[0], log);
}
