#include "agent/ledger_file.h"

#include "common/os/thread.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX  256
#define FILE_BYTES (1024 * 1024)
#define LAST_MS    1000 // of waiting for the disk at the end

struct LedgerFile {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    char *queue[QUEUE_MAX];
    size_t first, count;
    bool closing, done;
    bool abandoned; // the closer did not wait: the thread frees
    char path[512], older[520];
};

static void file_free(LedgerFile *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->queue[(f->first + i) % QUEUE_MAX]);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

static void write_line(const LedgerFile *f, const char *line)
{
    struct stat st;
    if (stat(f->path, &st) == 0 && st.st_size > FILE_BYTES)
        (void)rename(f->path, f->older); // a failure means a longer file, nothing worse
    const int fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    // Best effort: the last hundred are in memory, and the log has told it too.
    if (write(fd, line, strlen(line)) > 0)
        (void)!write(fd, "\n", 1);
    close(fd);
}

static void *writer(void *arg)
{
    LedgerFile *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (f->count == 0 && !f->closing)
            pthread_cond_wait(&f->changed, &f->lock);
        if (f->count == 0)
            break;
        char *line = f->queue[f->first];
        f->first = (f->first + 1) % QUEUE_MAX;
        f->count--;
        pthread_mutex_unlock(&f->lock);
        write_line(f, line);
        free(line);
        pthread_mutex_lock(&f->lock);
    }
    f->done = true;
    const bool abandoned = f->abandoned;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (abandoned)
        file_free(f);
    return NULL;
}

LedgerFile *ledger_file_open(const char *state_dir)
{
    LedgerFile *f = calloc(1, sizeof *f);
    ASSERT(f);
    (void)snprintf(f->path, sizeof f->path, "%s/ledger.jsonl", state_dir);
    (void)snprintf(f->older, sizeof f->older, "%s/ledger.1.jsonl", state_dir);
    pthread_mutex_init(&f->lock, NULL);
    cond_init(&f->changed);
    const int failed = thread_start(&f->thread, THREAD_STACK_SMALL, writer, f);
    ASSERT(failed == 0);
    return f;
}

void ledger_file_keep(void *file, const char *line)
{
    LedgerFile *f = file;
    pthread_mutex_lock(&f->lock);
    if (f->count < QUEUE_MAX) {
        f->queue[(f->first + f->count) % QUEUE_MAX] = strdup(line);
        f->count++;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
}

void ledger_file_close(LedgerFile *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_broadcast(&f->changed);
    // The one broadcast still to come is the writer's last: one wait, or a spurious wake-up more.
    while (!f->done && cond_wait_ms(&f->changed, &f->lock, LAST_MS))
        continue;
    const bool done = f->done;
    f->abandoned = !done;
    const pthread_t thread = f->thread;
    pthread_mutex_unlock(&f->lock);
    if (!done) { // the disk hangs: the process is about to end anyway
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    file_free(f);
}
