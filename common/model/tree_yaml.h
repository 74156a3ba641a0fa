// Inside the YAML files: what a plain scalar means in YAML 1.1, as PyYAML's resolver has it.
#pragma once
#include "common/model/tree.h"

#include <regex.h>

typedef enum {
    YAML_PLAIN_STRING,
    YAML_PLAIN_NULL,
    YAML_PLAIN_BOOL,
    YAML_PLAIN_INT,
    YAML_PLAIN_REAL,
    YAML_PLAIN_MERGE,     // <<
    YAML_PLAIN_TIMESTAMP, // stays a string when read, is quoted when written
    YAML_PLAIN_VALUE,     // =, the same
} YamlPlain;

enum { YAML_PATTERN_COUNT = 3 };

typedef struct {
    regex_t patterns[YAML_PATTERN_COUNT];
} YamlResolver;

void yaml_resolver_init(YamlResolver *resolver);
void yaml_resolver_done(YamlResolver *resolver); // for AUTO
YamlPlain yaml_resolve(const YamlResolver *resolver, const char *text);
// The node for a text that resolves to that meaning; NULL: the number cannot be represented.
Tree *yaml_construct(Arena *arena, YamlPlain plain, const char *text);
