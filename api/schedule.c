#include "api/schedule.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct {
    int year, month, day, hour, minute, second, micros;
    int zone_minutes; // east of Greenwich
    bool has_zone;
} Parts;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Exactly `digits` digits, and no more.
static bool take_number(const char **s, int digits, int *out)
{
    int value = 0;
    for (int i = 0; i < digits; i++, (*s)++) {
        if (!is_digit(**s))
            return false;
        value = value * 10 + (**s - '0');
    }
    *out = value;
    return !is_digit(**s);
}

static bool take_char(const char **s, const char *any_of)
{
    if (**s == '\0' || strchr(any_of, **s) == NULL)
        return false;
    (*s)++;
    return true;
}

static bool take_fraction(const char **s, int *micros)
{
    int digits = 0;
    for (*micros = 0; is_digit(**s); (*s)++, digits++)
        if (digits < 6)
            *micros = *micros * 10 + (**s - '0');
    for (int i = digits; i < 6; i++)
        *micros *= 10;
    return digits > 0;
}

static bool take_time(const char **s, Parts *p)
{
    if (!take_number(s, 2, &p->hour) || !take_char(s, ":") || !take_number(s, 2, &p->minute))
        return false;
    if (!take_char(s, ":"))
        return true;
    if (!take_number(s, 2, &p->second))
        return false;
    return !take_char(s, ".,") || take_fraction(s, &p->micros);
}

// +HH, +HH:MM, +HHMM
static bool take_offset(const char **s, Parts *p)
{
    const int sign = **s == '-' ? -1 : 1;
    (*s)++;
    int hours, minutes = 0;
    const size_t digits = strspn(*s, "0123456789");
    if (digits == 4) {
        if (!take_number(s, 4, &hours))
            return false;
        minutes = hours % 100;
        hours /= 100;
    } else if (!take_number(s, 2, &hours) || (take_char(s, ":") && !take_number(s, 2, &minutes))) {
        return false;
    }
    p->zone_minutes = sign * (hours * 60 + minutes);
    p->has_zone = true;
    return hours < 24 && minutes < 60;
}

static bool take_zone(const char **s, Parts *p)
{
    static const char *const utc[] = {"Z", "UTC", "GMT"};
    *s += strspn(*s, " ");
    if (**s == '+' || **s == '-')
        return take_offset(s, p);
    for (size_t i = 0; i < sizeof utc / sizeof *utc; i++) {
        if (strcasecmp(*s, utc[i]) == 0) {
            *s += strlen(utc[i]);
            p->has_zone = true;
            return true;
        }
    }
    return true;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool in_range(const Parts *p)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (p->year < 1 || p->month < 1 || p->month > 12 || p->day < 1)
        return false;
    const int last = days[p->month - 1] + (p->month == 2 && is_leap(p->year) ? 1 : 0);
    return p->day <= last && p->hour < 24 && p->minute < 60 && p->second < 60;
}

// Days since 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is
// the last of its year.
static int64_t days_since_epoch(int year, int month, int day)
{
    enum { DAYS_IN_400_YEARS = 146097, EPOCH = 719468 };
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = y / 400, year_of_era = y % 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * DAYS_IN_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
           day_of_year - EPOCH;
}

static void print_iso(const Parts *p, char *to, size_t size)
{
    char fraction[8] = "";
    if (p->micros != 0)
        (void)snprintf(fraction, sizeof fraction, ".%06u", (unsigned)p->micros % 1000000U);
    const unsigned zone = (unsigned)(p->zone_minutes < 0 ? -p->zone_minutes : p->zone_minutes);
    (void)snprintf(to, size, "%04u-%02u-%02uT%02u:%02u:%02u%s%c%02u:%02u",
                   (unsigned)p->year % 10000U, (unsigned)p->month % 100U, (unsigned)p->day % 100U,
                   (unsigned)p->hour % 100U, (unsigned)p->minute % 100U, (unsigned)p->second % 100U,
                   fraction, p->zone_minutes < 0 ? '-' : '+', zone / 60 % 100U, zone % 60);
}

bool schedule_parse(const char *text, Schedule *out)
{
    Parts p = {0};
    const char *s = text + strspn(text, " ");
    if (!take_number(&s, 4, &p.year) || !take_char(&s, "-") || !take_number(&s, 2, &p.month) ||
        !take_char(&s, "-") || !take_number(&s, 2, &p.day))
        return false;
    if (take_char(&s, "Tt ") && *s != '\0' && (!take_time(&s, &p) || !take_zone(&s, &p)))
        return false;
    if (s[strspn(s, " ")] != '\0' || !in_range(&p))
        return false;

    const int64_t seconds = days_since_epoch(p.year, p.month, p.day) * 86400 + p.hour * 3600 +
                            p.minute * 60 + p.second - (int64_t)p.zone_minutes * 60;
    *out = (Schedule){.wall_us = seconds * 1000000 + p.micros, .has_zone = p.has_zone};
    print_iso(&p, out->iso, sizeof out->iso);
    return true;
}
