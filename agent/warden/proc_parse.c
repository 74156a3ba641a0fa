#include "agent/warden/proc_parse.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

// proc(5) numbers the fields from 1; the third is the first after the name.
#define FIELD_PARENT  4
#define FIELD_START   22
#define FIELD_PENDING 31

bool proc_parse_stat(const char *text, ProcStat *out)
{
    // "pid (name) state ppid ...": the name may hold blanks and brackets, so count from its end.
    const char *at = strrchr(text, ')');
    unsigned long long fields[FIELD_PENDING + 1] = {0};
    if (!at || at[1] != ' ' || at[2] == 0)
        return false;
    const char state = at[2];
    at += 3;
    for (int field = FIELD_PARENT; field <= FIELD_PENDING; field++) {
        char *end = NULL;
        if (*at != ' ')
            return false;
        fields[field] = strtoull(at, &end, 10); // some are negative: none of those asked for
        if (end == at)
            return false;
        at = end;
    }
    *out = (ProcStat){.state = state,
                      .kill_pending = (fields[FIELD_PENDING] >> (SIGKILL - 1)) & 1,
                      .parent = (pid_t)fields[FIELD_PARENT],
                      .start_time = fields[FIELD_START]};
    return true;
}

bool proc_can_run(const ProcStat *stat)
{
    return stat->state != 'Z' && stat->state != 'X' && !(stat->state == 'D' && stat->kill_pending);
}
