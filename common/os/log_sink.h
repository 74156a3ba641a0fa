// Inside the log: where lines go. Used by the writer thread alone, so it may block.
#pragma once
#include "common/os/log.h"

#include <stdatomic.h>

typedef struct {
    char *dir; // NULL: stderr
    int64_t file_size_bytes;
    int file_count;
    int fd; // -1: not open
    int64_t size;
    bool complained;      // about a file that cannot be opened, until it can
    atomic_bool *give_up; // set by log_stop when it has waited long enough
} LogSink;

void log_sink_init(LogSink *sink, const LogOptions *options, atomic_bool *give_up);
void log_sink_done(LogSink *sink);
// False if the line could not be written, whole or at all.
bool log_sink_write(LogSink *sink, const char *line, size_t length);
// Waits for at most wait_ms (-1: until *give_up) for fd to take more. Never blocks inside write()
// while this process is the only one that writes to a pipe.
bool log_write_fd(int fd, const char *line, size_t length, int wait_ms, const atomic_bool *give_up);
