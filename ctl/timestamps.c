#include "ctl/timestamps.h"

#include "common/base/text.h"

#include <string.h>
#include <time.h>

enum { US_PER_S = 1000000, S_PER_MINUTE = 60, DIGITS_OF_US = 6 };

typedef struct {
    struct tm tm;
    int micros;
    bool has_zone;
    long zone_s; // east of Greenwich
} Parts;

static bool take_digits(const char **at, int count, int *out)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        const char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += count;
    *out = value;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static void skip_blanks(const char **at)
{
    while (**at == ' ')
        ++*at;
}

static bool take_date(const char **at, struct tm *tm)
{
    const char *start = *at;
    if (!take_digits(at, 4, &tm->tm_year) || !take_char(at, '-') ||
        !take_digits(at, 2, &tm->tm_mon) || !take_char(at, '-') ||
        !take_digits(at, 2, &tm->tm_mday)) {
        *at = start;
        return false;
    }
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    return true;
}

static void take_fraction(const char **at, int *micros)
{
    int place = 0;
    *micros = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (place++ < DIGITS_OF_US)
            *micros = *micros * 10 + (**at - '0');
    for (; place < DIGITS_OF_US; place++)
        *micros *= 10;
}

static bool take_time(const char **at, Parts *parts)
{
    struct tm *tm = &parts->tm;
    if (!take_digits(at, 2, &tm->tm_hour) || !take_char(at, ':') ||
        !take_digits(at, 2, &tm->tm_min))
        return false;
    if (!take_char(at, ':'))
        return true;
    if (!take_digits(at, 2, &tm->tm_sec))
        return false;
    if (take_char(at, '.') || take_char(at, ','))
        take_fraction(at, &parts->micros);
    return true;
}

static bool take_zone(const char **at, Parts *parts)
{
    skip_blanks(at);
    if (**at == '\0')
        return true;
    parts->has_zone = true;
    if (str_ieq(*at, "z") || str_ieq(*at, "utc") || str_ieq(*at, "gmt")) {
        *at += strlen(*at);
        return true;
    }
    const bool east = take_char(at, '+');
    int hours, minutes = 0;
    if ((!east && !take_char(at, '-')) || !take_digits(at, 2, &hours))
        return false;
    (void)take_char(at, ':'); // +02:00 and +0200 are the same
    if (**at != '\0' && !take_digits(at, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    parts->zone_s = (long)(hours * S_PER_MINUTE + minutes) * S_PER_MINUTE * (east ? 1 : -1);
    return true;
}

static bool in_range(const struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = tm->tm_year + 1900;
    if (tm->tm_mon < 0 || tm->tm_mon > 11 || year < 1970)
        return false;
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int last = days[tm->tm_mon] + (tm->tm_mon == 1 && leap ? 1 : 0);
    return tm->tm_mday >= 1 && tm->tm_mday <= last && tm->tm_hour < 24 && tm->tm_min < 60 &&
           tm->tm_sec < 60;
}

static bool parse_parts(const char *text, int64_t now_us, Parts *parts)
{
    const char *at = text;
    skip_blanks(&at);
    if (take_date(&at, &parts->tm)) {
        if (!take_char(&at, 'T'))
            skip_blanks(&at);
    } else {
        const time_t now = (time_t)(now_us / US_PER_S);
        struct tm today;
        if (localtime_r(&now, &today) == NULL)
            return false;
        parts->tm.tm_year = today.tm_year;
        parts->tm.tm_mon = today.tm_mon;
        parts->tm.tm_mday = today.tm_mday;
        if (*at == '\0')
            return false;
    }
    if (*at != '\0' && !take_time(&at, parts))
        return false;
    if (!take_zone(&at, parts) || *at != '\0')
        return false;
    return in_range(&parts->tm);
}

static const char *iso_of(Arena *arena, const Parts *parts, char between)
{
    const struct tm *tm = &parts->tm;
    Text text = text_new(arena);
    text_addf(&text, "%04d-%02d-%02d%c%02d:%02d:%02d", tm->tm_year + 1900, tm->tm_mon + 1,
              tm->tm_mday, between, tm->tm_hour, tm->tm_min, tm->tm_sec);
    if (parts->micros != 0)
        text_addf(&text, ".%06d", parts->micros);
    const long zone = parts->zone_s < 0 ? -parts->zone_s : parts->zone_s;
    text_addf(&text, "%c%02ld:%02ld", parts->zone_s < 0 ? '-' : '+',
              zone / (S_PER_MINUTE * S_PER_MINUTE), zone / S_PER_MINUTE % S_PER_MINUTE);
    return text.data;
}

bool schedule_parse(Arena *arena, const char *text, int64_t now_us, Schedule *out, Error *err)
{
    if (str_empty(text) || str_ieq(text, "now")) {
        *out = (Schedule){.now = true, .wall_us = now_us};
        return true;
    }
    Parts parts = {0};
    if (!parse_parts(text, now_us, &parts))
        return error_set(err, ERR_INVALID,
                         "Unable to parse scheduled timestamp (%s). It should be in an "
                         "unambiguous format (e.g. ISO 8601)",
                         text);
    struct tm tm = parts.tm;
    int64_t seconds;
    if (parts.has_zone) {
        seconds = (int64_t)timegm(&tm) - parts.zone_s;
    } else {
        tm.tm_isdst = -1;
        seconds = (int64_t)mktime(&tm);
        parts.zone_s = tm.tm_gmtoff;
    }
    *out = (Schedule){.wall_us = seconds * US_PER_S + parts.micros,
                      .iso = iso_of(arena, &parts, 'T'),
                      .shown = iso_of(arena, &parts, ' ')};
    return true;
}

static struct tm local_parts(int64_t wall_us)
{
    const time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm tm = {0};
    (void)localtime_r(&seconds, &tm); // fails for years that no clock of ours shows
    return tm;
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
