// Reading what settings_check has checked, and addresses.
#include "common/model/settings_check.h"

#include <string.h>

const char *text_at(const Tree *tree, const char *path, const char *fallback)
{
    const Tree *found = tree_path(tree, path);
    return found != NULL && found->kind == TREE_STRING ? found->text : fallback;
}

Secret secret_at(const Tree *tree, const char *path)
{
    return (Secret){.hidden = text_at(tree, path, NULL)};
}

bool bool_at(const Tree *tree, const char *path, bool fallback)
{
    const Tree *found = tree_path(tree, path);
    return found != NULL && found->kind == TREE_BOOL ? found->boolean : fallback;
}

int64_t int_at(const Tree *tree, const char *path, int64_t fallback)
{
    const Tree *found = tree_path(tree, path);
    return found != NULL && found->kind == TREE_INT ? found->integer : fallback;
}

StringList texts_at(Arena *arena, const Tree *tree, const char *path)
{
    StringList list = {0};
    const Tree *found = tree_path(tree, path);
    for (size_t i = 0; found != NULL && i < found->count; i++)
        string_list_add(&list, arena, tree_string_of(found->entries[i].value));
    return list;
}

// [::1] -> ::1, in each item of a list; blanks around items go.
static const char *bare_hosts(Arena *arena, const char *hosts, size_t length)
{
    Text out = text_new(arena);
    for (size_t i = 0; i < length; i++)
        if (strchr("[] \t", hosts[i]) == NULL)
            text_add_char(&out, hosts[i]);
    return out.data;
}

// The port stands behind the last colon, as Patroni has it: "::1:5432" is port 5432 of ::1.
bool address_parse(Arena *arena, const char *text, int fallback_port, Address *out)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    if (colon != NULL && bracket != NULL && bracket > colon)
        colon = NULL; // it is part of [::1]
    size_t length = colon == NULL ? strlen(text) : (size_t)(colon - text);
    int64_t port = fallback_port;
    if (colon != NULL && !parse_int64(colon + 1, &port))
        return false;
    if (port < 1 || port > 65535)
        return false;
    const char *host = bare_hosts(arena, text, length);
    if (host[0] == '\0' || host[0] == ',' || strstr(host, ",,") != NULL || str_ends(host, ","))
        return false;
    *out = (Address){.host = host, .port = (int)port};
    return true;
}

const char *address_text(Arena *arena, Address address)
{
    return strchr(address.host, ':') != NULL
               ? arena_printf(arena, "[%s]:%d", address.host, address.port)
               : arena_printf(arena, "%s:%d", address.host, address.port);
}
