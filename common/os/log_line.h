// Inside the log: how a record looks on a line. Nothing else includes this.
#pragma once
#include "common/os/log.h"

// A line with its newline, as long as it needs; the caller frees it. A message is one line whatever
// it holds: control characters are escaped, so nobody can forge a record.
char *log_line(LogLevel level, bool json, int64_t wall_us, const char *message, size_t *out_length);
