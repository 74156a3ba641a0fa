#include "agent/sampler.h"

#include "agent/postgres/pg_query.h"
#include "common/base/text.h"

#include <pthread.h>
#include <stdlib.h>

struct Sampler {
    pthread_mutex_t lock; // one sample at a time, and the settings
    Clock *clock;
    Resolver *resolver;
    PgConn *conn;
    Arena *arena; // what the connection is made from
    const char *host;
    PgAuth auth;
    int port;
    const char *database, *krbsrvname;
};

static PgAuth auth_copy(Arena *arena, const PgAuth *from)
{
    PgAuth to = *from;
    const char **texts[] = {&to.username,       &to.sslmode,         &to.sslcert,
                            &to.sslkey,         &to.sslrootcert,     &to.sslcrl,
                            &to.sslcrldir,      &to.gssencmode,      &to.channel_binding,
                            &to.sslnegotiation, &to.password.hidden, &to.sslpassword.hidden};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = arena_strdup(arena, *texts[i]);
    return to;
}

static void take_settings(Sampler *s, const Settings *settings)
{
    const PostgresSettings *pg = &settings->postgresql;
    arena_reset(s->arena);
    s->host = local_host(s->arena, pg);
    s->port = pg->port;
    s->database = arena_strdup(s->arena, pg->database);
    s->krbsrvname = arena_strdup(s->arena, pg->krbsrvname);
    s->auth = auth_copy(s->arena, &pg->superuser);
}

Sampler *sampler_new(Clock *clock, Resolver *resolver, const Settings *settings)
{
    Sampler *s = calloc(1, sizeof *s);
    ASSERT(s);
    pthread_mutex_init(&s->lock, NULL);
    s->clock = clock;
    s->resolver = resolver;
    s->arena = arena_new(ARENA_CAP_DEFAULT);
    take_settings(s, settings);
    return s;
}

void sampler_free(Sampler *s)
{
    if (!s)
        return;
    pg_close(s->conn);
    arena_free(s->arena);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void sampler_configure(Sampler *s, const Settings *settings)
{
    pthread_mutex_lock(&s->lock);
    pg_close(s->conn);
    s->conn = NULL;
    take_settings(s, settings);
    pthread_mutex_unlock(&s->lock);
}

static bool open_connection(Sampler *s, Arena *arena, Deadline deadline, Error *err)
{
    if (pg_is_open(s->conn))
        return true;
    pg_close(s->conn);
    s->conn = NULL;
    const ConnTarget target = {.host = s->host,
                               .port = s->port,
                               .dbname = s->database,
                               .auth = &s->auth,
                               .krbsrvname = s->krbsrvname};
    const PgConnectOptions options = {.clock = s->clock,
                                      .resolver = s->resolver,
                                      .may_wait_for_names = true,
                                      .interrupt_fd = -1,
                                      .application_name = "Howdah restapi"};
    const ConnParams params = conn_params_of(arena, &target);
    PgFailure failure;
    return pg_connect(&options, &params, deadline, &s->conn, &failure, err);
}

static void apply(ServerView *view, const Monitored *m)
{
    view->answered = true;
    view->in_recovery = m->in_recovery;
    view->flush_lsn = m->flush_lsn;
    view->receive_lsn = m->receive_lsn;
    view->replay_lsn = m->replay_lsn;
    view->replay_paused = m->replay_paused;
    view->streaming = m->streaming;
    view->latest_end_lsn = m->latest_end_lsn;
    view->server_version = m->server_version;
    // A standby that streams has taken the timeline it receives as its own; the last turn may have
    // been before that.
    if (!m->in_recovery)
        view->timeline = m->timeline;
    else if (m->streaming && m->received_timeline > view->timeline)
        view->timeline = m->received_timeline;
    // What was sent with the promote stands until it is out of recovery.
    if (!m->in_recovery)
        view->role = ROLE_PRIMARY;
    else if (view->role == ROLE_PRIMARY)
        view->role = ROLE_REPLICA;
}

bool sampler_take(Sampler *s, Arena *arena, Deadline deadline, ServerView *view)
{
    Error err = {0};
    Monitored m;
    MonitoredRows rows;
    bool ok = false;
    pthread_mutex_lock(&s->lock);
    // A connection may outlive its server by a moment; one more try gets a fresh one.
    for (int i = 0; i < 2 && !ok && !deadline_over(s->clock, deadline); i++)
        ok = open_connection(s, arena, deadline, &err) &&
             monitor_query(s->conn, arena, false, deadline, &m, &rows, &err);
    if (!ok) {
        pg_close(s->conn);
        s->conn = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (!ok)
        return false;
    apply(view, &m);
    view->postmaster_start_us = m.start_us;
    view->postmaster_start_text = arena_strdup(arena, m.start_text);
    view->replayed_us = m.replayed_us;
    view->replayed_text = m.replayed_us ? arena_strdup(arena, m.replayed_text) : NULL;
    view->senders = rows.senders;
    view->sender_count = rows.sender_count;
    return true;
}
