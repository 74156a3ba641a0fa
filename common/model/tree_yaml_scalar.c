#include "common/model/tree_yaml.h"

#include "common/model/tree_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    YamlPlain plain;
    bool value; // BOOL
} words[] = {
    {"", YAML_PLAIN_NULL, false},      {"~", YAML_PLAIN_NULL, false},
    {"null", YAML_PLAIN_NULL, false},  {"Null", YAML_PLAIN_NULL, false},
    {"NULL", YAML_PLAIN_NULL, false},  {"yes", YAML_PLAIN_BOOL, true},
    {"Yes", YAML_PLAIN_BOOL, true},    {"YES", YAML_PLAIN_BOOL, true},
    {"no", YAML_PLAIN_BOOL, false},    {"No", YAML_PLAIN_BOOL, false},
    {"NO", YAML_PLAIN_BOOL, false},    {"true", YAML_PLAIN_BOOL, true},
    {"True", YAML_PLAIN_BOOL, true},   {"TRUE", YAML_PLAIN_BOOL, true},
    {"false", YAML_PLAIN_BOOL, false}, {"False", YAML_PLAIN_BOOL, false},
    {"FALSE", YAML_PLAIN_BOOL, false}, {"on", YAML_PLAIN_BOOL, true},
    {"On", YAML_PLAIN_BOOL, true},     {"ON", YAML_PLAIN_BOOL, true},
    {"off", YAML_PLAIN_BOOL, false},   {"Off", YAML_PLAIN_BOOL, false},
    {"OFF", YAML_PLAIN_BOOL, false},   {"<<", YAML_PLAIN_MERGE, false},
    {"=", YAML_PLAIN_VALUE, false},
};

// PyYAML's implicit resolvers, in the order in which it tries them.
static const struct {
    YamlPlain plain;
    const char *pattern;
} patterns[YAML_PATTERN_COUNT] = {
    {YAML_PLAIN_REAL, "^([-+]?[0-9][0-9_]*[.][0-9_]*([eE][-+][0-9]+)?"
                      "|[.][0-9][0-9_]*([eE][-+][0-9]+)?"
                      "|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+[.][0-9_]*"
                      "|[-+]?[.](inf|Inf|INF)"
                      "|[.](nan|NaN|NAN))$"},
    {YAML_PLAIN_INT, "^([-+]?0b[0-1_]+"
                     "|[-+]?0[0-7_]+"
                     "|[-+]?(0|[1-9][0-9_]*)"
                     "|[-+]?0x[0-9a-fA-F_]+"
                     "|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$"},
    {YAML_PLAIN_TIMESTAMP, "^([0-9]{4}-[0-9]{2}-[0-9]{2}"
                           "|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}"
                           ":[0-9]{2}:[0-9]{2}([.][0-9]*)?"
                           "([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)$"},
};

void yaml_resolver_init(YamlResolver *resolver)
{
    for (size_t i = 0; i < YAML_PATTERN_COUNT; i++) {
        const int failed =
            regcomp(&resolver->patterns[i], patterns[i].pattern, REG_EXTENDED | REG_NOSUB);
        ASSERT(failed == 0); // the patterns are constants
    }
}

void yaml_resolver_done(YamlResolver *resolver)
{
    for (size_t i = 0; i < YAML_PATTERN_COUNT; i++)
        regfree(&resolver->patterns[i]);
}

YamlPlain yaml_resolve(const YamlResolver *resolver, const char *text)
{
    enum { LONGEST_NUMBER = 200 };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(text, words[i].word) == 0)
            return words[i].plain;
    // All the patterns begin with one of these; a long text is no number anybody wrote.
    if (strchr("+-.0123456789", text[0]) == NULL || strlen(text) > LONGEST_NUMBER)
        return YAML_PLAIN_STRING;
    for (size_t i = 0; i < YAML_PATTERN_COUNT; i++)
        if (regexec(&resolver->patterns[i], text, 0, NULL, 0) == 0)
            return patterns[i].plain;
    return YAML_PLAIN_STRING;
}

// --- numbers

static const char *without(Arena *arena, const char *text, const char *dropped)
{
    Text out = text_new(arena);
    for (; *text != '\0'; text++)
        if (strchr(dropped, *text) == NULL)
            text_add_char(&out, *text);
    return out.data;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - 'A' + 10;
}

static bool digits_value(const char *digits, unsigned base, uint64_t *out)
{
    uint64_t value = 0;
    for (; *digits != '\0'; digits++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit_of(*digits), &value))
            return false;
    *out = value;
    return true;
}

