#include "common/model/units.h"

#include "common/base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool parse_bool_word(const char *text, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"on", true},   {"true", true},   {"yes", true}, {"1", true},
                 {"off", false}, {"false", false}, {"no", false}, {"0", false}};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_ieq(text, words[i].word)) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

// Each unit in the smallest of its family, and the next smaller one, which it rounds to.
static const struct {
    const char *name;
    bool time;
    double size;
    double rounds_to; // 0: nothing smaller
} units[] = {
    {"B", false, 1, 0},
    {"kB", false, 1024, 1},
    {"MB", false, 1048576, 1024},
    {"GB", false, 1073741824, 1048576},
    {"TB", false, 1099511627776, 1073741824},
    {"us", true, 1, 0},
    {"ms", true, 1e3, 1},
    {"s", true, 1e6, 1e3},
    {"min", true, 6e7, 1e6},
    {"h", true, 3.6e9, 6e7},
    {"d", true, 8.64e10, 3.6e9},
};

static size_t find_unit(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (strcmp(name, units[i].name) == 0)
            return i;
    return COUNT_OF(units);
}

// "8kB" counts in eights of a kB.
static bool convert(double value, const char *unit, const char *base_unit, double *out)
{
    char *base_name;
    const long given = strtol(base_unit, &base_name, 10);
    const double multiplier = base_name == base_unit ? 1 : (double)given;
    const size_t from = find_unit(unit), to = find_unit(base_name);
    if (from == COUNT_OF(units) || to == COUNT_OF(units) || units[from].time != units[to].time)
        return false;
    value *= units[from].size / units[to].size / multiplier;
    if (units[from].rounds_to > 0) {
        const double step = units[from].rounds_to / units[to].size;
        value = rint(value / step) * step;
    }
    *out = value;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *s)
{
    while (is_blank(*s))
        s++;
    return s;
}

static bool apply_unit(double value, const char *rest, const char *base_unit, double *out)
{
    char unit[8];
    rest = skip_blanks(rest);
    size_t length = strlen(rest);
    while (length > 0 && is_blank(rest[length - 1]))
        length--;
    if (length == 0) {
        *out = value;
        return isfinite(value);
    }
    if (base_unit == NULL || length >= sizeof unit)
        return false;
    memcpy(unit, rest, length);
    unit[length] = '\0';
    return convert(value, unit, base_unit, out) && isfinite(*out);
}

// strtod accepts more than C's plain decimals: no hexadecimal floats, no "inf", no "nan".
static bool take_decimal(const char *s, double *value, const char **rest)
{
    const char *digits = s + (*s == '-' || *s == '+' ? 1 : 0);
    if (strchr("0123456789.", *digits) == NULL || *digits == '\0' || digits[1] == 'x' ||
        digits[1] == 'X')
        return false;
    char *end;
    *value = strtod(s, &end);
    *rest = end;
    return end != s;
}

bool parse_real_with_unit(const char *text, const char *base_unit, double *out)
{
    double value;
    const char *rest;
    return text != NULL && take_decimal(skip_blanks(text), &value, &rest) &&
           apply_unit(value, rest, base_unit, out);
}

static bool take_integer(const char *s, double *value, const char **rest)
{
    const char *digits = s + (*s == '-' || *s == '+' ? 1 : 0);
    if (*digits < '0' || *digits > '9')
        return false;
    char *end;
    *value = (double)strtoll(s, &end, 0); // base 0: 0x…, 0…, decimal, as C and Patroni read it
    *rest = end;
    return *end != '.' && *end != 'e' && *end != 'E';
}

bool parse_int_with_unit(const char *text, const char *base_unit, int64_t *out)
{
    if (text == NULL)
        return false;
    const char *start = skip_blanks(text), *rest;
    if (parse_int64(start, out) && (*start != '0' || start[1] == '\0') &&
        strncmp(start, "-0", 2) != 0)
        return true; // exact, where a double would lose digits
    double value;
    if (!take_integer(start, &value, &rest) && !take_decimal(start, &value, &rest))
        return false;
    if (!apply_unit(value, rest, base_unit, &value))
        return false;
    value = rint(value); // half to even, the default rounding mode
    if (!(value > -9.2e18 && value < 9.2e18))
        return false;
    *out = (int64_t)value;
    return true;
}
