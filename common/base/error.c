#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// In parentheses: the functions, not the macros of these names.
//
// Arguments may point into err->text itself, so every text is put together beside it first.
bool(error_set)(Error *err, ErrorKind kind, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    err->kind = kind;
    memcpy(err->text, text, sizeof text);
    return false;
}

// What does not fit is cut at the end, with "..." to show it: the outer steps say where to look.
bool(error_wrap)(Error *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    const int context = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);

    size_t used = context < 0 ? 0 : (size_t)context;
    if (used < sizeof text) {
        const int rest = snprintf(text + used, sizeof text - used, ": %s", err->text);
        used += rest < 0 ? 0 : (size_t)rest;
    }
    if (used >= sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    memcpy(err->text, text, sizeof text);
    return false;
}

const char *error_kind_name(ErrorKind kind)
{
    switch (kind) {
    case ERR_NONE:
        return "none";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_UNCERTAIN:
        return "uncertain";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_INVALID:
        return "invalid";
    }
    return "unknown";
}

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    char text[512];
    const int length =
        snprintf(text, sizeof text, "%s:%d: assertion failed: %s\n", file, line, condition);
    if (length > 0) {
        const size_t bytes = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
        // Nothing can be done about a stderr that does not take it: the core dump says it too.
        const ssize_t written = write(STDERR_FILENO, text, bytes);
        (void)written;
    }
    abort();
}
