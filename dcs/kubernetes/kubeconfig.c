#include "dcs/kubernetes/kubeconfig.h"

#include "common/base/base64.h"
#include "common/model/tree.h"
#include "common/os/files.h"
#include "common/os/http.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024 };

// --- the file

typedef struct {
    Arena *arena;
    const char *path;
    const char *context;
    Error *err;
} Reader;

// The entry of a list like clusters: [{name: x, cluster: {…}}].
static const Tree *named(const Tree *document, const char *list, const char *name, const char *key)
{
    const Tree *entries = tree_get(document, list);
    for (size_t i = 0; entries != NULL && entries->kind == TREE_LIST && i < entries->count; i++) {
        const Tree *entry = entries->entries[i].value;
        const char *text = tree_string_of(tree_get(entry, "name"));
        if (text != NULL && str_eq(text, name))
            return tree_get(entry, key);
    }
    return NULL;
}

static const char *text_of(const Reader *reader, const Tree *map, const char *key)
{
    const char *text = tree_scalar_text(reader->arena, tree_get(map, key));
    const Tree *value = tree_get(map, key);
    return value == NULL || value->kind == TREE_NULL || str_empty(text) ? NULL : text;
}

// Names in the file are relative to its own directory.
static const char *file_of(const Reader *reader, const Tree *map, const char *key)
{
    const char *name = text_of(reader, map, key);
    return name == NULL ? NULL
                        : path_join(reader->arena, path_parent(reader->arena, reader->path), name);
}

static bool decode(Arena *arena, const char *data, const char **out)
{
    Text packed = text_new(arena); // YAML may have folded it
    for (const char *s = data; *s != '\0'; s++)
        if (strchr(" \t\r\n", *s) == NULL)
            text_add_char(&packed, *s);
    char *text = NULL;
    size_t length = 0;
    if (!base64_parse(arena, packed.data, &text, &length) || strlen(text) != length)
        return false;
    *out = text;
    return strstr(text, "-----BEGIN ") != NULL;
}

static bool pem_of(const Reader *reader, const Tree *map, const char *key, const char **out)
{
    const char *data = text_of(reader, map, key);
    *out = NULL;
    if (data == NULL || decode(reader->arena, data, out))
        return true;
    return error_set(reader->err, ERR_INVALID, "%s: context '%s': %s is no base64 of a PEM text",
                     reader->path, reader->context, key);
}

static bool refuse_unknown_ways(const Reader *reader, const Tree *cluster, const Tree *user)
{
    static const struct {
        bool of_user;
        const char *key, *why;
    } refused[] = {
        {true, "exec",
         "credentials from a program (exec) are not supported: use a token, a "
         "tokenFile or a client certificate"},
        {true, "auth-provider",
         "auth-provider plugins are not supported: use a token, a tokenFile "
         "or a client certificate"},
        {true, "as", "impersonation (as) is not supported"},
        {false, "proxy-url", "proxies (proxy-url) are not supported"},
        {false, "tls-server-name",
         "tls-server-name is not supported: the server's certificate has "
         "to bear the name in its URL"},
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        const Tree *value = tree_get(refused[i].of_user ? user : cluster, refused[i].key);
        if (value != NULL && value->kind != TREE_NULL)
            return error_set(reader->err, ERR_INVALID, "%s: context '%s': %s", reader->path,
                             reader->context, refused[i].why);
    }
    return true;
}

static bool read_server(const Reader *reader, const Tree *cluster, KubeConfig *out)
{
    const char *server = text_of(reader, cluster, "server");
    HttpUrl url;
    Error why = {0};
    if (server == NULL || !http_parse_url(reader->arena, server, &url, &why))
        return error_set(reader->err, ERR_INVALID, "%s: context '%s': cluster.server: %s",
                         reader->path, reader->context, server == NULL ? "missing" : why.text);
    char *cut = arena_strdup(reader->arena, server);
    for (size_t length = strlen(cut); length > 0 && cut[length - 1] == '/'; length--)
        cut[length - 1] = '\0';
    out->server = cut;
    return true;
}

