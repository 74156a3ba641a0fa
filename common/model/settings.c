#include "common/model/settings.h"

#include "common/model/settings_check.h"

#include <inttypes.h>
#include <string.h>

// --- places

const char *settings_base_path(Arena *arena, const char *name_space, const char *scope)
{
    const char *raw = arena_printf(arena, "/%s/%s", name_space, scope);
    Text path = text_new(arena);
    for (const char *s = raw; *s != '\0'; s++)
        if (*s != '/' || (s[1] != '/' && s[1] != '\0'))
            text_add_char(&path, *s);
    return path.data;
}

static const char *without_trailing_slashes(Arena *arena, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return arena_strndup(arena, path, length);
}

// FNV-1a: two data directories must not share a socket by accident; nobody attacks it.
static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static void read_howdah(Arena *arena, const Tree *local, Settings *out)
{
    HowdahSettings *howdah = &out->howdah;
    howdah->run_dir = text_at(local, "howdah.run_dir", NULL);
    howdah->warden = text_at(local, "howdah.warden", NULL);
    const char *data_dir = out->postgresql.data_dir;
    if (data_dir == NULL)
        return;
    data_dir = without_trailing_slashes(arena, data_dir);
    const char *slash = strrchr(data_dir, '/');
    const char *name = slash == NULL ? data_dir : slash + 1;
    howdah->state_dir =
        text_at(local, "howdah.state_dir",
                arena_printf(arena, "%.*s.howdah-%s", (int)(name - data_dir), data_dir, name));
    howdah->socket = text_at(local, "howdah.socket",
                             arena_printf(arena, "w-%016" PRIx64 ".sock", hash_of(data_dir)));
    if (out->postgresql.pgpass == NULL)
        out->postgresql.pgpass = arena_printf(arena, "%s/pgpass", howdah->state_dir);
}

// --- sections

static void check_pair(Findings *findings, const Tree *local, const char *section)
{
    const Tree *pair = tree_path(local, section);
    if (pair == NULL)
        return;
    if (tree_get(pair, "username") == NULL || tree_get(pair, "password") == NULL)
        finding_error(findings, pair, section, "both username and password are needed");
}

static bool is_wildcard(const char *host)
{
    return str_eq(host, "*") || str_eq(host, "0.0.0.0") || str_eq(host, "::");
}

static void read_restapi(Findings *findings, const Tree *local, bool for_ctl, RestSettings *out)
{
    Arena *arena = findings->arena;
    const char *verify = text_at(local, "restapi.verify_client", "none");
    *out = (RestSettings){
        .username = text_at(local, "restapi.authentication.username", NULL),
        .password = secret_at(local, "restapi.authentication.password"),
        .certfile = text_at(local, "restapi.certfile", NULL),
        .keyfile = text_at(local, "restapi.keyfile", NULL),
        .cafile = text_at(local, "restapi.cafile", NULL),
        .ciphers = text_at(local, "restapi.ciphers", NULL),
        .keyfile_password = secret_at(local, "restapi.keyfile_password"),
        .verify_client = str_eq(verify, "required")   ? VERIFY_CLIENT_REQUIRED
                         : str_eq(verify, "optional") ? VERIFY_CLIENT_OPTIONAL
                                                      : VERIFY_CLIENT_NONE,
        .allowlist = texts_at(arena, local, "restapi.allowlist"),
        .allowlist_include_members = bool_at(local, "restapi.allowlist_include_members", false),
        .http_extra_headers = tree_path(local, "restapi.http_extra_headers"),
        .https_extra_headers = tree_path(local, "restapi.https_extra_headers"),
    };
    check_pair(findings, local, "restapi.authentication");
    const char *listen = text_at(local, "restapi.listen", NULL);
    const char *connect = text_at(local, "restapi.connect_address", listen);
    if (listen == NULL || !address_parse(arena, listen, 0, &out->listen) ||
        !address_parse(arena, connect, 0, &out->connect))
        return; // missing: reported with what else is missing
    if (is_wildcard(out->connect.host) && !for_ctl)
        finding_error(findings, tree_path(local, "restapi"), "restapi.connect_address",
                      "expected an address that others can connect to, found %s",
                      out->connect.host);
    out->api_url = arena_printf(arena, "%s://%s/patroni", out->certfile == NULL ? "http" : "https",
                                address_text(arena, out->connect));
}

