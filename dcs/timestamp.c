#include "dcs/records.h"

#include <stdlib.h>
#include <time.h>

char *records_timestamp(Arena *arena, int64_t wall_us)
{
    const time_t seconds = (time_t)(wall_us / 1000000);
    struct tm local;
    if (!localtime_r(&seconds, &local))
        return arena_strdup(arena, "");
    char text[40];
    if (strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local) == 0)
        return arena_strdup(arena, "");
    const long offset = labs(local.tm_gmtoff / 60);
    return arena_printf(arena, "%s.%06d%c%02ld:%02ld", text, (int)(wall_us % 1000000),
                        local.tm_gmtoff < 0 ? '-' : '+', offset / 60, offset % 60);
}