static bool read_entries(const Reader *reader, const Tree *cluster, const Tree *user,
                         KubeConfig *out)
{
    KubeConfig config = {
        .ca_file = file_of(reader, cluster, "certificate-authority"),
        .skip_verify = tree_get_bool(cluster, "insecure-skip-tls-verify", false),
        .cert_file = file_of(reader, user, "client-certificate"),
        .key_file = file_of(reader, user, "client-key"),
        .token = text_of(reader, user, "token"),
        .token_file = file_of(reader, user, "tokenFile"),
        .username = text_of(reader, user, "username"),
        .password = text_of(reader, user, "password"),
    };
    if (!refuse_unknown_ways(reader, cluster, user) || !read_server(reader, cluster, &config) ||
        !pem_of(reader, cluster, "certificate-authority-data", &config.ca_pem) ||
        !pem_of(reader, user, "client-certificate-data", &config.cert_pem) ||
        !pem_of(reader, user, "client-key-data", &config.key_pem))
        return false;
    if ((config.cert_file != NULL || config.cert_pem != NULL) !=
        (config.key_file != NULL || config.key_pem != NULL))
        return error_set(reader->err, ERR_INVALID,
                         "%s: context '%s': a client certificate needs both client-certificate and "
                         "client-key",
                         reader->path, reader->context);
    *out = config;
    return true;
}

static bool read_context(Reader *reader, const Tree *document, KubeConfig *out)
{
    if (reader->context == NULL && named(document, "contexts", "kind-kind", "context") != NULL)
        reader->context = "kind-kind";
    if (reader->context == NULL)
        reader->context = text_of(reader, document, "current-context");
    if (reader->context == NULL)
        return error_set(reader->err, ERR_INVALID,
                         "%s: no current-context: name one in kubernetes.context", reader->path);
    const Tree *context = named(document, "contexts", reader->context, "context");
    if (context == NULL)
        return error_set(reader->err, ERR_INVALID, "%s: there is no context '%s'", reader->path,
                         reader->context);
    const char *cluster_name = text_of(reader, context, "cluster");
    const char *user_name = text_of(reader, context, "user");
    const Tree *cluster = named(document, "clusters", cluster_name, "cluster");
    const Tree *user = named(document, "users", user_name, "user");
    if (cluster == NULL)
        return error_set(reader->err, ERR_INVALID, "%s: context '%s': there is no cluster '%s'",
                         reader->path, reader->context, str_or(cluster_name, ""));
    if (user_name != NULL && user == NULL)
        return error_set(reader->err, ERR_INVALID, "%s: context '%s': there is no user '%s'",
                         reader->path, reader->context, user_name);
    return read_entries(reader, cluster, user, out);
}

bool kubeconfig_read(Arena *arena, const char *path, const char *context, KubeConfig *out,
                     Error *err)
{
    Reader reader = {.arena = arena, .path = path, .context = context, .err = err};
    char *text = NULL;
    const Tree *document = NULL;
    if (!file_read(arena, path, FILE_MAX, &text, err)) {
        err->kind = ERR_INVALID;
        return error_wrap(err, "kubeconfig");
    }
    if (text == NULL)
        return error_set(
            err, ERR_INVALID, "%s does not exist%s", path,
            strchr(path, ':') == NULL ? "" : " (several files in KUBECONFIG are not merged)");
    if (!tree_parse_yaml(arena, text, path, &document, err)) {
        err->kind = ERR_INVALID;
        return false;
    }
    if (document == NULL || document->kind != TREE_MAP)
        return error_set(err, ERR_INVALID, "%s: not a kubeconfig file", path);
    return read_context(&reader, document, out);
}

const char *kubeconfig_path(Arena *arena)
{
    const char *given = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (!str_empty(given))
        return arena_strdup(arena, given);
    return str_empty(home) ? NULL : arena_printf(arena, "%s/.kube/config", home);
}
