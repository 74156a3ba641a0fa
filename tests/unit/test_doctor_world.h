// An installation as one document, in which nothing is wrong; a row of a test changes one thing in
// it and says which line that gives.
#pragma once
#include "ctl/doctor.h"
#include "tests/support/test.h"

extern Arena *world_arena; // reset by world_rows for each row

typedef struct {
    const char *given;
    const char *check; // "topic/name", as in the table of checks
    // Where in the document: "pods/0/metadata/labels/role"; NULL: nowhere. JSON; NULL: removed.
    const char *path, *value;
    Verdict verdict;
    const char *found, *mend;   // parts of them; NULL: whatever they are
    const char *path2, *value2; // a second change
} WorldRow;

// Runs all checks on each row's world, and compares the one that the row names: there must be such
// a line. A row that is ok must have no other line.
void world_rows(const WorldRow *rows, size_t count);
// The names of all checks that the rows of this program have seen with a verdict other than ok.
void world_expect_seen(const char *const *checks, size_t count);

// The healthy world, and what it is as facts.
const Tree *world_document(void);
DoctorFacts world_facts(const Tree *document);
const Tree *world_edit(const Tree *document, const char *path, const char *json);
