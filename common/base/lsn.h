// WAL positions: a byte offset from 0/0, as the PostgreSQL docs have it (pg_lsn).
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef uint64_t Lsn;
#define LSN_NONE ((Lsn)0)

typedef struct {
    char text[24]; // "16/B374D848": upper-case hex, not padded
} LsnText;

LsnText lsn_format(Lsn lsn);
bool lsn_parse(const char *text, Lsn *out); // "HI/LO", the whole string
