// GET /decisions and GET /why: what was decided, and why (docs/rest.md, "Looking"). Pure.
#pragma once
#include "common/model/snapshot.h"

char *decisions_document(Arena *arena, const Snapshot *snapshot, size_t limit); // oldest first
char *why_document(Arena *arena, const Snapshot *snapshot, Instant now);
