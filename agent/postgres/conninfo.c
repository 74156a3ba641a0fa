#include "agent/postgres/conninfo.h"

#include <string.h>

void conn_params_add(ConnParams *params, const char *keyword, const char *value)
{
    if (str_empty(value))
        return;
    ASSERT(params->count < COUNT_OF(params->items));
    params->items[params->count++] = (ConnParam){.keyword = keyword, .value = value};
}

// The first major version whose libpq knows the keyword.
static bool known(const ConnTarget *target, int since)
{
    return target->major == 0 || target->major >= since;
}

static const char *or_default(const ConnTarget *target, const char *value, const char *fallback)
{
    return target->defaults ? str_or(value, fallback) : value;
}

ConnParams conn_params_of(Arena *arena, const ConnTarget *t)
{
    static const PgAuth nobody = {0};
    const PgAuth *auth = t->auth != NULL ? t->auth : &nobody;
    ConnParams p = {0};
    conn_params_add(&p, "dbname", t->dbname);
    conn_params_add(&p, "user", auth->username);
    if (t->passfile != NULL)
        conn_params_add(&p, "passfile", t->passfile);
    else
        conn_params_add(&p, "password", secret_reveal(auth->password));
    conn_params_add(&p, "host", t->host);
    if (t->port > 0)
        conn_params_add(&p, "port", arena_printf(arena, "%d", t->port));
    conn_params_add(&p, "sslmode", or_default(t, auth->sslmode, "prefer"));
    conn_params_add(&p, "sslcert", auth->sslcert);
    conn_params_add(&p, "sslkey", auth->sslkey);
    conn_params_add(&p, "sslpassword", secret_reveal(auth->sslpassword));
    conn_params_add(&p, "sslrootcert", auth->sslrootcert);
    conn_params_add(&p, "sslcrl", auth->sslcrl);
    if (known(t, 14))
        conn_params_add(&p, "sslcrldir", auth->sslcrldir);
    conn_params_add(&p, "application_name", t->application_name);
    conn_params_add(&p, "krbsrvname", t->krbsrvname);
    conn_params_add(&p, "gssencmode", or_default(t, auth->gssencmode, "prefer"));
    conn_params_add(&p, "channel_binding", or_default(t, auth->channel_binding, "prefer"));
    conn_params_add(&p, "target_session_attrs", t->target_session_attrs);
    if (known(t, 17))
        conn_params_add(&p, "sslnegotiation", or_default(t, auth->sslnegotiation, "postgres"));
    return p;
}

char *conn_params_text(Arena *arena, const ConnParams *params)
{
    Text text = text_new(arena);
    for (size_t i = 0; i < params->count; i++) {
        text_addf(&text, "%s%s=", i == 0 ? "" : " ", params->items[i].keyword);
        for (const char *s = params->items[i].value; *s != '\0'; s++) {
            if (*s == '\\' || *s == '\'' || *s == ' ')
                text_add_char(&text, '\\');
            text_add_char(&text, *s);
        }
    }
    return text.data;
}

const char *conn_params_get(const ConnParams *params, const char *keyword)
{
    for (size_t i = 0; i < params->count; i++)
        if (str_eq(params->items[i].keyword, keyword))
            return params->items[i].value;
    return NULL;
}

// The next word of a comma list, trimmed; NULL at its end.
static const char *next_word(Arena *arena, const char **list)
{
    const char *s = *list;
    while (*s == ',' || *s == ' ')
        s++;
    if (*s == '\0')
        return NULL;
    size_t length = strcspn(s, ",");
    *list = s + length;
    while (length > 0 && s[length - 1] == ' ')
        length--;
    return arena_strndup(arena, s, length);
}

static const char *local_tcp_host(Arena *arena, const char *listen)
{
    static const char *const loopback[] = {"*", "localhost", "0.0.0.0", "127.0.0.1"};
    const char *first = NULL;
    for (const char *word; (word = next_word(arena, &listen)) != NULL;) {
        for (size_t i = 0; i < COUNT_OF(loopback); i++)
            if (str_eq(word, loopback[i]))
                return "localhost";
        if (first == NULL)
            first = word;
    }
    return str_or(first, "localhost");
}

const char *local_host(Arena *arena, const PostgresSettings *settings)
{
    if (settings->use_unix_socket) {
        const char *directories =
            tree_get_string(settings->parameters, "unix_socket_directories", NULL);
        if (directories == NULL)
            return NULL;
        for (const char *word; (word = next_word(arena, &directories)) != NULL;)
            if (word[0] == '/')
                return word;
    }
    return local_tcp_host(arena, str_or(settings->listen_addresses, "localhost"));
}

const char *conn_url_database(Arena *arena, const char *url)
{
    const char *rest = url == NULL ? NULL : strstr(url, "://");
    rest = rest == NULL ? NULL : strchr(rest + 3, '/');
    if (rest == NULL)
        return NULL;
    const size_t length = strcspn(rest + 1, "?#");
    return length == 0 ? NULL : arena_strndup(arena, rest + 1, length);
}

static void add_field(Text *text, const char *field)
{
    for (const char *s = str_or(field, "*"); *s != '\0'; s++) {
        if (*s == ':' || *s == '\\')
            text_add_char(text, '\\');
        text_add_char(text, *s);
    }
}

static void add_line(Text *text, const ConnTarget *target, const char *host)
{
    add_field(text, host);
    if (target->port > 0)
        text_addf(text, ":%d:*:", target->port);
    else
        text_add(text, ":*:*:");
    add_field(text, target->auth->username);
    text_add_char(text, ':');
    add_field(text, secret_reveal(target->auth->password));
    text_add_char(text, '\n');
}

char *pgpass_text(Arena *arena, const ConnTarget *target)
{
    Text text = text_new(arena);
    if (str_empty(secret_reveal(target->auth->password)))
        return text.data;
    bool socket = false, localhost = false;
    const char *hosts = str_or(target->host, "/"); // no host is a socket too
    for (const char *host; (host = next_word(arena, &hosts)) != NULL;) {
        socket = socket || host[0] == '/';
        localhost = localhost || str_eq(host, "localhost");
        if (!str_eq(host, "/"))
            add_line(&text, target, host);
    }
    // libpq looks up its default socket directory under the name localhost.
    if (socket && !localhost)
        add_line(&text, target, "localhost");
    return text.data;
}
