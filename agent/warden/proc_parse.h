// One line of /proc/<pid>/stat, as text: pure, for the cases no test can bring about.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    char state;
    bool kill_pending; // SIGKILL is on its way
    pid_t parent;
    uint64_t start_time; // field 22
} ProcStat;

bool proc_parse_stat(const char *text, ProcStat *out);
// A zombie does not run any more, nor does what sleeps uninterruptibly with SIGKILL pending: it
// never returns to user mode.
bool proc_can_run(const ProcStat *stat);
