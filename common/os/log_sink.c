#include "common/os/log_sink.h"

#include "common/base/error.h"
#include "common/os/files.h"
#include "common/os/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_FILE_BYTES = 25000000, DEFAULT_FILE_COUNT = 4, SLICE_MS = 100 };

void log_sink_init(LogSink *sink, const LogOptions *options, atomic_bool *give_up)
{
    *sink = (LogSink){
        .file_size_bytes =
            options->file_size_bytes > 0 ? options->file_size_bytes : DEFAULT_FILE_BYTES,
        .file_count = options->file_count > 0 ? options->file_count : DEFAULT_FILE_COUNT,
        .fd = -1,
        .give_up = give_up,
    };
    if (options->dir != NULL) {
        sink->dir = strdup(options->dir);
        ASSERT(sink->dir != NULL); // out of memory
    }
}

void log_sink_done(LogSink *sink)
{
    fd_release(&sink->fd);
    free(sink->dir);
    sink->dir = NULL;
}

static bool wait_writable(int fd, int wait_ms, const atomic_bool *give_up)
{
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        const int count = poll(&ready, 1, wait_ms < 0 ? SLICE_MS : wait_ms);
        if (count > 0)
            return (ready.revents & POLLOUT) != 0;
        if (count < 0 && errno != EINTR)
            return false;
        if (wait_ms >= 0 || (give_up != NULL && atomic_load(give_up)))
            return false;
    }
}

// stderr is shared with others, so it is not made non-blocking. A pipe that polls writable takes
// PIPE_BUF bytes without blocking.
bool log_write_fd(int fd, const char *line, size_t length, int wait_ms, const atomic_bool *give_up)
{
    while (length > 0) {
        if (!wait_writable(fd, wait_ms, give_up))
            return false;
        const ssize_t written = write(fd, line, length < PIPE_BUF ? length : PIPE_BUF);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (written > 0) {
            line += written;
            length -= (size_t)written;
        }
    }
    return true;
}

static char *file_name(const LogSink *sink, int number)
{
    char *name = NULL;
    const int length = number == 0 ? asprintf(&name, "%s/howdah.log", sink->dir)
                                   : asprintf(&name, "%s/howdah.log.%d", sink->dir, number);
    ASSERT(length >= 0); // out of memory
    return name;
}

static void string_release(char **s)
{
    free(*s);
}

// Without the file the lines go to stderr, with one complaint, until the file can be opened.
static void open_file(LogSink *sink)
{
    Error err = {0};
    AUTO(string_release) char *name = file_name(sink, 0);
    if (directory_make(sink->dir, 0755, &err)) {
        sink->fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
        if (sink->fd < 0)
            error_set(&err, ERR_UNAVAILABLE, "open %s: %s", name, strerror(errno));
    }
    if (sink->fd < 0) {
        if (!sink->complained)
            log_warn("log goes to stderr instead of the file error='%s'", err.text);
        sink->complained = true;
        return;
    }
    sink->complained = false;
    struct stat st;
    sink->size = fstat(sink->fd, &st) == 0 ? st.st_size : 0;
}

// howdah.log.3 becomes .4 and so on; a rename that fails costs an old file, not the new lines.
static void rotate(LogSink *sink)
{
    fd_release(&sink->fd);
    for (int number = sink->file_count; number > 0; number--) {
        AUTO(string_release) char *from = file_name(sink, number - 1);
        AUTO(string_release) char *to = file_name(sink, number);
        (void)rename(from, to);
    }
}

bool log_sink_write(LogSink *sink, const char *line, size_t length)
{
    if (sink->fd >= 0 && sink->size > 0 && sink->size + (int64_t)length > sink->file_size_bytes)
        rotate(sink);
    if (sink->dir != NULL && sink->fd < 0)
        open_file(sink);
    sink->size += (int64_t)length;
    return log_write_fd(sink->fd >= 0 ? sink->fd : STDERR_FILENO, line, length, -1, sink->give_up);
}
