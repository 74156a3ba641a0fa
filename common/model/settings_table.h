// The one table of options: it validates, and help, reference and sample file are printed from it.
#pragma once
#include "common/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    OPTION_TEXT,
    OPTION_SECRET, // a text that is never shown
    OPTION_BOOL,
    OPTION_INT,     // a plain integer
    OPTION_SECONDS, // an integer, or a text with a unit of time; counted in seconds
    OPTION_BYTES,   // an integer, or a text with a unit of memory; counted in bytes
    OPTION_ADDRESS, // host:port
    OPTION_LISTEN,  // host,host:port
    OPTION_WORD,    // one of words
    OPTION_TEXTS,   // a list of texts
    OPTION_CSV,     // a list of texts, or one text with commas
    OPTION_MAP,     // keys are the user's own
    OPTION_OPTIONS, // a list or map of command line options
    OPTION_ANY,
} OptionType;

enum {
    LOCAL = 1,   // in the file and the environment
    DYNAMIC = 2, // in the cluster's configuration, and in bootstrap.dcs
    BOTH = LOCAL | DYNAMIC,
};

typedef enum { ON_RELOAD, ON_RESTART, AT_BOOTSTRAP, ON_SERVER_RESTART } Applies;

typedef struct {
    const char *path;
    OptionType type;
    unsigned where;
    Applies applies;
    const char *fallback;      // the default, as it could be written into the file; NULL: none
    const char *prose_default; // or where it comes from
    const char *words;         // OPTION_WORD: separated by blanks
    const char *env;           // without its prefix; NULL: none
    bool bounded;
    bool required;        // of the agent; howdahctl needs none
    int64_t min, max;     // if bounded
    const char *alias_of; // an old name; everything else is then as there
    const char *sample;   // in the sample file; NULL: commented out with its default
    const char *help;
} Option;

extern const Option option_table[];
extern const size_t option_count;

// NULL: not known. path is "restapi.listen"; `etcd` stands for `etcd3`.
const Option *option_find(const char *path);
// Do any options lie below this path? "postgresql.authentication".
bool option_is_section(const char *path);
// The known name most like the last part of path, among its siblings; NULL: nothing is like it.
const char *option_nearest(Arena *arena, const char *path, unsigned where);
const char *option_type_name(OptionType type);
