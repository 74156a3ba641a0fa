#include "ctl/connect.h"

#include "common/model/io/settings_read.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STORE_CALL_MS = 10000, STORE_TTL_MS = 30000, STORE_LOOP_WAIT_MS = 10000 };

// --- --dcs-url

static const struct {
    const char *scheme, *section; // section NULL: known, but not ours to speak
    const char *port;
} schemes[] = {
    {"zookeeper", NULL, "2181"}, {"exhibitor", NULL, "8181"}, {"consul", NULL, "8500"},
    {"etcd", "etcd3", "2379"},   {"etcd3", "etcd3", "2379"},
};

static bool section_of_scheme(const char *scheme, const char **out, Error *err)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (!str_eq(schemes[i].scheme, scheme))
            continue;
        if (schemes[i].section == NULL)
            break;
        *out = schemes[i].section;
        return true;
    }
    return error_set(err, ERR_INVALID,
                     "--dcs-url: '%s' is no store howdahctl knows; use etcd3://host:port", scheme);
}

bool dcs_url_apply(Arena *arena, const Tree *local, const char *url, const Tree **out, Error *err)
{
    const char *mark = strstr(url, "://");
    const char *section = "etcd3";
    if (mark != NULL &&
        !section_of_scheme(arena_strndup(arena, url, (size_t)(mark - url)), &section, err))
        return false;
    const char *rest = mark != NULL ? mark + 3 : url;
    const size_t length = strcspn(rest, "/");
    const char *host = arena_strndup(arena, rest, length), *path = rest + length;
    const char *bracket = strrchr(host, ']'), *colon = strrchr(host, ':');
    if (colon == NULL || (bracket != NULL && colon < bracket))
        host = arena_printf(arena, "%s:2379", host[0] != '\0' ? host : "localhost");
    else if (colon == host)
        host = arena_printf(arena, "localhost%s", host);

    Tree *changed = local != NULL ? tree_copy(arena, local) : tree_map(arena);
    static const char *const sections[] = {"consul",    "etcd",       "etcd3",
                                           "exhibitor", "kubernetes", "zookeeper"};
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        tree_remove(changed, sections[i]);
    Tree *store = tree_map(arena);
    tree_set(arena, store, "host", tree_string(arena, host));
    tree_set(arena, changed, section, store);
    while (path[0] == '/')
        path++;
    if (path[0] != '\0')
        tree_set(arena, changed, "namespace", tree_string(arena, path));
    *out = changed;
    return true;
}

// --- opening

static bool read_settings(Ctl *ctl, const Args *args, Error *err)
{
    const char *url = str_or(args_text(args, OPT_DCS), getenv("DCS_URL"));
    const SettingsSource source = {.path = args_text(args, OPT_CONFIG), .for_ctl = true};
    const Tree *local;
    SettingsNotes notes = {0};
    if (!settings_read_local(ctl->session, &source, &local, &notes, err))
        return false;
    if (!str_empty(url) && !dcs_url_apply(ctl->session, local, url, &local, err))
        return false;
    if (local == NULL || local->count == 0) // nothing but --api, or nothing at all
        return true;
    if (!settings_build(ctl->session, local, NULL, 0, false, 0, true, &ctl->settings, &notes, err))
        return false;
    ctl->has_settings = true;
    ctl->namespace = tree_get_string(local, "namespace", "service");
    return true;
}

bool ctl_open(Ctl *ctl, const Args *args, Error *err)
{
    ctl->api_url = str_or(args_text(args, OPT_API), getenv("HOWDAHCTL_API"));
    if (str_empty(ctl->api_url))
        ctl->api_url = NULL;
    else if (strstr(ctl->api_url, "://") == NULL)
        ctl->api_url = arena_printf(ctl->session, "http://%s", ctl->api_url);
    if (!read_settings(ctl, args, err))
        return false;

    // With a client certificate `insecure` waives only the host name.
    const CtlSettings *own = &ctl->settings.ctl;
    const bool insecure = own->insecure || args_has(args, OPT_INSECURE);
    const HttpOptions options = {.ca_file = own->cacert,
                                 .cert_file = own->certfile,
                                 .key_file = own->keyfile,
                                 .key_password = secret_reveal(own->keyfile_password),
                                 .skip_verify = insecure && own->certfile == NULL,
                                 .skip_host_check = insecure && own->certfile != NULL};
    ctl->resolver = resolver_new();
    ctl->http = http_new(ctl->resolver, &options);
    return true;
}

void ctl_close(Ctl *ctl)
{
    store_close(&ctl->store);
    http_free(ctl->http);
    if (ctl->resolver != NULL)
        resolver_free(ctl->resolver);
    ctl->http = NULL;
    ctl->resolver = NULL;
}

// "/service/demo"; runs of slashes become one.
static const char *base_path_of(Arena *arena, const char *namespace, const char *scope)
{
    Text path = text_new(arena);
    const char *raw = arena_printf(arena, "/%s/%s", namespace, scope);
    for (const char *c = raw; *c != '\0'; c++)
        if (*c != '/' || c == raw || c[-1] != '/')
            text_add_char(&path, *c);
    return path.data;
}

static bool names_a_store(const Ctl *ctl)
{
    const Settings *s = &ctl->settings;
    if (!ctl->has_settings)
        return false;
    return s->store == STORE_KUBERNETES || s->etcd.endpoints.count > 0 || !str_empty(s->etcd.srv);
}

bool ctl_store(Ctl *ctl, const char *scope, Dcs **out, Error *err)
{
    if (!names_a_store(ctl))
        return error_set(err, ERR_INVALID,
                         "Can not find suitable configuration of distributed configuration store: "
                         "name a settings file with a section etcd3 or kubernetes (-c), a store "
                         "(--dcs-url etcd3://host:port) or a member (--api http://host:8008)");
    if (ctl->store.dcs == NULL || !str_eq(ctl->store_scope, scope)) {
        store_close(&ctl->store);
        const StoreOptions options = {.settings = &ctl->settings,
                                      .scope = scope,
                                      .base_path =
                                          base_path_of(ctl->session, ctl->namespace, scope),
                                      .for_ctl = true,
                                      .ttl_ms = STORE_TTL_MS,
                                      .loop_wait_ms = STORE_LOOP_WAIT_MS,
                                      .retry_timeout_ms = STORE_CALL_MS,
                                      .clock = ctl->clock,
                                      .resolver = ctl->resolver};
        if (!store_open(&options, &ctl->store, err))
            return false;
        ctl->store_scope = arena_strdup(ctl->session, scope);
    }
    *out = ctl->store.dcs;
    return true;
}

Deadline ctl_store_deadline(const Ctl *ctl)
{
    return deadline_in(ctl->clock, STORE_CALL_MS);
}

bool ctl_default_scope(const Ctl *ctl, const char **out, Error *err)
{
    *out = ctl->has_settings && ctl->api_url == NULL ? ctl->settings.scope : NULL;
    if (!str_empty(*out) || ctl->api_url != NULL)
        return true;
    return error_set(
        err, ERR_INVALID,
        "no cluster is named, and the settings have no scope: give the cluster's name");
}

bool ctl_rest_failed(Ctl *ctl)
{
    ctl->rest_failed = true;
    return true;
}

void ctl_sleep(int64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / MS_PER_S),
                            .tv_nsec = (long)(ms % MS_PER_S * NS_PER_MS)};
    while (nanosleep(&left, &left) != 0)
        continue;
}
