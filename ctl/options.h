// The command line: a table of commands, each with a table of options. Usage, --help and the checks
// come from the tables; wording and exit status 2 are those of patronictl.
#pragma once
#include "common/base/error.h"
#include "common/base/text.h"

typedef struct Ctl Ctl;
typedef struct Args Args;
typedef bool CommandRun(Ctl *ctl, const Args *args, Error *err);

typedef enum {
    // global: before or after the command
    OPT_CONFIG,
    OPT_DCS,
    OPT_API,
    OPT_INSECURE,
    OPT_HELP,
    OPT_VERSION,
    // of commands
    OPT_ANY,
    OPT_APPLY,
    OPT_CANDIDATE,
    OPT_COMMAND,
    OPT_DBNAME,
    OPT_DELIMITER,
    OPT_EXTENDED,
    OPT_FILE,
    OPT_FORCE,
    OPT_FORMAT,
    OPT_FROM_LEADER,
    OPT_HOST,
    OPT_LEADER,
    OPT_MEMBER,
    OPT_NUMBER,
    OPT_PASSWORD,
    OPT_PENDING,
    OPT_PG,
    OPT_PG_VERSION,
    OPT_PORT,
    OPT_QUIET,
    OPT_REPLACE,
    OPT_RESTORE_COMMAND,
    OPT_ROLE,
    OPT_SCHEDULED,
    OPT_SET,
    OPT_SLOT,
    OPT_TIMEOUT,
    OPT_TIMESTAMP,
    OPT_USERNAME,
    OPT_WAIT,
    OPT_WATCH,
    OPT_WATCH_2S,
    OPT_COUNT,
} OptionId;

typedef enum {
    OPTION_END, // ends a table
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_LIST, // may be repeated
    OPTION_INTEGER,
    OPTION_FLOAT,
    OPTION_CHOICE,
    OPTION_FILE, // must exist and be readable; "-" is standard input
} OptionKind;

typedef struct {
    OptionKind kind;
    OptionId id;
    const char *names[3];       // "-f", "--format"
    const char *const *choices; // of OPTION_CHOICE, NULL-terminated
    const char *help;
} Option;

typedef struct Command Command;

typedef struct {
    bool given;
    const char *text; // the last one
    StringList all;   // of OPTION_LIST
    double number;    // of OPTION_FLOAT and OPTION_INTEGER
} OptionValue;

struct Args {
    const Command *command; // NULL: none was named
    OptionValue values[OPT_COUNT];
    StringList words;   // the positional arguments, without action
    const char *action; // flush's last argument
};

typedef struct {
    const char *name; // "CLUSTER_NAME"
    enum { WORD_NONE, WORD_REQUIRED, WORD_OPTIONAL, WORD_ANY_NUMBER, WORD_ACTION } kind;
} Word;

struct Command {
    const char *name;
    const char *summary;
    Word words[3];
    const char *const *actions; // of WORD_ACTION
    const Option *options;      // ended by OPTION_END; NULL: none
    CommandRun *run;
    int error_status; // exit status of an error; 0: 1, as of all but one
};

typedef struct {
    const char *program;
    const char *summary;
    const Option *globals;
    const Command *commands;
    size_t command_count;
} CommandLine;

// argv[0] is skipped. False: *out_problem is the usage message for standard error; exit 2.
bool options_parse(const CommandLine *line, Arena *arena, int argc, char *const argv[], Args *out,
                   const char **out_problem);
// --help of the program (command NULL) or of a command.
char *options_help(const CommandLine *line, Arena *arena, const Command *command);

static inline bool args_has(const Args *args, OptionId id)
{
    return args->values[id].given;
}
// NULL: not given.
static inline const char *args_text(const Args *args, OptionId id)
{
    return args->values[id].text;
}
// The n-th positional argument, NULL if there are fewer.
static inline const char *args_word(const Args *args, size_t n)
{
    return n < args->words.count ? args->words.items[n] : NULL;
}
