#include "common/base/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { US_PER_S = 1000000, DIGITS_OF_US = 6, MINUTES_PER_DAY = 24 * 60 };

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " ");
}

static bool take_char(const char **at, const char *any_of)
{
    if (**at == '\0' || strchr(any_of, **at) == NULL)
        return false;
    ++*at;
    return true;
}

static size_t count_digits(const char *at)
{
    return strspn(at, "0123456789");
}

// Exactly `digits` digits, and no more.
static bool take_number(const char **at, size_t digits, int *out)
{
    int value = 0;
    if (count_digits(*at) != digits)
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (*(*at)++ - '0');
    *out = value;
    return true;
}

// Any number of digits; those beyond microseconds are cut off.
static bool take_fraction(const char **at, int *micros)
{
    const size_t digits = count_digits(*at);
    for (size_t i = 0; i < DIGITS_OF_US; i++)
        *micros = *micros * 10 + (i < digits ? (*at)[i] - '0' : 0);
    *at += digits;
    return digits > 0;
}

static bool take_date(const char **at, Timestamp *t)
{
    return take_number(at, 4, &t->year) && take_char(at, "-") && take_number(at, 2, &t->month) &&
           take_char(at, "-") && take_number(at, 2, &t->day);
}

static bool take_time(const char **at, Timestamp *t)
{
    if (!take_number(at, 2, &t->hour) || !take_char(at, ":") || !take_number(at, 2, &t->minute))
        return false;
    if (!take_char(at, ":"))
        return true;
    return take_number(at, 2, &t->second) &&
           (!take_char(at, ".,") || take_fraction(at, &t->micros));
}

static bool take_offset(const char **at, Timestamp *t)
{
    const int sign = **at == '-' ? -1 : 1;
    int hours = 0, minutes = 0;
    ++*at;
    if (count_digits(*at) == 4) { // +HHMM
        if (!take_number(at, 4, &hours))
            return false;
        minutes = hours % 100;
        hours /= 100;
    } else if (!take_number(at, 2, &hours) ||
               (take_char(at, ":") && !take_number(at, 2, &minutes))) {
        return false;
    }
    t->zone_minutes = sign * (hours * 60 + minutes);
    t->has_zone = true;
    return hours < 24 && minutes < 60;
}

static bool take_zone(const char **at, Timestamp *t)
{
    static const char *const utc[] = {"Z", "UTC", "GMT"};
    if (**at == '+' || **at == '-')
        return take_offset(at, t);
    const size_t letters = strcspn(*at, " ");
    for (size_t i = 0; i < COUNT_OF(utc); i++) {
        if (letters == strlen(utc[i]) && strncasecmp(*at, utc[i], letters) == 0) {
            *at += letters;
            t->has_zone = true;
            return true;
        }
    }
    return letters == 0; // none
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool in_range(const Timestamp *t)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (t->year < 1 || t->month < 1 || t->month > 12 || t->day < 1)
        return false;
    const int last = days[t->month - 1] + (t->month == 2 && is_leap(t->year) ? 1 : 0);
    return t->day <= last && t->hour < 24 && t->minute < 60 && t->second < 60;
}

static bool take_day_and_time(const char **at, const Timestamp *today, Timestamp *t)
{
    if (today != NULL && count_digits(*at) == 2) {
        t->year = today->year;
        t->month = today->month;
        t->day = today->day;
        return take_time(at, t);
    }
    if (!take_date(at, t))
        return false;
    if (take_char(at, "Tt"))
        return take_time(at, t);
    const bool parted = **at == ' ';
    skip_blanks(at);
    return **at == '\0' || (parted && take_time(at, t));
}

bool timestamp_parse(const char *text, const Timestamp *today, Timestamp *out)
{
    Timestamp t = {0};
    const char *at = text;
    if (text == NULL)
        return false;
    skip_blanks(&at);
    if (!take_day_and_time(&at, today, &t))
        return false;
    skip_blanks(&at);
    if (!take_zone(&at, &t))
        return false;
    skip_blanks(&at);
    if (*at != '\0' || !in_range(&t))
        return false;
    *out = t;
    return true;
}

// Days since 1970-01-01. Years begin in March here, so that the leap day is the last of its year.
static int64_t days_since_epoch(int year, int month, int day)
{
    enum { DAYS_IN_400_YEARS = 146097, EPOCH = 719468 };
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = y / 400, year_of_era = y % 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * DAYS_IN_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
           day_of_year - EPOCH;
}

int64_t timestamp_us(const Timestamp *t)
{
    const int64_t days = days_since_epoch(t->year, t->month, t->day);
    const int64_t minutes = days * MINUTES_PER_DAY + t->hour * 60 + t->minute - t->zone_minutes;
    return (minutes * 60 + t->second) * US_PER_S + t->micros;
}

TimestampText timestamp_format(const Timestamp *t, char between)
{
    TimestampText out;
    char fraction[16] = "", zone[16] = "";
    const int offset = t->zone_minutes < 0 ? -t->zone_minutes : t->zone_minutes;
    if (t->micros != 0)
        (void)snprintf(fraction, sizeof fraction, ".%06d", t->micros);
    if (t->has_zone)
        (void)snprintf(zone, sizeof zone, "%c%02d:%02d", t->zone_minutes < 0 ? '-' : '+',
                       offset / 60 % 24, offset % 60);
    (void)snprintf(out.text, sizeof out.text, "%04d-%02d-%02d%c%02d:%02d:%02d%s%s", t->year,
                   t->month, t->day, between, t->hour, t->minute, t->second, fraction, zone);
    return out;
}
