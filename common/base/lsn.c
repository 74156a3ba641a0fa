#include "common/base/lsn.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

LsnText lsn_format(Lsn lsn)
{
    LsnText out;
    snprintf(out.text, sizeof out.text, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32),
             (uint32_t)lsn);
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

// One to eight hexadecimal digits, as pg_lsn_in() has it; NULL if there are none or too many.
static const char *parse_half(const char *s, uint32_t *out)
{
    uint32_t value = 0;
    int digits = 0;
    for (; hex_digit(*s) >= 0; s++, digits++) {
        if (digits == 8)
            return NULL;
        value = value << 4 | (uint32_t)hex_digit(*s);
    }
    *out = value;
    return digits == 0 ? NULL : s;
}

bool lsn_parse(const char *text, Lsn *out)
{
    uint32_t high, low;
    const char *s = text == NULL ? NULL : parse_half(text, &high);
    if (s == NULL || *s != '/')
        return false;
    s = parse_half(s + 1, &low);
    if (s == NULL || *s != '\0')
        return false;
    *out = (Lsn)high << 32 | low;
    return true;
}
