// Everything that the checks look at, gathered within fifteen seconds at the most.
#include "ctl/doctor.h"

#include "common/model/io/settings_read.h"
#include "common/os/files.h"
#include "ctl/api_client.h"
#include "ctl/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALL_MS = 14000,
    STORE_MS = 4000,
    ENDPOINT_MS = 1500,
    MEMBERS_MS = 2000,
    VOLUME_MS = 2000,
    WARDEN_MS = 1000,
    SQL_MS = 4000,
    REPLY_LIMIT = 1024 * 1024,
};

typedef struct {
    Ctl *ctl;
    DoctorFacts *f;
    Deadline all;
} Gather;

static Deadline within(const Gather *g, int64_t ms)
{
    return deadline_min(g->all, deadline_in(g->ctl->clock, ms));
}

// --- settings

// The file that most of it comes from; NULL: the environment alone.
static const char *settings_path(const Tree *local)
{
    for (size_t i = 0; i < local->count; i++)
        if (local->entries[i].value->file != NULL)
            return local->entries[i].value->file;
    return NULL;
}

// As an agent would read them, with what `howdah --validate-config` would say.
static void read_settings(Gather *g, const char *given)
{
    DoctorFacts *f = g->f;
    const SettingsSource source = {.path = given, .for_ctl = true};
    const Tree *local = g->ctl->settings.local, *same = NULL; // --dcs-url is applied to the first
    SettingsNotes notes = {0};
    Error err = {0};
    Settings *settings = ARENA_NEW(f->arena, Settings);
    f->settings = &g->ctl->settings;
    if (!settings_read_local(f->arena, &source, &same, &notes, &err))
        return; // it has been read just now
    f->path = settings_path(same);
    f->is_agents = tree_get(local, "postgresql") != NULL;
    if (!f->is_agents)
        return;
    f->usable = settings_build(f->arena, local, NULL, 0, true, 0, false, settings, &notes, &err);
    f->findings = notes.warnings;
    if (f->usable)
        f->settings = settings;
}

// Again, with the cluster's configuration, as the agent has it in force.
static void apply_dynamic(Gather *g)
{
    DoctorFacts *f = g->f;
    SettingsNotes unused = {0}, notes = {0};
    Error err = {0};
    Settings *settings = ARENA_NEW(f->arena, Settings);
    if (f->view == NULL || f->view->config == NULL)
        return;
    (void)settings_check_dynamic(f->arena, f->view->config, &notes); // the findings say it
    f->dynamic_findings = notes.warnings;
    if (settings_build(f->arena, f->settings->local, f->view->config, f->view->config_revision,
                       cluster_is_all_howdah(f->view), 0, !f->usable, settings, &unused, &err))
        f->settings = settings;
}

static void add_file(Gather *g, FileFact *files, const char *what, const char *path, bool is_key)
{
    struct stat st;
    if (str_empty(path))
        return;
    FileFact *file = &files[g->f->file_count++];
    *file = (FileFact){.what = what, .path = path, .is_key = is_key};
    AUTO(fd_release) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        file->error = errno;
    else
        file->mode = st.st_mode;
}

static void look_at_files(Gather *g)
{
    enum { FILES_MAX = 20 };
    const Settings *s = g->f->settings;
    FileFact *files = ARENA_ARRAY(g->f->arena, FileFact, FILES_MAX);
    g->f->files = files;
    add_file(g, files, "etcd3.cacert", s->etcd.cacert, false);
    add_file(g, files, "etcd3.cert", s->etcd.cert, false);
    add_file(g, files, "etcd3.key", s->etcd.key, true);
    add_file(g, files, "kubernetes.cacert", s->kubernetes.cacert, false);
    add_file(g, files, "ctl.cacert", s->ctl.cacert, false);
    add_file(g, files, "ctl.certfile", s->ctl.certfile, false);
    add_file(g, files, "ctl.keyfile", s->ctl.keyfile, true);
    if (!g->f->local.beside)
        return;
    add_file(g, files, "restapi.certfile", s->restapi.certfile, false);
    add_file(g, files, "restapi.keyfile", s->restapi.keyfile, true);
    add_file(g, files, "restapi.cafile", s->restapi.cafile, false);
    const struct {
        const char *what;
        const PgAuth *auth;
    } roles[] = {{"superuser", &s->postgresql.superuser},
                 {"replication", &s->postgresql.replication},
                 {"rewind", &s->postgresql.rewind}};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        const char *at = arena_printf(g->f->arena, "postgresql.authentication.%s", roles[i].what);
        add_file(g, files, arena_printf(g->f->arena, "%s.sslcert", at), roles[i].auth->sslcert,
                 false);
        add_file(g, files, arena_printf(g->f->arena, "%s.sslkey", at), roles[i].auth->sslkey, true);
        add_file(g, files, arena_printf(g->f->arena, "%s.sslrootcert", at),
                 roles[i].auth->sslrootcert, false);
    }
}

// --- the store

static void read_view(Gather *g)
{
    DoctorFacts *f = g->f;
    Error err = {0};
    Dcs *dcs = NULL;
    ClusterView *view = ARENA_NEW(f->arena, ClusterView);
    if (ctl_store(g->ctl, f->scope, &dcs, &err) &&
        dcs->ops->refresh(dcs, f->arena, within(g, STORE_MS), view, &err))
        f->view = view;
    else
        f->view_why = arena_strdup(f->arena, err.text);
}

