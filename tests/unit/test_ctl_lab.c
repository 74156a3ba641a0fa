#include "tests/unit/test_ctl_lab.h"

#include "tests/support/tcp_server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ANSWERS = 32, REQUEST_BYTES = 64 * 1024, LOG_BYTES = 64 * 1024 };

Arena *lab_arena;
static char directory[64];
static const char *settings_file;

extern char **environ;

// --- members

typedef struct {
    char request[64];
    int status;
    char *body;
    int after; // for so many requests more, then the next one in the table; -1: for ever
} Answer;

struct LabMember {
    TcpServer *tcp;
    char url[40];
    pthread_mutex_t mutex;
    Answer answers[MOST_ANSWERS];
    size_t count;
    char log[LOG_BYTES];
    size_t log_length;
};

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    ASSERT(copy != NULL);
    return copy;
}

// Reads headers and body; false when the peer is gone.
static bool read_request(int fd, char *buffer, size_t size)
{
    size_t length = 0;
    for (;;) {
        const ssize_t got = recv(fd, buffer + length, size - 1 - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
        buffer[length] = '\0';
        const char *end = strstr(buffer, "\r\n\r\n");
        if (end == NULL)
            continue;
        const char *field = strcasestr(buffer, "\r\nContent-Length:");
        const long body = field != NULL && field < end ? strtol(field + 17, NULL, 10) : 0;
        if (length >= (size_t)(end + 4 - buffer) + (size_t)body)
            return true;
    }
}

static void note_request(LabMember *member, const char *buffer, const char *request)
{
    const char *body = strstr(buffer, "\r\n\r\n") + 4;
    const char *auth = strcasestr(buffer, "\r\nAuthorization: ");
    const int auth_length = auth != NULL ? (int)strcspn(auth + 17, "\r") : 0;
    const int added =
        snprintf(member->log + member->log_length, LOG_BYTES - member->log_length, "%s%s%s%s%.*s\n",
                 request, body[0] != '\0' ? " " : "", body, auth != NULL ? " authorization=" : "",
                 auth_length, auth != NULL ? auth + 17 : "");
    ASSERT(added > 0 && (size_t)added < LOG_BYTES - member->log_length);
    member->log_length += (size_t)added;
}

static Answer *find_answer(LabMember *member, const char *request)
{
    for (size_t i = 0; i < member->count; i++) {
        Answer *answer = &member->answers[i];
        if (!str_eq(answer->request, request) || answer->after == 0)
            continue;
        if (answer->after > 0)
            answer->after--;
        return answer;
    }
    return NULL;
}

static void serve(int fd, void *context)
{
    LabMember *member = context;
    char *buffer = calloc(1, REQUEST_BYTES), request[64] = "", path[40] = "";
    ASSERT(buffer != NULL);
    while (read_request(fd, buffer, REQUEST_BYTES)) {
        char method[16] = "";
        if (sscanf(buffer, "%15s %39s", method, path) != 2)
            break;
        snprintf(request, sizeof request, "%s %s", method, path);
        pthread_mutex_lock(&member->mutex);
        note_request(member, buffer, request);
        const Answer *answer = find_answer(member, request);
        const char *body = answer != NULL ? answer->body : "no such page";
        dprintf(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s",
                answer != NULL ? answer->status : 404, strlen(body), body);
        pthread_mutex_unlock(&member->mutex);
    }
    free(buffer);
}

LabMember *lab_member_start(void)
{
    LabMember *member = calloc(1, sizeof *member);
    ASSERT(member != NULL);
    pthread_mutex_init(&member->mutex, NULL);
    member->tcp = tcp_server_start("127.0.0.1", serve, member);
    ASSERT(member->tcp != NULL);
    snprintf(member->url, sizeof member->url, "http://127.0.0.1:%d", lab_member_port(member));
    return member;
}

void lab_member_free(LabMember *member)
{
    if (member == NULL)
        return;
    tcp_server_stop(member->tcp);
    for (size_t i = 0; i < member->count; i++)
        free(member->answers[i].body);
    pthread_mutex_destroy(&member->mutex);
    free(member);
}

int lab_member_port(const LabMember *member)
{
    return tcp_server_port(member->tcp);
}

const char *lab_member_url(const LabMember *member)
{
    return member->url;
}

static void add_answer(LabMember *member, size_t at, const Answer *answer)
{
    ASSERT(member->count < MOST_ANSWERS);
    for (size_t i = member->count; i > at; i--)
        member->answers[i] = member->answers[i - 1];
    member->answers[at] = *answer;
    member->count++;
}

void lab_member_answer_later(LabMember *member, const char *request, int times, int status,
                             const char *body)
{
    Answer answer = {.status = status, .body = copy_of(body), .after = -1};
    copy_text(answer.request, sizeof answer.request, request);
    pthread_mutex_lock(&member->mutex);
    for (size_t i = 0; i < member->count; i++)
        if (str_eq(member->answers[i].request, request) && member->answers[i].after < 0)
            member->answers[i].after = times;
    add_answer(member, member->count, &answer);
    pthread_mutex_unlock(&member->mutex);
}

void lab_member_answer(LabMember *member, const char *request, int status, const char *body)
{
    lab_member_answer_later(member, request, 0, status, body);
}

const char *lab_member_requests(LabMember *member)
{
    pthread_mutex_lock(&member->mutex);
    const char *requests = arena_strndup(lab_arena, member->log, member->log_length);
    member->log_length = 0;
    pthread_mutex_unlock(&member->mutex);
    return requests;
}

// --- runs

void lab_start(void)
{
    lab_arena = arena_new(ARENA_CAP_DEFAULT);
    snprintf(directory, sizeof directory, "/tmp/howdah-ctl-XXXXXX");
    ASSERT(mkdtemp(directory) != NULL);
    setenv("TZ", "UTC", 1);
    setenv("HOME", directory, 1); // nobody's own settings
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOWDAHCTL_API");
    unsetenv("DCS_URL");
    unsetenv("PATRONICTL_CONFIG_FILE");
}

void lab_end(void)
{
    const char *names[] = {"settings.yml", "in", "out", "err", "patronictl", "a.yml", "editor"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        (void)unlink(arena_printf(lab_arena, "%s/%s", directory, names[i]));
    if (rmdir(directory) != 0)
        fail_msg("%s: %s", directory, strerror(errno));
    arena_release(&lab_arena);
}

const char *lab_file(const char *name, const char *content)
{
    const char *path = arena_printf(lab_arena, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    ASSERT(file != NULL);
    fputs(content, file);
    fclose(file);
    return path;
}

void lab_settings(const char *yaml)
{
    settings_file = yaml != NULL ? lab_file("settings.yml", yaml) : NULL;
    if (yaml != NULL)
        setenv("HOWDAHCTL_CONFIG_FILE", settings_file, 1);
    else
        unsetenv("HOWDAHCTL_CONFIG_FILE");
}

static const char *read_all(const char *name)
{
    FILE *file = fopen(arena_printf(lab_arena, "%s/%s", directory, name), "r");
    ASSERT(file != NULL);
    Text text = text_new(lab_arena);
    char buffer[4096];
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, file)) > 0;)
        text_add_bytes(&text, buffer, got);
    fclose(file);
    return text.data;
}

