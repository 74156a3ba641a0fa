#include "common/os/log.h"

#include "common/os/clock.h"
#include "common/os/log_line.h"
#include "common/os/log_sink.h"
#include "common/os/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_RECORDS = 1000, LONGEST_MESSAGE = 16 * 1024, DIRECT_WAIT_MS = 50, STOP_MS = 2000 };

typedef struct Record {
    struct Record *next;
    LogLevel level;
    int64_t wall_us;
    uint64_t lost_before; // records that found no room just before this one
    char message[];
} Record;

// The thread's own. One that hangs in a write when the log stops is abandoned: it frees itself if
// it ever comes back.
typedef struct {
    atomic_bool abandoned;
    unsigned generation; // of the options its sink was made from
    uint64_t lost;       // not written, not yet said so
    LogSink sink;
} Writer;

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake; // there is something to write, or to stop for
    pthread_cond_t ended;
    Writer *writer; // NULL: not started, or stopped
    bool stopping;
    LogOptions options;  // dir is ours
    unsigned generation; // of options
    Record *first, **last;
    size_t count, room;
    uint64_t lost; // since the last record that found room
    void (*capture)(void *context, LogLevel level, const char *line);
    void *capture_context;
} g = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .last = &g.first};

static atomic_int lowest = LOG_INFO;
static atomic_uint_fast64_t dropped;

static void lock(void)
{
    const int failed = pthread_mutex_lock(&g.mutex);
    ASSERT(failed == 0);
}

static void unlock(void)
{
    const int failed = pthread_mutex_unlock(&g.mutex);
    ASSERT(failed == 0);
}

static Record *take_record(void) // locked
{
    Record *record = g.first;
    if (record == NULL)
        return NULL;
    g.first = record->next;
    if (g.first == NULL)
        g.last = &g.first;
    g.count--;
    return record;
}

static bool enqueue(Record *record) // locked
{
    if (g.count >= g.room) {
        g.lost++;
        atomic_fetch_add(&dropped, 1);
        return false;
    }
    record->lost_before = g.lost;
    g.lost = 0;
    *g.last = record;
    g.last = &record->next;
    g.count++;
    pthread_cond_signal(&g.wake);
    return true;
}

static bool write_one(Writer *writer, LogLevel level, bool json, int64_t wall_us,
                      const char *message)
{
    size_t length;
    char *line = log_line(level, json, wall_us, message, &length);
    const bool written = log_sink_write(&writer->sink, line, length);
    free(line);
    return written;
}

static void write_lost(Writer *writer, bool json)
{
    char message[80];
    snprintf(message, sizeof message, "log records lost count=%" PRIu64, writer->lost);
    if (write_one(writer, LOG_WARN, json, clock_wall_us(clock_system()), message))
        writer->lost = 0;
}

static void write_record(Writer *writer, bool json, const Record *record)
{
    if (write_one(writer, record->level, json, record->wall_us, record->message))
        return;
    writer->lost++;
    atomic_fetch_add(&dropped, 1);
}

static void adopt_options(Writer *writer) // locked
{
    if (writer->generation == g.generation)
        return;
    log_sink_done(&writer->sink);
    log_sink_init(&writer->sink, &g.options, &writer->abandoned);
    writer->generation = g.generation;
}

// Writes what there is, unlocked while it writes. Returns, locked, when nothing is left.
static void drain(Writer *writer)
{
    while (!atomic_load(&writer->abandoned) && (g.first != NULL || g.lost > 0)) {
        adopt_options(writer);
        const bool json = g.options.json;
        Record *record = take_record();
        writer->lost += record != NULL ? record->lost_before : g.lost;
        if (record == NULL)
            g.lost = 0;
        unlock();
        if (writer->lost > 0)
            write_lost(writer, json);
        if (record != NULL)
            write_record(writer, json, record);
        free(record);
        lock();
    }
}

