#include "ctl/timestamps.h"

#include "common/base/text.h"
#include "common/base/timestamp.h"

#include <time.h>

enum { US_PER_S = 1000000 };

static struct tm local_parts(int64_t wall_us)
{
    const time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm tm = {0};
    (void)localtime_r(&seconds, &tm); // fails for years that no clock of ours shows
    return tm;
}

static Timestamp from_local(const struct tm *tm, int micros)
{
    return (Timestamp){.year = tm->tm_year + 1900,
                       .month = tm->tm_mon + 1,
                       .day = tm->tm_mday,
                       .hour = tm->tm_hour,
                       .minute = tm->tm_min,
                       .second = tm->tm_sec,
                       .micros = micros,
                       .zone_minutes = (int)(tm->tm_gmtoff / 60),
                       .has_zone = true};
}

// The local zone's, for that day. A time that the change to summer time leaves out becomes the one
// an hour beside it.
static Timestamp in_local_zone(const Timestamp *t)
{
    struct tm tm = {.tm_year = t->year - 1900,
                    .tm_mon = t->month - 1,
                    .tm_mday = t->day,
                    .tm_hour = t->hour,
                    .tm_min = t->minute,
                    .tm_sec = t->second,
                    .tm_isdst = -1};
    (void)mktime(&tm); // for its fields
    return from_local(&tm, t->micros);
}

bool schedule_parse(Arena *arena, const char *text, int64_t now_us, Schedule *out, Error *err)
{
    if (str_empty(text) || str_ieq(text, "now")) {
        *out = (Schedule){.now = true, .wall_us = now_us};
        return true;
    }
    const struct tm now = local_parts(now_us);
    const Timestamp today = from_local(&now, 0);
    Timestamp t;
    if (!timestamp_parse(text, &today, &t))
        return error_set(err, ERR_INVALID,
                         "Unable to parse scheduled timestamp (%s). It should be in an "
                         "unambiguous format (e.g. ISO 8601)",
                         text);
    if (!t.has_zone)
        t = in_local_zone(&t);
    *out = (Schedule){.wall_us = timestamp_us(&t),
                      .iso = arena_strdup(arena, timestamp_format(&t, 'T').text),
                      .shown = arena_strdup(arena, timestamp_format(&t, ' ').text)};
    return true;
}

const char *time_in_seconds(Arena *arena, int64_t wall_us)
{
    const struct tm tm = local_parts(wall_us);
    return arena_printf(arena, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

const char *time_in_minutes(Arena *arena, int64_t wall_us)
{
    const struct tm tm = local_parts(wall_us);
    return arena_printf(arena, "%04d-%02d-%02dT%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min);
}

const char *time_with_fraction(Arena *arena, int64_t wall_us)
{
    return arena_printf(arena, "%s.%05d", time_in_seconds(arena, wall_us),
                        (int)(wall_us % US_PER_S / 10));
}