// 12:30:45
static bool sexagesimal_value(const char *text, uint64_t *out)
{
    uint64_t value = 0, part = 0;
    for (;; text++) {
        if (*text != ':' && *text != '\0') {
            if (__builtin_mul_overflow(part, UINT64_C(10), &part) ||
                __builtin_add_overflow(part, (uint64_t)digit_of(*text), &part))
                return false;
            continue;
        }
        if (__builtin_mul_overflow(value, UINT64_C(60), &value) ||
            __builtin_add_overflow(value, part, &value))
            return false;
        if (*text == '\0')
            break;
        part = 0;
    }
    *out = value;
    return true;
}

static bool magnitude_of(const char *digits, uint64_t *out)
{
    if (str_starts(digits, "0b"))
        return digits_value(digits + 2, 2, out);
    if (str_starts(digits, "0x"))
        return digits_value(digits + 2, 16, out);
    if (digits[0] == '0')
        return digits_value(digits, 8, out);
    if (strchr(digits, ':') != NULL)
        return sexagesimal_value(digits, out);
    return digits_value(digits, 10, out);
}

static Tree *construct_int(Arena *arena, const char *text)
{
    const bool negative = text[0] == '-';
    const char *digits = without(arena, text, "_+-");
    uint64_t magnitude;
    if (!magnitude_of(digits, &magnitude))
        // Decimal digits are kept as they are, as for JSON; in other notations nobody means it.
        return strspn(digits, "0123456789") == strlen(digits) && digits[0] != '0'
                   ? tree_real(arena, arena_printf(arena, "%s%s", negative ? "-" : "", digits))
                   : NULL;
    const char *decimal = arena_printf(arena, "%s%" PRIu64, negative ? "-" : "", magnitude);
    int64_t value;
    return parse_int64(decimal, &value) ? tree_int(arena, value) : tree_real(arena, decimal);
}

// 1:30.5
static Tree *construct_sexagesimal_real(Arena *arena, const char *plain)
{
    const bool negative = plain[0] == '-';
    double value = 0;
    const char *at = plain + (negative ? 1 : 0);
    for (;;) {
        char *end;
        value = value * 60 + strtod(at, &end);
        if (*end != ':')
            break;
        at = end + 1;
    }
    char decimal[40];
    tree_format_real(negative ? -value : value, decimal);
    return tree_real(arena, decimal);
}

// The source text, in the one spelling that C, JSON and PostgreSQL read too.
static Tree *construct_real(Arena *arena, const char *text)
{
    const char *plain = without(arena, text, "_");
    if (plain[0] == '+')
        plain++;
    const char *digits = plain + (plain[0] == '-' ? 1 : 0);
    if (digits[0] == '.' && (digits[1] == 'i' || digits[1] == 'I'))
        return tree_real(arena, plain[0] == '-' ? "-.inf" : ".inf");
    if (digits[0] == '.' && (digits[1] == 'n' || digits[1] == 'N'))
        return tree_real(arena, ".nan");
    if (strchr(plain, ':') != NULL)
        return construct_sexagesimal_real(arena, plain);

    const size_t whole = strspn(digits, "0123456789");
    const char *fraction = digits + whole + 1;
    const size_t places = strspn(fraction, "0123456789");
    return tree_real(arena, arena_printf(arena, "%s%.*s.%.*s%s", plain[0] == '-' ? "-" : "",
                                         whole == 0 ? 1 : (int)whole, whole == 0 ? "0" : digits,
                                         places == 0 ? 1 : (int)places,
                                         places == 0 ? "0" : fraction, fraction + places));
}

Tree *yaml_construct(Arena *arena, YamlPlain plain, const char *text)
{
    switch (plain) {
    case YAML_PLAIN_NULL:
        return tree_null(arena);
    case YAML_PLAIN_BOOL:
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (words[i].plain == YAML_PLAIN_BOOL && strcmp(text, words[i].word) == 0)
                return tree_bool(arena, words[i].value);
        return NULL;
    case YAML_PLAIN_INT:
        return construct_int(arena, text);
    case YAML_PLAIN_REAL:
        return construct_real(arena, text);
    case YAML_PLAIN_STRING:
    case YAML_PLAIN_MERGE:
    case YAML_PLAIN_TIMESTAMP:
    case YAML_PLAIN_VALUE:
        break;
    }
    return tree_string(arena, text);
}
