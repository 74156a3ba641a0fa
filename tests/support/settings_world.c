#include "tests/support/settings_world.h"

#include "tests/support/test.h"

Arena *arena;
SettingsNotes notes;

int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_CAP_DEFAULT);
    notes = (SettingsNotes){0};
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

const char minimal[] = "scope: demo\n"
                       "name: a\n"
                       "restapi: {listen: '10.0.0.1:8008'}\n"
                       "etcd3: {hosts: '10.0.0.9:2379'}\n"
                       "postgresql:\n"
                       "  listen: '*:5433'\n"
                       "  connect_address: 10.0.0.1:5433\n"
                       "  data_dir: /data/pg\n"
                       "  authentication: {replication: {username: repl}}\n";

const Tree *yaml(const char *text)
{
    const Tree *tree;
    Error err = {0};
    if (text == NULL)
        return NULL;
    if (!tree_parse_yaml(arena, text, "h.yml", &tree, &err))
        fail_msg("%s: %s", text, err.text);
    return tree;
}
