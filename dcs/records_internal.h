// What the files of the records share: reading a raw value without trusting it.
#pragma once
#include "dcs/records.h"

// A store may hold anything under our keys. A JSON value blows up when it becomes a tree (two bytes
// of "0," are a whole node), so all values of one snapshot share a budget of nodes.
typedef struct {
    Arena *arena;
    size_t nodes_left;
} RecordReader;

#define RECORD_NODES_MAX ((size_t)100 * 1000)

// The value as a tree, NULL when it is not JSON (or not text, or too big).
const Tree *record_json(RecordReader *reader, const char *text, size_t length);
bool record_is_text(const char *text, size_t length); // valid UTF-8 without NUL and control codes
Lsn record_lsn(const Tree *value);                    // an int or its decimal text, else LSN_NONE
MemberView record_member(RecordReader *reader, const char *name, const RawKey *raw);
