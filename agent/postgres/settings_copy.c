#include "agent/postgres/settings_copy.h"

#include <stdlib.h>
#include <string.h>

// Every member that is a plain string; the values are replaced by copies in the arena.
static const size_t postgres_strings[] = {
    offsetof(PostgresSettings, listen_port.host),
    offsetof(PostgresSettings, listen_addresses),
    offsetof(PostgresSettings, connect.host),
    offsetof(PostgresSettings, proxy.host),
    offsetof(PostgresSettings, data_dir),
    offsetof(PostgresSettings, config_dir),
    offsetof(PostgresSettings, config_base_name),
    offsetof(PostgresSettings, custom_conf),
    offsetof(PostgresSettings, bin_dir),
    offsetof(PostgresSettings, bin_name_initdb),
    offsetof(PostgresSettings, bin_name_pg_controldata),
    offsetof(PostgresSettings, bin_name_pg_basebackup),
    offsetof(PostgresSettings, bin_name_postgres),
    offsetof(PostgresSettings, bin_name_pg_rewind),
    offsetof(PostgresSettings, bin_name_pg_waldump),
    offsetof(PostgresSettings, database),
    offsetof(PostgresSettings, pgpass),
    offsetof(PostgresSettings, krbsrvname),
};

static const size_t auth_strings[] = {
    offsetof(PgAuth, username),       offsetof(PgAuth, password.hidden),
    offsetof(PgAuth, sslmode),        offsetof(PgAuth, sslcert),
    offsetof(PgAuth, sslkey),         offsetof(PgAuth, sslrootcert),
    offsetof(PgAuth, sslcrl),         offsetof(PgAuth, sslcrldir),
    offsetof(PgAuth, gssencmode),     offsetof(PgAuth, channel_binding),
    offsetof(PgAuth, sslnegotiation), offsetof(PgAuth, sslpassword.hidden),
};

static const size_t howdah_strings[] = {
    offsetof(HowdahSettings, state_dir),
    offsetof(HowdahSettings, run_dir),
    offsetof(HowdahSettings, warden),
    offsetof(HowdahSettings, socket),
};

static void copy_strings(Arena *arena, void *in, const size_t *offsets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *at = (char *)in + offsets[i];
        const char *text;
        memcpy(&text, at, sizeof text);
        text = arena_strdup(arena, text);
        memcpy(at, &text, sizeof text);
    }
}

static const Tree *copy_tree(Arena *arena, const Tree *tree)
{
    return tree == NULL ? NULL : tree_copy(arena, tree);
}

static PostgresSettings copy_postgres(Arena *arena, const PostgresSettings *from)
{
    PostgresSettings to = *from;
    copy_strings(arena, &to, postgres_strings, COUNT_OF(postgres_strings));
    copy_strings(arena, &to.superuser, auth_strings, COUNT_OF(auth_strings));
    copy_strings(arena, &to.replication, auth_strings, COUNT_OF(auth_strings));
    copy_strings(arena, &to.rewind, auth_strings, COUNT_OF(auth_strings));
    to.parameters = copy_tree(arena, from->parameters);
    to.controlled = copy_tree(arena, from->controlled);
    to.recovery_conf = copy_tree(arena, from->recovery_conf);
    to.pg_hba = string_list_copy(arena, &from->pg_hba);
    to.pg_ident = string_list_copy(arena, &from->pg_ident);
    to.basebackup = copy_tree(arena, from->basebackup);
    to.create_replica_methods = string_list_copy(arena, &from->create_replica_methods);
    to.section = copy_tree(arena, from->section);
    return to;
}

static BootstrapSettings copy_bootstrap(Arena *arena, const BootstrapSettings *from)
{
    BootstrapSettings to = {.present = from->present,
                            .dcs = copy_tree(arena, from->dcs),
                            .method = arena_strdup(arena, from->method),
                            .initdb = copy_tree(arena, from->initdb),
                            .pg_hba = string_list_copy(arena, &from->pg_hba),
                            .post_bootstrap = arena_strdup(arena, from->post_bootstrap),
                            .section = copy_tree(arena, from->section)};
    return to;
}

SettingsCopy *settings_copy_new(const Settings *from, const Tree *overlay)
{
    SettingsCopy *copy = calloc(1, sizeof *copy);
    ASSERT(copy != NULL);
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    copy->arena = arena;
    atomic_init(&copy->refs, 1);
    copy->overlay = copy_tree(arena, overlay);
    Settings *to = &copy->settings;
    to->name = arena_strdup(arena, from->name);
    to->scope = arena_strdup(arena, from->scope);
    to->ttl_ms = from->ttl_ms;
    to->loop_wait_ms = from->loop_wait_ms;
    to->retry_timeout_ms = from->retry_timeout_ms;
    to->pause = from->pause;
    to->dynamic = copy_tree(arena, from->dynamic);
    to->tags = from->tags;
    to->tags.replicatefrom = arena_strdup(arena, from->tags.replicatefrom);
    to->postgresql = copy_postgres(arena, &from->postgresql);
    to->bootstrap = copy_bootstrap(arena, &from->bootstrap);
    to->howdah = from->howdah;
    copy_strings(arena, &to->howdah, howdah_strings, COUNT_OF(howdah_strings));
    return copy;
}

SettingsCopy *settings_copy_ref(SettingsCopy *copy)
{
    atomic_fetch_add(&copy->refs, 1);
    return copy;
}

void settings_copy_unref(SettingsCopy *copy)
{
    if (copy == NULL || atomic_fetch_sub(&copy->refs, 1) > 1)
        return;
    arena_free(copy->arena);
    free(copy);
}
