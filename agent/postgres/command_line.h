// Argument vectors: the postmaster's, users' commands and option lists.
#pragma once
#include "agent/postgres/conf_text.h"
#include "common/model/server_view.h"

// "a 'b c' d" into words, as Python's shlex.split does. ERR_INVALID: a quote is not closed, or
// empty.
bool shell_split(Arena *arena, const char *command, StringList *out, Error *err) MUST_CHECK;

typedef struct {
    const char *tool;             // for messages
    const char *const *forbidden; // NULL-terminated long options we set ourselves
    bool strict;                  // one bad option is an error; else it is skipped and noted
} OptionRules;

extern const OptionRules initdb_options, basebackup_options, rewind_options;

// Adds the list or map of long options (NULL: none) to argv. What was skipped stands in *notes.
bool options_add(Arena *arena, const OptionRules *rules, const Tree *options, StringList *argv,
                 StringList *notes, Error *err) MUST_CHECK;
bool options_have(const Tree *options, const char *name); // in either form

// A parameter a standby had to take from its control file, because the primary's was larger.
typedef struct {
    const char *name, *control, *wanted;
} RaisedSetting;

typedef struct {
    StringList argv;
    RaisedSetting raised[5];
    size_t raised_count;
} PostmasterCommand;

// control NULL or not known: nothing is raised. It is only looked at for a standby, which cannot
// start with less than its primary had (PostgreSQL docs, "Administrator's Overview" of hot
// standby).
PostmasterCommand postmaster_command(Arena *arena, const ConfInput *input, const char *config_file,
                                     const ControlData *control);

// bin_dir/name, or the name alone where no bin_dir is set.
const char *program_path(Arena *arena, const PostgresSettings *settings, const char *name);
