// Inside the settings files: findings, and the check of a document against the table.
#pragma once
#include "common/model/settings.h"
#include "common/model/settings_table.h"

typedef struct {
    Arena *arena;
    SettingsNotes *notes;
    Error *err;         // the first error
    const char *prefix; // put before every path: "bootstrap.dcs."
    bool lenient;       // the store's document: a wrong value is dropped with a warning
    bool failed;
} Findings;

// at says where: its file and line come first. NULL: nowhere in particular.
void finding_error(Findings *findings, const Tree *at, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void finding_warning(Findings *findings, const Tree *at, const char *path, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// The document without what is wrong, misplaced or null; old names replaced, numbers with units
// counted out, texts with commas split: whoever reads it need not check again.
const Tree *settings_check(Findings *findings, const Tree *document, unsigned where);

// "host:port", "[::1]:5432", "::1:5432", "a,b:5432"; fallback_port 0: the port must be there.
bool address_parse(Arena *arena, const char *text, int fallback_port, Address *out);
// "host:port" again, with brackets where they are needed.
const char *address_text(Arena *arena, Address address);

// --- the sections; each reads the checked documents
void settings_postgresql(Findings *findings, const Tree *local, const Tree *dynamic,
                         int server_major, Settings *out);
void settings_etcd(Findings *findings, const Tree *local, bool required, EtcdSettings *out);
// Reads the section if there is one and no section etcd3, which then holds.
void settings_kubernetes(Findings *findings, const Tree *raw, const Tree *local, Settings *out);
const Tree *settings_tags(Findings *findings, const Tree *given); // as published; NULL: none
void settings_timers(Findings *findings, const Tree *dynamic, const Tree *local, bool all_howdah,
                     Settings *out);

// --- reading what was checked
const char *text_at(const Tree *tree, const char *path, const char *fallback);
Secret secret_at(const Tree *tree, const char *path);
bool bool_at(const Tree *tree, const char *path, bool fallback);
int64_t int_at(const Tree *tree, const char *path, int64_t fallback);
StringList texts_at(Arena *arena, const Tree *tree, const char *path);
