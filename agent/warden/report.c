// Log lines. Standard error is shared with Postgres, so it may not be made non-blocking; and a
// blocked reader, a full pipe or a file on a dead disk may not stop the one who holds the fence.
//
//   socket    (journald): send() takes "do not wait"
//   pipe, tty: opened a second time, non-blocking; where that is forbidden, only when poll() says
//              there is room
//   file      while a fence is armed, written by a short-lived child; otherwise by ourselves
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 512

static struct {
    enum { SINK_PLAIN, SINK_SOCKET, SINK_FILE } kind;
    int fd;
    bool careful;
    pid_t writers[LOG_WRITERS];
    unsigned lost; // lines, since the last that was written
} sink = {.kind = SINK_PLAIN, .fd = STDERR_FILENO};

void report_open(void)
{
    struct stat seen;
    if (fstat(STDERR_FILENO, &seen) != 0)
        return;
    if (S_ISSOCK(seen.st_mode)) {
        sink.kind = SINK_SOCKET;
    } else if (S_ISREG(seen.st_mode)) {
        sink.kind = SINK_FILE;
    } else {
        const int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0)
            sink.fd = own;
    }
}

void report_careful(bool careful)
{
    sink.careful = careful;
}

bool report_reaped(pid_t pid)
{
    for (size_t i = 0; i < LOG_WRITERS; i++) {
        if (sink.writers[i] == pid) {
            sink.writers[i] = 0;
            return true;
        }
    }
    return false;
}

// False: all of them are stuck. Then the line is lost, as a dead disk would have lost it anyway.
static bool write_by_child(const char *line, size_t size)
{
    for (size_t i = 0; i < LOG_WRITERS; i++) {
        if (sink.writers[i] != 0)
            continue;
        const pid_t pid = fork();
        if (pid == 0) {
            launch_close_inherited(); // it may hang for long, and must not hold our lock
            (void)!chdir("/");        // our directory may be the one whose processes are killed
            (void)!write(STDERR_FILENO, line, size);
            _exit(0);
        }
        if (pid > 0)
            sink.writers[i] = pid;
        return pid > 0;
    }
    return false;
}

static bool write_line(const char *line, size_t size)
{
    struct pollfd room = {.fd = sink.fd, .events = POLLOUT};
    if (sink.kind == SINK_SOCKET)
        return send(sink.fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    if (sink.kind == SINK_FILE && sink.careful)
        return write_by_child(line, size);
    if (sink.kind == SINK_PLAIN && sink.fd == STDERR_FILENO && poll(&room, 1, 0) != 1)
        return false;
    return write(sink.fd, line, size) >= 0;
}

void report(const char *fmt, ...)
{
    static const char prefix[] = "howdah-warden: ";
    char line[LINE_SIZE];
    const int error = errno;
    va_list args;
    memcpy(line, prefix, sizeof prefix - 1);
    va_start(args, fmt);
    const int wanted = vsnprintf(line + sizeof prefix - 1, sizeof line - sizeof prefix, fmt, args);
    va_end(args);
    if (wanted < 0)
        return;
    size_t length = strlen(line);
    if (sink.lost > 0) {
        (void)snprintf(line + length, sizeof line - 1 - length, " lines_lost_before=%u", sink.lost);
        length = strlen(line);
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < ' ')
            line[i] = '?'; // an id or a note cannot forge a line
    }
    line[length] = '\n';
    sink.lost = write_line(line, length + 1) ? 0 : sink.lost + 1;
    errno = error;
}
