#include "common/os/log_line.h"

#include "common/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Python's names, which is what log collectors of Patroni clusters look for.
static const char *const level_names[] = {
    [LOG_DEBUG] = "DEBUG", [LOG_INFO] = "INFO", [LOG_WARN] = "WARNING", [LOG_ERROR] = "ERROR"};

static const struct {
    const char *name;
    LogLevel level;
} parsed_names[] = {
    {"NOTSET", LOG_DEBUG}, {"DEBUG", LOG_DEBUG},    {"INFO", LOG_INFO},   {"WARNING", LOG_WARN},
    {"WARN", LOG_WARN},    {"CRITICAL", LOG_ERROR}, {"FATAL", LOG_ERROR}, {"ERROR", LOG_ERROR},
};

bool log_level_parse(const char *text, LogLevel *out)
{
    for (size_t i = 0; i < COUNT_OF(parsed_names); i++) {
        if (str_ieq(text, parsed_names[i].name)) {
            *out = parsed_names[i].level;
            return true;
        }
    }
    return false;
}

// Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 if there is none.
static size_t utf8_length(const unsigned char *s)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    if (s[0] < 0x80)
        return 1;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (s[0] < forms[i].first_low || s[0] > forms[i].first_high)
            continue;
        if (s[1] < forms[i].second_low || s[1] > forms[i].second_high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((s[k] & 0xC0) != 0x80) // the terminating NUL ends up here too
                return 0;
        return forms[i].length;
    }
    return 0;
}

enum { LONGEST_ESCAPE = 6 }; // "\u001f", for one byte

static char *put_escape(char *to, unsigned char c, bool json)
{
    switch (c) {
    case '\n':
        return stpcpy(to, "\\n");
    case '\r':
        return stpcpy(to, "\\r");
    case '\t':
        return stpcpy(to, "\\t");
    case '"':
        return stpcpy(to, "\\\"");
    case '\\':
        return stpcpy(to, "\\\\");
    }
    if (c >= 0x80)
        return stpcpy(to, "\\ufffd"); // a byte that is no text
    return to + sprintf(to, json ? "\\u%04x" : "\\x%02x", c);
}

static bool needs_escape(unsigned char c, bool json)
{
    return c < 0x20 || c == 0x7F || (json && (c == '"' || c == '\\'));
}

static char *put_message(char *to, const char *message, bool json)
{
    size_t length = strlen(message);
    while (length > 0 && message[length - 1] == '\n') // libpq's messages end in one
        length--;

    const unsigned char *s = (const unsigned char *)message;
    const unsigned char *end = s + length;
    while (s < end) {
        const size_t bytes = utf8_length(s);
        if (bytes == 0 || needs_escape(*s, json)) {
            to = put_escape(to, *s++, json);
        } else {
            to = mempcpy(to, s, bytes);
            s += bytes;
        }
    }
    return to;
}

// As Python's asctime: local time, milliseconds after a comma.
static char *put_time(char *to, int64_t wall_us)
{
    const time_t seconds = (time_t)(wall_us / 1000000);
    struct tm local = {0};
    localtime_r(&seconds, &local);
    to += strftime(to, 32, "%Y-%m-%d %H:%M:%S", &local);
    return to + sprintf(to, ",%03d", (int)(wall_us / 1000 % 1000));
}

char *log_line(LogLevel level, bool json, int64_t wall_us, const char *message, size_t *out_length)
{
    enum { FRAME_BYTES = 128 }; // time, level, keys, quotes, newline
    char *line = malloc(strlen(message) * LONGEST_ESCAPE + FRAME_BYTES);
    ASSERT(line != NULL); // out of memory

    char *to = json ? stpcpy(line, "{\"asctime\": \"") : line;
    to = put_time(to, wall_us);
    to = stpcpy(to, json ? "\", \"levelname\": \"" : " ");
    to = stpcpy(to, level_names[level]);
    to = stpcpy(to, json ? "\", \"message\": \"" : ": ");
    to = put_message(to, message, json);
    to = stpcpy(to, json ? "\"}\n" : "\n");
    *out_length = (size_t)(to - line);
    return line;
}
