// What pg_controldata prints, read defensively: a line that is missing or that we cannot read
// leaves its field "not known", and nothing is concluded from that.
#pragma once
#include "common/base/error.h"
#include "common/model/server_view.h"

typedef struct {
    ControlData data;
    // The shape of the WAL, for the end of a record and the names of segments.
    uint64_t wal_segment_bytes, wal_block_bytes;
} ControlFile;

// text is the output under LC_ALL=C of PostgreSQL 13 to 18. ERR_INVALID: it names no system
// identifier or no cluster state; *out is then untouched.
bool control_data_parse(const char *text, ControlFile *out, Error *err) MUST_CHECK;

// Where the record of `length` bytes at `start` ends, which is what a timeline history calls the
// switch point when nothing follows it. Records skip the page headers they run into.
// PostgreSQL: XLogReadRecord() in xlogreader.c.
Lsn wal_record_end(Lsn start, uint64_t length, const ControlFile *shape);

typedef struct {
    char text[28]; // "000000010000000000000001"
} WalFileName;

WalFileName wal_file_name(uint32_t timeline, uint64_t segment, uint64_t segment_bytes);
// True for 24 hexadecimal digits and nothing else.
bool wal_file_parse(const char *name, uint64_t segment_bytes, uint32_t *timeline,
                    uint64_t *segment);