static void read_ctl(Findings *findings, const Tree *local, const RestSettings *rest,
                     CtlSettings *out)
{
    const bool own = tree_path(local, "ctl.authentication") != NULL;
    *out = (CtlSettings){
        .username = own ? text_at(local, "ctl.authentication.username", NULL) : rest->username,
        .password = own ? secret_at(local, "ctl.authentication.password") : rest->password,
        .cacert = text_at(local, "ctl.cacert", rest->cafile),
        .certfile = text_at(local, "ctl.certfile", NULL),
        .keyfile = text_at(local, "ctl.keyfile", NULL),
        .keyfile_password = secret_at(local, "ctl.keyfile_password"),
        .insecure = bool_at(local, "ctl.insecure", false),
    };
    check_pair(findings, local, "ctl.authentication");
}

static void read_log(const Tree *local, LogSettings *out)
{
    // Numbers as LogLevel of common/os/log.h, which lies out of reach here.
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"DEBUG", 0}, {"INFO", 1},  {"WARN", 2},    {"WARNING", 2},
                  {"ERROR", 3}, {"FATAL", 3}, {"CRITICAL", 3}};
    *out = (LogSettings){
        .level = 1,
        .json = str_eq(text_at(local, "log.type", "plain"), "json"),
        .dir = text_at(local, "log.dir", NULL),
        .file_size_bytes = int_at(local, "log.file_size", 25000000),
        .file_count = (int)int_at(local, "log.file_num", 4),
        .queue_records = (int)int_at(local, "log.max_queue_size", 1000),
    };
    for (size_t i = 0; i < COUNT_OF(levels); i++)
        if (str_eq(text_at(local, "log.level", "INFO"), levels[i].name))
            out->level = levels[i].level;
}

static void check_watchdog(Findings *findings, const Tree *local)
{
    const Tree *mode = tree_path(local, "watchdog.mode");
    const char *text = tree_string_of(mode);
    if (str_starts(text, "requir"))
        finding_error(findings, mode, "watchdog.mode",
                      "this build drives no watchdog device: use off or automatic (the warden "
                      "fences the server)");
}

// What a new cluster's configuration is to be.
static const Tree *bootstrap_dcs(Arena *arena, const Tree *local)
{
    return tree_patch(arena, tree_path(local, "bootstrap.dcs"), NULL, NULL);
}

static void read_bootstrap(Findings *findings, const Tree *local, BootstrapSettings *out)
{
    Arena *arena = findings->arena;
    const Tree *section = tree_get(local, "bootstrap");
    *out = (BootstrapSettings){
        .present = section != NULL,
        .dcs = bootstrap_dcs(arena, local),
        .method = text_at(section, "method", "initdb"),
        .initdb = tree_get(section, "initdb"),
        .pg_hba = texts_at(arena, section, "pg_hba"),
        .post_bootstrap = text_at(section, "post_bootstrap", NULL),
        .section = section,
    };
    const Tree *method = tree_get(section, out->method);
    if (!str_eq(out->method, "initdb") && tree_get(method, "command") == NULL)
        finding_error(findings, tree_get(section, "method"), "bootstrap.method",
                      "'%s' has no section bootstrap.%s with a command", out->method, out->method);
}

// --- the cluster's configuration

static int64_t seconds_ms(const Tree *dynamic, const char *key, int64_t fallback_s)
{
    return int_at(dynamic, key, fallback_s) * MS_PER_S;
}

