// Cuts a stream into lines, which may arrive in any pieces. A watch sends one JSON document a line
// (Kubernetes API Concepts, "Efficient detection of changes"); inside of JSON, line breaks are
// escaped. Pure.
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define KUBE_LINE_MAX ((size_t)8 * 1024 * 1024)

typedef struct {
    char *data; // heap: the line that has begun
    size_t length, capacity;
} KubeLines;

// text is NUL-terminated and without its line break; false: stop.
typedef bool KubeLine(void *context, const char *text);

// False when on_line asked to stop, a line grew beyond KUBE_LINE_MAX, or holds a NUL. Empty lines
// are left out.
bool kube_lines_take(KubeLines *lines, const char *bytes, size_t length, KubeLine *on_line,
                     void *context);
void kube_lines_done(KubeLines *lines);