static void ask_etcd(Gather *g)
{
    DoctorFacts *f = g->f;
    const StringList *endpoints = &f->settings->etcd.endpoints;
    EtcdEndpointFacts *facts = ARENA_ARRAY(f->arena, EtcdEndpointFacts, endpoints->count);
    const char *base = settings_base_path(f->arena, str_or(g->ctl->namespace, "service"), f->scope);
    for (size_t i = 0; i < endpoints->count; i++)
        facts[i] = etcd_ask_endpoint(&f->settings->etcd, endpoints->items[i], base, f->arena,
                                     g->ctl->clock, g->ctl->resolver, within(g, ENDPOINT_MS));
    f->etcd = facts;
    f->etcd_count = endpoints->count;
}

// --- members

static const char *base_of(Arena *arena, const char *url)
{
    const char *host = strstr(url, "://");
    host = host == NULL ? url : host + 3;
    return arena_strndup(arena, url, (size_t)(host - url) + strcspn(host, "/?#"));
}

static void take_answer(Arena *arena, const HttpExchange *exchange, const Tree **out,
                        const char **out_error)
{
    Error err = {0};
    if (!exchange->ok)
        *out_error = arena_strdup(arena, exchange->error.text);
    else if (!tree_parse_json(arena, exchange->reply.body, out, &err))
        *out_error = arena_printf(arena, "status %d, and no JSON", exchange->reply.status);
}

// All at once: GET /patroni and GET /why of each.
static void ask_members(Gather *g)
{
    DoctorFacts *f = g->f;
    if (f->view == NULL)
        return;
    const size_t count = f->view->member_count, twice = 2 * count;
    MemberFact *members = ARENA_ARRAY(f->arena, MemberFact, count);
    HttpExchange *exchanges = ARENA_ARRAY(f->arena, HttpExchange, twice);
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        const MemberView *view = &f->view->members[i];
        members[i] = (MemberFact){.name = view->name,
                                  .url = view->api_url,
                                  .leads = str_eq(view->name, f->view->leader.name)};
        if (view->api_url == NULL)
            continue;
        const char *base = base_of(f->arena, view->api_url);
        exchanges[asked++].request =
            (HttpRequest){.method = "GET",
                          .url = arena_printf(f->arena, "%s/patroni", base),
                          .limit_bytes = REPLY_LIMIT};
        exchanges[asked++].request = (HttpRequest){.method = "GET",
                                                   .url = arena_printf(f->arena, "%s/why", base),
                                                   .limit_bytes = REPLY_LIMIT};
    }
    http_call_all(g->ctl->http, f->arena, exchanges, asked, within(g, MEMBERS_MS));
    for (size_t i = 0, at = 0; i < count; i++) {
        if (members[i].url == NULL)
            continue;
        take_answer(f->arena, &exchanges[at], &members[i].status, &members[i].error);
        if (exchanges[at + 1].ok && exchanges[at + 1].reply.status == 200) {
            const char *unused = NULL;
            take_answer(f->arena, &exchanges[at + 1], &members[i].why, &unused);
        }
        at += 2;
    }
    f->members = members;
    f->member_count = count;
}

// --- this machine

// An agent's place is known by the directory that holds its data directory: that one is made later.
static void look_around(Gather *g)
{
    DoctorFacts *f = g->f;
    LocalFacts *local = &f->local;
    local->uid = geteuid();
    if (!f->usable) {
        local->why_not = f->is_agents
                             ? "the settings cannot be used, see above"
                             : "the settings are no agent's: give its own (-c), or run it in a pod";
        return;
    }
    gather_volume(f->settings, g->ctl->clock, f->arena, within(g, VOLUME_MS), &local->volume);
    const VolumeFacts *volume = &local->volume;
    local->beside = !volume->answered || volume->data_dir.error == 0 ||
                    (volume->parent.error == 0 && (f->kube.in_pod || volume->state_dir.error == 0));
    if (!local->beside) {
        local->why_not = arena_printf(f->arena,
                                      "%s is not here: run it in a pod (kubectl exec POD -c howdah "
                                      "-- howdahctl doctor) or on a member's machine",
                                      f->settings->postgresql.data_dir);
        return;
    }
    if (volume->answered)
        gather_warden(f->settings, g->ctl->clock, f->arena, within(g, WARDEN_MS), &local->warden);
}

void doctor_gather(Ctl *ctl, const char *config, const char *scope, DoctorFacts *out)
{
    *out = (DoctorFacts){.arena = ctl->arena, .scope = scope};
    Gather g = {.ctl = ctl, .f = out, .all = deadline_in(ctl->clock, ALL_MS)};
    read_settings(&g, config);
    read_view(&g);
    apply_dynamic(&g);
    if (out->settings->store == STORE_KUBERNETES)
        gather_kubernetes(out, ctl->clock, ctl->resolver, g.all);
    else
        ask_etcd(&g);
    look_around(&g);
    look_at_files(&g);
    ask_members(&g);
    if (out->is_agents && out->usable)
        gather_sql(out, ctl->clock, ctl->resolver, within(&g, SQL_MS));
    else
        out->sql.error = "the settings cannot be used";
}