static void read_dynamic(const Tree *dynamic, Settings *out)
{
    out->maximum_lag_on_failover = (uint64_t)int_at(dynamic, "maximum_lag_on_failover", 1048576);
    out->primary_start_timeout_ms = seconds_ms(dynamic, "primary_start_timeout", 300);
    out->primary_stop_timeout_ms = seconds_ms(dynamic, "primary_stop_timeout", 0);
    out->failsafe_mode = bool_at(dynamic, "failsafe_mode", false);
    out->pause = bool_at(dynamic, "pause", false);
    out->check_timeline = bool_at(dynamic, "check_timeline", false);
    out->member_slots_ttl_ms = seconds_ms(dynamic, "member_slots_ttl", 1800);
    out->max_timelines_history = (int)int_at(dynamic, "max_timelines_history", 0);
}

bool settings_check_dynamic(Arena *arena, const Tree *dynamic, SettingsNotes *notes)
{
    Error err = {0};
    Findings findings = {.arena = arena, .notes = notes, .err = &err};
    const size_t before = notes->warnings.count;
    const Tree *checked = settings_check(&findings, dynamic, DYNAMIC);
    Settings scratch = {0};
    settings_postgresql(&findings, NULL, checked, 0, &scratch);
    settings_timers(&findings, checked, NULL, true, &scratch);
    return notes->warnings.count == before;
}

// --- old names of whole sections

static const Tree *move_key(Arena *arena, const Tree *map, const char *from, Tree *to,
                            const char *as)
{
    const Tree *value = tree_get(map, from);
    if (value == NULL || value->kind != TREE_MAP)
        return map;
    tree_set(arena, to, as, value);
    Tree *rest = tree_patch(arena, map, NULL, NULL);
    tree_remove(rest, from);
    return rest;
}

// postgresql.superuser, .replication and .pg_rewind from before there was .authentication.
static const Tree *with_authentication(Arena *arena, const Tree *section)
{
    if (tree_get(section, "authentication") != NULL)
        return section;
    Tree *authentication = tree_map(arena);
    const bool rewind = tree_get(section, "pg_rewind") != NULL;
    section = move_key(arena, section, "superuser", authentication, "superuser");
    section = move_key(arena, section, "replication", authentication, "replication");
    section = move_key(arena, section, "pg_rewind", authentication, "rewind");
    if (authentication->count == 0)
        return section;
    Tree *changed = tree_patch(arena, section, NULL, NULL);
    tree_set(arena, changed, "authentication", authentication);
    if (rewind && tree_get(changed, "use_pg_rewind") == NULL)
        tree_set(arena, changed, "use_pg_rewind", tree_bool(arena, true));
    return changed;
}

static const Tree *with_new_names(Arena *arena, const Tree *local)
{
    const Tree *section = tree_get(local, "postgresql");
    if (section == NULL || section->kind != TREE_MAP)
        return local;
    Tree *renamed = tree_patch(arena, with_authentication(arena, section), NULL, NULL);
    Tree *document = tree_patch(arena, local, NULL, NULL);
    if (tree_get(renamed, "name") != NULL) {
        if (tree_get(document, "name") == NULL)
            tree_set(arena, document, "name", tree_get(renamed, "name"));
        tree_remove(renamed, "name");
    }
    tree_set(arena, document, "postgresql", renamed);
    return document;
}

// howdahctl is not held up by what only the agent reads.
static const Tree *for_howdahctl(Arena *arena, const Tree *local)
{
    static const char *const sections[] = {"scope", "namespace",  "etcd",   "etcd3",
                                           "ctl",   "kubernetes", "restapi"};
    Tree *document = tree_map(arena);
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        if (tree_get(local, sections[i]) != NULL)
            tree_set(arena, document, sections[i], tree_get(local, sections[i]));
    return document;
}

// --- all of it

static void check_required(Findings *findings, const Tree *raw, const Tree *local)
{
    const Tree nowhere = {.file = raw == NULL ? NULL : raw->file}; // what is missing has no line
    for (size_t i = 0; i < option_count; i++) {
        const Option *option = &option_table[i];
        // What is there but wrong has been reported.
        if (option->required && tree_path(local, option->path) == NULL &&
            tree_path(raw, option->path) == NULL)
            finding_error(findings, &nowhere, option->path, "missing: %s", option->help);
    }
}

