// The ledger on disk: state_dir/ledger.jsonl, two files of 1 MiB. Written by a thread of its own,
// because the state directory may lie on a disk that hangs.
#pragma once
#include "common/base/attributes.h"

typedef struct LedgerFile LedgerFile;

LedgerFile *ledger_file_open(const char *state_dir);
void ledger_file_keep(void *file, const char *line); // copies; drops the line when 256 are waiting
void ledger_file_close(LedgerFile *file);            // waits at most 1 s for what is queued