// The program itself, or a link to it in the lab's directory.
static const char *path_of(const char *program)
{
    const char *built = arena_printf(lab_arena, "%s/howdahctl", getenv("HOWDAH_BIN"));
    if (str_eq(program, "howdahctl"))
        return built;
    const char *link = arena_printf(lab_arena, "%s/%s", directory, program);
    if (symlink(built, link) != 0)
        ASSERT(errno == EEXIST);
    return link;
}

LabRun lab_run_as(const char *program, const char *input, const char *const *words)
{
    enum { MOST_WORDS = 32 };
    char *argv[MOST_WORDS] = {arena_strdup(lab_arena, path_of(program))};
    for (size_t i = 0; words[i] != NULL; i++) {
        ASSERT(i + 2 < MOST_WORDS);
        argv[i + 1] = arena_strdup(lab_arena, words[i]);
    }
    const char *in = lab_file("in", input);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, in, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, arena_printf(lab_arena, "%s/out", directory),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, arena_printf(lab_arena, "%s/err", directory),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid;
    int status;
    const int failed = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0)
        fail_msg("%s: %s", argv[0], strerror(failed));
    while (waitpid(pid, &status, 0) < 0)
        ASSERT(errno == EINTR);
    return (LabRun){.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                    .out = read_all("out"),
                    .err = read_all("err")};
}

void lab_expect_run(const LabRun *run, int status, const char *where)
{
    if (run->status != status)
        fail_msg("%s: exit %d instead of %d\n%s\n%s", where, run->status, status, run->out,
                 run->err);
}

void lab_expect_in(const char *text, const char *part, const char *where)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s: no '%s' in\n%s", where, part, text);
}
