#include "common/base/base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_of(Arena *arena, const char *bytes, size_t length)
{
    const unsigned char *in = (const unsigned char *)bytes;
    char *out = arena_alloc(arena, (length + 2) / 3 * 4 + 1);
    char *to = out;
    for (size_t i = 0; i < length; i += 3, to += 4) {
        const size_t left = length - i;
        const uint32_t word = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                              (left > 2 ? (uint32_t)in[i + 2] : 0);
        to[0] = alphabet[word >> 18];
        to[1] = alphabet[word >> 12 & 63];
        to[2] = left > 1 ? alphabet[word >> 6 & 63] : '=';
        to[3] = left > 2 ? alphabet[word & 63] : '=';
    }
    return out;
}

bool base64_parse(Arena *arena, const char *text, char **out, size_t *out_length)
{
    const size_t length = strlen(text);
    if (length % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;

    char *bytes = arena_alloc(arena, length / 4 * 3 + 1);
    uint32_t word = 0;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        const char *at = strchr(alphabet, text[i]);
        const bool is_padding = i >= length - padding;
        if (at == NULL && !is_padding)
            return false;
        word = word << 6 | (is_padding ? 0 : (uint32_t)(at - alphabet));
        if (i % 4 != 3)
            continue;
        bytes[used++] = (char)(word >> 16 & 0xFF);
        bytes[used++] = (char)(word >> 8 & 0xFF);
        bytes[used++] = (char)(word & 0xFF);
    }
    used -= padding;
    bytes[used] = '\0';
    *out = bytes;
    *out_length = used;
    return true;
}
