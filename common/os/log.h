// Log lines: `constant text key=value …`, text or JSON, to stderr or a rotating file.
//
// A record is put into a bounded queue and written by a thread of its own, so a blocked sink never
// stalls a turn: what does not fit is dropped and counted. Callable from any thread.
#pragma once
#include "common/base/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;

typedef struct {
    LogLevel level;
    bool json;
    const char *dir;         // NULL: stderr; else <dir>/howdah.log
    int64_t file_size_bytes; // rotation; 0: 25 MB
    int file_count;          // older files kept; 0: 4
    int queue_records;       // 0: 1000
} LogOptions;

// Text fields are copied. Before log_start, and after log_stop, records go straight to stderr.
void log_start(const LogOptions *options);
void log_configure(const LogOptions *options); // reload
void log_stop(void);                           // flushes for at most 2 s
bool log_enabled(LogLevel level);
void log_write(LogLevel level, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t log_dropped(void);

#define log_debug(...) (log_enabled(LOG_DEBUG) ? log_write(LOG_DEBUG, __VA_ARGS__) : (void)0)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

bool log_level_parse(const char *text, LogLevel *out); // Patroni's names, any case
// For tests: records go to this function instead (NULL restores); line is the bare message, without
// time and level. Called under the log's lock, so it must not log.
void log_capture(void (*sink)(void *context, LogLevel level, const char *line), void *context);