static void *writer_main(void *argument)
{
    Writer *writer = argument;
    lock();
    for (;;) {
        drain(writer);
        if (atomic_load(&writer->abandoned))
            break;
        if (g.stopping) {
            g.writer = NULL;
            pthread_cond_broadcast(&g.ended);
            break;
        }
        pthread_cond_wait(&g.wake, &g.mutex);
    }
    unlock();
    log_sink_done(&writer->sink);
    free(writer);
    return NULL;
}

static void set_options(const LogOptions *options) // locked
{
    char *dir = options->dir == NULL ? NULL : strdup(options->dir);
    ASSERT(options->dir == NULL || dir != NULL); // out of memory
    free((void *)(uintptr_t)g.options.dir);
    g.options = *options;
    g.options.dir = dir;
    g.generation++;
    g.room = options->queue_records > 0 ? (size_t)options->queue_records : DEFAULT_RECORDS;
    atomic_store(&lowest, options->level);
}

static void start_writer(void) // locked
{
    Writer *writer = calloc(1, sizeof *writer);
    ASSERT(writer != NULL); // out of memory
    log_sink_init(&writer->sink, &g.options, &writer->abandoned);
    writer->generation = g.generation;
    g.writer = writer;

    pthread_t thread;
    const int failed = thread_start(&thread, 0, writer_main, writer);
    ASSERT(failed == 0); // out of memory, or of threads
    pthread_detach(thread);
}

static void init_ended(void)
{
    cond_init(&g.ended);
}

void log_start(const LogOptions *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_ended);
    lock();
    set_options(options);
    g.stopping = false;
    if (g.writer == NULL)
        start_writer();
    unlock();
}

void log_configure(const LogOptions *options)
{
    lock();
    set_options(options);
    unlock();
}

// The thread is given up on: whatever it holds up is lost.
static void abandon_writer(void) // locked
{
    atomic_store(&g.writer->abandoned, true);
    g.writer = NULL;
    for (Record *record = take_record(); record != NULL; record = take_record()) {
        free(record);
        atomic_fetch_add(&dropped, 1);
    }
    g.lost = 0;
}

void log_stop(void)
{
    lock();
    if (g.writer != NULL) {
        g.stopping = true;
        pthread_cond_signal(&g.wake);
        while (g.writer != NULL) {
            if (!cond_wait_ms(&g.ended, &g.mutex, STOP_MS))
                break;
        }
        if (g.writer != NULL)
            abandon_writer();
        g.stopping = false;
    }
    unlock();
}

bool log_enabled(LogLevel level)
{
    return (int)level >= atomic_load_explicit(&lowest, memory_order_relaxed);
}

static void write_directly(LogLevel level, int64_t wall_us, const char *message, bool json)
{
    size_t length;
    char *line = log_line(level, json, wall_us, message, &length);
    if (!log_write_fd(STDERR_FILENO, line, length, DIRECT_WAIT_MS, NULL))
        atomic_fetch_add(&dropped, 1);
    free(line);
}

// Takes the record over.
static void submit(Record *record)
{
    lock();
    bool direct = false, queued = false;
    if (g.capture != NULL)
        g.capture(g.capture_context, record->level, record->message);
    else if (g.writer != NULL)
        queued = enqueue(record);
    else
        direct = true;
    const bool json = g.options.json;
    unlock();

    if (direct)
        write_directly(record->level, record->wall_us, record->message, json);
    if (!queued)
        free(record);
}

void log_write(LogLevel level, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    const int saved = errno;
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int needed = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    const size_t length =
        needed < 0 ? 0 : (needed < LONGEST_MESSAGE ? (size_t)needed : LONGEST_MESSAGE);

    Record *record = malloc(sizeof *record + length + 1);
    ASSERT(record != NULL); // out of memory
    *record = (Record){.level = level, .wall_us = clock_wall_us(clock_system())};
    record->message[0] = '\0';
    vsnprintf(record->message, length + 1, fmt, again);
    va_end(again);
    submit(record);
    errno = saved;
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped);
}

void log_capture(void (*sink)(void *context, LogLevel level, const char *line), void *context)
{
    lock();
    g.capture = sink;
    g.capture_context = context;
    unlock();
}