static void check_name(Findings *findings, const Tree *local)
{
    static const char *const keys[] = {"name", "scope"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const char *text = text_at(local, keys[i], NULL);
        if (text != NULL && (text[0] == '\0' || strchr(text, '/') != NULL))
            finding_error(findings, tree_get(local, keys[i]), keys[i],
                          "expected a name without '/', found '%s'", text);
    }
}

static void read_identity(Arena *arena, const Tree *local, Settings *out)
{
    out->name = text_at(local, "name", NULL);
    out->scope = text_at(local, "scope", NULL);
    out->namespace = text_at(local, "namespace", "service");
    out->base_path =
        out->scope == NULL ? NULL : settings_base_path(arena, out->namespace, out->scope);
}

static void build_agent(Findings *findings, const Tree *raw, const Tree *local, const Tree *dynamic,
                        int server_major, Settings *out)
{
    check_required(findings, raw, local);
    check_name(findings, local);
    check_watchdog(findings, local);
    read_log(local, &out->log);
    read_bootstrap(findings, local, &out->bootstrap);
    out->tags_tree = settings_tags(findings, tree_get(local, "tags"));
    out->tags = tags_parse(out->tags_tree);
    settings_postgresql(findings, local, dynamic, server_major, out);
    read_howdah(findings->arena, local, out);
    if (out->postgresql.data_dir != NULL && out->postgresql.data_dir[0] != '/')
        finding_error(findings, tree_path(local, "postgresql.data_dir"), "postgresql.data_dir",
                      "expected an absolute path, found '%s'", out->postgresql.data_dir);
}

static const Tree *checked_dynamic(Findings *findings, const Tree *local, const Tree *dynamic)
{
    // bootstrap.dcs is the user's file, and strict; but it binds only a new cluster.
    findings->prefix = "bootstrap.dcs.";
    const Tree *initial = settings_check(findings, tree_path(local, "bootstrap.dcs"), DYNAMIC);
    findings->prefix = NULL;
    if (dynamic == NULL) {
        return tree_patch(findings->arena, initial, NULL, NULL);
    }
    findings->prefix = "cluster configuration: ";
    findings->lenient = true;
    const Tree *checked = settings_check(findings, dynamic, DYNAMIC);
    findings->lenient = false;
    findings->prefix = NULL;
    return checked;
}

bool settings_build(Arena *arena, const Tree *raw_local, const Tree *dynamic,
                    int64_t dynamic_revision, bool all_howdah, int server_major, bool for_ctl,
                    Settings *out, SettingsNotes *notes, Error *err)
{
    Findings findings = {.arena = arena, .notes = notes, .err = err};
    const Tree *raw = for_ctl ? for_howdahctl(arena, raw_local) : with_new_names(arena, raw_local);
    const Tree *local = settings_check(&findings, raw, LOCAL);
    if (dynamic != NULL && dynamic->kind != TREE_MAP) {
        finding_warning(&findings, NULL, "cluster configuration", "expected a map; ignored");
        dynamic = tree_map(arena);
    }
    const Tree *in_force = checked_dynamic(&findings, local, dynamic);

    Settings settings = {.dynamic_revision = dynamic_revision, .local = raw_local};
    settings.dynamic = dynamic != NULL ? dynamic : bootstrap_dcs(arena, local);
    read_identity(arena, local, &settings);
    read_restapi(&findings, local, for_ctl, &settings.restapi);
    read_ctl(&findings, local, &settings.restapi, &settings.ctl);
    settings_etcd(&findings, local, !for_ctl, &settings.etcd);
    settings_kubernetes(&findings, raw, local, &settings);
    read_dynamic(in_force, &settings);
    if (!for_ctl)
        build_agent(&findings, raw, local, in_force, server_major, &settings);
    settings_timers(&findings, in_force, local, all_howdah, &settings);
    if (findings.failed)
        return false;
    *out = settings;
    return true;
}
