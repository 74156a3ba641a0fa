#include "agent/postgres/control_data.h"

#include "common/base/text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef enum {
    FIELD_STATE,
    FIELD_IDENTIFIER,
    FIELD_LSN,
    FIELD_TIMELINE,
    FIELD_INT,
    FIELD_ON,
    FIELD_NONZERO,
    FIELD_SIZE
} FieldKind;

typedef struct {
    const char *label;
    FieldKind kind;
    size_t offset; // into ControlFile
} Field;

#define AT(member) offsetof(ControlFile, member)

static const Field fields[] = {
    {"Database system identifier", FIELD_IDENTIFIER, AT(data.system_identifier)},
    {"Database cluster state", FIELD_STATE, AT(data.state)},
    {"Latest checkpoint location", FIELD_LSN, AT(data.checkpoint_lsn)},
    {"Latest checkpoint's REDO location", FIELD_LSN, AT(data.redo_lsn)},
    {"Latest checkpoint's TimeLineID", FIELD_TIMELINE, AT(data.timeline)},
    {"Minimum recovery ending location", FIELD_LSN, AT(data.min_recovery_lsn)},
    {"Min recovery ending loc's timeline", FIELD_TIMELINE, AT(data.min_recovery_timeline)},
    {"wal_log_hints setting", FIELD_ON, AT(data.wal_log_hints)},
    {"Data page checksum version", FIELD_NONZERO, AT(data.checksums)},
    {"max_connections setting", FIELD_INT, AT(data.max_connections)},
    {"max_worker_processes setting", FIELD_INT, AT(data.max_worker_processes)},
    {"max_wal_senders setting", FIELD_INT, AT(data.max_wal_senders)},
    {"max_prepared_xacts setting", FIELD_INT, AT(data.max_prepared_transactions)},
    {"max_locks_per_xact setting", FIELD_INT, AT(data.max_locks_per_transaction)},
    {"WAL block size", FIELD_SIZE, AT(wal_block_bytes)},
    {"Bytes per WAL segment", FIELD_SIZE, AT(wal_segment_bytes)},
};

static ControlState parse_state(const char *text)
{
    for (ControlState s = CONTROL_STARTING_UP; s <= CONTROL_IN_PRODUCTION; s++)
        if (str_eq(text, control_state_name(s)))
            return s;
    return CONTROL_UNKNOWN;
}

static bool all_digits(const char *text)
{
    uint64_t ignored;
    return parse_uint64(text, &ignored);
}

// A value we cannot read is skipped: the field keeps its zero, which means "not known".
static void store(const Field *field, const char *value, ControlFile *out)
{
    void *at = (char *)out + field->offset;
    uint64_t number = 0;
    switch (field->kind) {
    case FIELD_STATE:
        *(ControlState *)at = parse_state(value);
        return;
    case FIELD_IDENTIFIER:
        if (all_digits(value))
            (void)copy_text(at, sizeof out->data.system_identifier, value); // 20 digits at most
        return;
    case FIELD_LSN:
        (void)lsn_parse(value, at); // untouched when it does not parse
        return;
    case FIELD_TIMELINE:
        if (parse_uint64(value, &number) && number <= UINT32_MAX)
            *(uint32_t *)at = (uint32_t)number;
        return;
    case FIELD_INT:
        if (parse_uint64(value, &number) && number <= INT32_MAX)
            *(int *)at = (int)number;
        return;
    case FIELD_ON:
        *(bool *)at = str_eq(value, "on");
        return;
    case FIELD_NONZERO:
        *(bool *)at = parse_uint64(value, &number) && number != 0;
        return;
    case FIELD_SIZE:
        if (parse_uint64(value, &number))
            *(uint64_t *)at = number;
        return;
    }
}

static void parse_line(const char *line, size_t length, ControlFile *out)
{
    char copy[256];
    if (length >= sizeof copy)
        return;
    memcpy(copy, line, length);
    copy[length] = '\0';
    if (length > 0 && copy[length - 1] == '\r')
        copy[length - 1] = '\0';

    char *colon = strchr(copy, ':'); // no label has one
    if (colon == NULL)
        return;
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (str_eq(fields[i].label, copy))
            store(&fields[i], value, out);
}

bool control_data_parse(const char *text, ControlFile *out, Error *err)
{
    ControlFile parsed = {0};
    for (const char *line = text; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        parse_line(line, length, &parsed);
        line += length + (line[length] == '\n' ? 1 : 0);
    }
    if (parsed.data.system_identifier[0] == '\0')
        return error_set(err, ERR_INVALID, "pg_controldata printed no system identifier");
    if (parsed.data.state == CONTROL_UNKNOWN)
        return error_set(err, ERR_INVALID, "pg_controldata printed no cluster state that we know");
    parsed.data.known = true;
    *out = parsed;
    return true;
}

enum {
    LONG_HEADER = 40,
    SHORT_HEADER = 24,
    ALIGNMENT = 8
}; // SizeOfXLogLongPHD, SizeOfXLogShortPHD

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

Lsn wal_record_end(Lsn start, uint64_t length, const ControlFile *shape)
{
    const uint64_t page = shape->wal_block_bytes ? shape->wal_block_bytes : 8192;
    const uint64_t segment = shape->wal_segment_bytes ? shape->wal_segment_bytes : 16777216;
    uint64_t room = page - start % page;
    if (length <= room)
        return start + aligned(length); // a page is a multiple of the alignment

    uint64_t rest = length - room;
    Lsn at = start + room;
    for (;;) {
        const uint64_t header = at % segment == 0 ? LONG_HEADER : SHORT_HEADER;
        room = page - header;
        if (rest <= room)
            return at + header + aligned(rest);
        rest -= room;
        at += page;
    }
}

WalFileName wal_file_name(uint32_t timeline, uint64_t segment, uint64_t segment_bytes)
{
    const uint64_t per_log = (UINT64_C(1) << 32) / segment_bytes;
    WalFileName name;
    snprintf(name.text, sizeof name.text, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, timeline,
             (uint32_t)(segment / per_log), (uint32_t)(segment % per_log));
    return name;
}

static bool parse_hex8(const char *s, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        const char c = s[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            value = value << 4 | (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

bool wal_file_parse(const char *name, uint64_t segment_bytes, uint32_t *timeline, uint64_t *segment)
{
    uint32_t tli, log, seg;
    if (strlen(name) != 24 || !parse_hex8(name, &tli) || !parse_hex8(name + 8, &log) ||
        !parse_hex8(name + 16, &seg))
        return false;
    const uint64_t per_log = (UINT64_C(1) << 32) / segment_bytes;
    *timeline = tli;
    *segment = log * per_log + seg;
    return true;
}
