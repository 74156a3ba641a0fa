// The text of the configuration files, pure. The same input gives the same bytes: sorted names, one
// order of keywords, so that an unchanged setting never looks like a change.
#pragma once
#include "common/model/settings.h"

// Whom a standby's file follows, and where that member was to be found.
typedef struct {
    const char *member; // NULL: nobody
    const char *host;   // NULL: not known
    int port;
} ConfUpstream;

typedef struct {
    const PostgresSettings *settings;
    const char *scope;   // cluster_name
    const Tree *overlay; // parameters the agent sets itself (synchronous_standby_names); NULL: none
    bool standby;        // write the recovery settings
    const char *primary_conninfo; // "": follow nobody
    const char *slot;             // primary_slot_name; NULL: none
    ConfUpstream upstream;        // noted in comments
    // Instead of the above: the recovery block of the file as it stands. NULL: not so.
    const char *recovery_block;
    // Recovery to a target after a custom bootstrap: its own settings, and nothing of ours.
    const Tree *recovery_only;
    bool own_hba_file; // write hba_file even where the user has set it
} ConfInput;

char *conf_postgresql(Arena *arena, const ConfInput *input);

// Whether it may stand in front of a "=": anything else could carry lines of its own into the file.
bool conf_name_is_valid(const char *name);
bool conf_is_recovery_setting(const char *name);   // any case
char *conf_quote(Arena *arena, const char *value); // 'it''s'

// Everything after the line "# recovery.conf" of a file we wrote; NULL: it has none.
const char *conf_recovery_block(const char *file);
ConfUpstream conf_upstream_of(Arena *arena, const char *file);

// postgresql.auto.conf without the lines that set recovery settings: ALTER SYSTEM must not overrule
// whom we follow.
char *conf_auto_sanitized(Arena *arena, const char *file);

char *conf_lines(Arena *arena, const StringList *lines); // pg_hba.conf, pg_ident.conf

// The value wanted for a parameter, as text: overlay, then controlled, then parameters; the ones
// that have fields of their own (port) last. NULL: not set.
const char *conf_parameter(Arena *arena, const ConfInput *input, const char *name);

typedef struct {
    const char *name, *value;
} ConfSetting;

// All of them, sorted by name, recovery settings left out.
ConfSetting *conf_settings(Arena *arena, const ConfInput *input, size_t *out_count);
