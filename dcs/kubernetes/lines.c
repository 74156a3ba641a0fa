#include "dcs/kubernetes/lines.h"

#include "common/base/attributes.h"

#include <stdlib.h>
#include <string.h>

static bool keep(KubeLines *lines, const char *bytes, size_t length)
{
    if (length > KUBE_LINE_MAX - lines->length || memchr(bytes, '\0', length) != NULL)
        return false;
    size_t capacity = lines->capacity == 0 ? 4096 : lines->capacity;
    while (capacity < lines->length + length + 1)
        capacity *= 2;
    if (capacity != lines->capacity) {
        char *data = realloc(lines->data, capacity);
        ASSERT(data != NULL); // out of memory
        lines->data = data;
        lines->capacity = capacity;
    }
    memcpy(lines->data + lines->length, bytes, length);
    lines->length += length;
    lines->data[lines->length] = '\0';
    return true;
}

static bool finish_line(KubeLines *lines, KubeLine *on_line, void *context)
{
    if (lines->length > 0 && lines->data[lines->length - 1] == '\r')
        lines->data[--lines->length] = '\0';
    const bool empty = lines->length == 0;
    lines->length = 0;
    return empty || on_line(context, lines->data);
}

bool kube_lines_take(KubeLines *lines, const char *bytes, size_t length, KubeLine *on_line,
                     void *context)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        const size_t part = end == NULL ? length : (size_t)(end - bytes);
        if (!keep(lines, bytes, part))
            return false;
        if (end == NULL)
            return true;
        if (!finish_line(lines, on_line, context))
            return false;
        bytes += part + 1;
        length -= part + 1;
    }
    return true;
}

void kube_lines_done(KubeLines *lines)
{
    free(lines->data);
    *lines = (KubeLines){0};
}
