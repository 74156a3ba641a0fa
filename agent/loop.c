#include "agent/loop.h"

#include "agent/host.h"
#include "agent/ledger_file.h"
#include "agent/postgres/local_server.h"
#include "agent/sampler.h"
#include "agent/told.h"
#include "agent/warden/warden_client.h"
#include "common/base/text.h"
#include "common/model/io/settings_read.h"
#include "common/os/log.h"
#include "common/os/memory.h"
#include "dcs/open.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WARDEN_RETRY_MS 200
#define TOLD_LOOK_MS    50
#define FIRST_TRIM_MS   20000 // by then it has started
#define NEXT_TRIM_MS    60000
#define ORPHANED_MS     3000 // a restart by systemd takes much less

struct Loop {
    const LoopOptions *options;
    Clock *clock;
    Rng rng;
    Resolver *resolver;
    Processes *warden;
    Store store;
    Server *server;
    Peers *peers;
    Positions *positions;
    Sampler *sampler;
    LedgerFile *ledger;
    World world;
    Agent *agent;
    AgentHost host;
    Api *api;
    int epoll_fd, signal_fd, wake_fd;
    Instant warden_retry_at;
    bool warden_was_there;
    Instant warden_missed_at; // 0: it is there, or ours to start
    Instant told_at;          // SIGTERM or SIGINT came; 0: not
    bool told_to_stop, handing_over;
    Instant trim_at;
};

static void watch(Loop *loop, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    const int failed = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    ASSERT(failed == 0);
}

// --- the warden

static bool warden_connected(Loop *loop)
{
    WardenView view;
    loop->warden->ops->view(loop->warden, &view);
    return view.connected || view.replaced;
}

// A second warden would look after the same data directory with neither knowing of the other.
static void miss_warden(Loop *loop, const Error *err)
{
    const Instant now = clock_now(loop->clock);
    if (!instant_is_set(loop->warden_missed_at)) {
        loop->warden_missed_at = now;
        log_warn("waiting for the warden: howdah.socket is an absolute path, so it is not ours to "
                 "start socket=%s error='%s'",
                 loop->options->places->socket, err->text);
    }
    // There is nobody to stop PostgreSQL through. It has ended with its parent, or ends at the
    // fence.
    if (loop->told_to_stop && instant_ms_between(loop->warden_missed_at, now) >= ORPHANED_MS)
        agent_leave(loop->agent);
}

// Attach, and start it where nobody else does: without systemd, detached.
static void keep_warden(Loop *loop)
{
    if (warden_connected(loop) || instant_before(clock_now(loop->clock), loop->warden_retry_at))
        return;
    loop->warden_retry_at = instant_plus_ms(clock_now(loop->clock), WARDEN_RETRY_MS);
    const Places *p = loop->options->places;
    Error err = {0};
    if (warden_client_connect(loop->warden, deadline_in(loop->clock, 500), &err)) {
        loop->warden_missed_at = (Instant){0};
        return;
    }
    if (p->external_warden) {
        miss_warden(loop, &err);
        return;
    }
    if (loop->warden_was_there)
        log_warn("the warden is gone; starting another error='%s'", err.text);
    const char *data_dir = loop->options->settings->postgresql.data_dir;
    if (!warden_start_detached(p->warden, p->socket, data_dir, STDERR_FILENO,
                               deadline_in(loop->clock, 2000), &err) ||
        !warden_client_connect(loop->warden, deadline_in(loop->clock, 500), &err)) {
        log_error("cannot start the warden program=%s error='%s'", p->warden, err.text);
        return;
    }
    loop->warden_was_there = true;
}

// --- settings

static void reload(Loop *loop)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *local = NULL;
    SettingsNotes notes = {0};
    Error err = {0};
    if (!settings_read_local(arena, loop->options->source, &local, &notes, &err) ||
        !agent_reload(loop->agent, local, &err))
        log_error("settings not reloaded, the old ones stay error='%s'", err.text);
    else
        log_info("settings reloaded");
    for (size_t i = 0; i < notes.warnings.count; i++)
        log_warn("settings: %s", notes.warnings.items[i]);
    arena_free(arena);
}

static LogOptions log_options(const LogSettings *s)
{
    return (LogOptions){.level = (LogLevel)s->level,
                        .json = s->json,
                        .dir = s->dir,
                        .file_size_bytes = s->file_size_bytes,
                        .file_count = s->file_count,
                        .queue_records = s->queue_records};
}

static void apply_settings(Loop *loop)
{
    if (!agent_take_settings_changed(loop->agent))
        return;
    const Settings *s = agent_settings(loop->agent);
    const LogOptions options = log_options(&s->log);
    log_configure(&options);
    store_set_credentials(&loop->store, s);
    sampler_configure(loop->sampler, s);
    warden_client_set_ttl(loop->warden, s->ttl_ms);
    Error err = {0};
    if (loop->api && !api_configure(loop->api, &s->restapi, &err))
        log_error("REST API keeps its old settings error='%s'", err.text);
}

static void start_api(Loop *loop)
{
    if (loop->api)
        return;
    const ApiOptions options = {.settings = &agent_settings(loop->agent)->restapi,
                                .host = &loop->host.base,
                                .clock = loop->clock,
                                .resolver = loop->resolver};
    Error err = {0};
    if (!api_start(&options, &loop->api, &err))
        log_error("REST API does not start error='%s'", err.text); // tried again next turn
}

// --- signals

static bool is_sidecar(const Loop *loop)
{
    return loop->store.in_pod && loop->options->places->external_warden;
}

static void be_told(Loop *loop, unsigned signal)
{
    log_info("told to stop signal=%u", signal);
    if (instant_is_set(loop->told_at))
        return;
    loop->told_at = clock_now(loop->clock);
    if (is_sidecar(loop) && loop->store.announcer)
        loop->store.announcer->ops->ask_fate(loop->store.announcer);
}

// Once it is known what was meant by it.
static void obey(Loop *loop)
{
    if (!instant_is_set(loop->told_at) || loop->told_to_stop)
        return;
    Announcer *announcer = loop->store.announcer;
    WardenView view;
    loop->warden->ops->view(loop->warden, &view);
    const ToldFacts facts = {.sidecar = is_sidecar(loop),
                             .told_at = loop->told_at,
                             .now = clock_now(loop->clock),
                             .warden_terminating = view.terminating,
                             .pod = announcer ? announcer->ops->fate(announcer) : POD_NOT_KNOWN};
    switch (told_to(&facts)) {
    case TOLD_WAIT:
        return;
    case TOLD_HAND_OVER:
        loop->handing_over = true;
        agent_shutdown(loop->agent);
        break;
    case TOLD_LEAVE:
        log_info("this container alone ends: leaving PostgreSQL, fence and lease to the next "
                 "agent");
        agent_leave(loop->agent);
        break;
    }
    loop->told_to_stop = true;
}

static void read_signals(Loop *loop)
{
    struct signalfd_siginfo info;
    while (read(loop->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            be_told(loop, info.ssi_signo);
            break;
        case SIGUSR2:
            log_info("leaving PostgreSQL, fence and lease to the next agent");
            agent_leave(loop->agent);
            break;
        case SIGHUP:
            reload(loop);
            break;
        default:
            break;
        }
    }
}

static void drain(int fd)
{
    uint64_t count;
    (void)!read(fd, &count, sizeof count); // an eventfd: empty is fine
}

static void wait_for_event(Loop *loop, Instant until)
{
    const Instant now = clock_now(loop->clock);
    if (instant_is_set(loop->told_at) && !loop->told_to_stop) // what decides comes by other threads
        until = instant_min(until, instant_plus_ms(now, TOLD_LOOK_MS));
    const int64_t left = instant_ms_between(now, until);
    struct epoll_event events[8];
    const int count = epoll_wait(loop->epoll_fd, events, COUNT_OF(events),
                                 left < 0       ? 0
                                 : left > 60000 ? 60000
                                                : (int)left + 1);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == loop->signal_fd)
            read_signals(loop);
        else
            drain(events[i].data.fd);
    }
    if (atomic_exchange(&loop->host.reload_asked, false))
        reload(loop);
}

static bool server_is_gone(Agent *agent)
{
    AUTO(snapshot_release) Snapshot *last = agent_snapshot(agent);
    return last && !last->server.running && !last->server.remains;
}

// Reading settings, certificates and whole listings takes memory that is of no use afterwards.
static void give_memory_back(Loop *loop)
{
    const Instant now = clock_now(loop->clock);
    if (instant_before(now, loop->trim_at))
        return;
    loop->trim_at = instant_plus_ms(now, NEXT_TRIM_MS);
    memory_give_back();
}

// --- the whole

static void open_signals(Loop *loop)
{
    sigset_t set;
    sigemptyset(&set);
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigaddset(&set, signals[i]);
    // Blocked before main's other threads exist: see main().
    loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    ASSERT(loop->signal_fd >= 0);
    watch(loop, loop->signal_fd);
}

static bool build_world(Loop *loop, Error *err)
{
    const LoopOptions *o = loop->options;
    const Settings *s = o->settings;
    loop->resolver = resolver_new();
    loop->warden = warden_client_new(o->places->socket, loop->clock);
    warden_client_set_ttl(loop->warden, s->ttl_ms);
    const StoreOptions store = {.settings = s,
                                .ttl_ms = s->ttl_ms,
                                .loop_wait_ms = s->loop_wait_ms,
                                .retry_timeout_ms = s->retry_timeout_ms,
                                .clock = loop->clock,
                                .resolver = loop->resolver};
    if (!store_open(&store, &loop->store, err))
        return false;
    const LocalServerOptions server = {
        .processes = loop->warden, .clock = loop->clock, .resolver = loop->resolver, .settings = s};
    loop->server = local_server_new(&server);
    loop->peers = peers_new(loop->resolver, s);
    if (s->store == STORE_KUBERNETES)
        loop->positions = positions_new(loop->clock, peers_new(loop->resolver, s));
    loop->sampler = sampler_new(loop->clock, loop->resolver, s);
    loop->ledger = ledger_file_open(o->places->state_dir);
    loop->world = (World){.clock = loop->clock,
                          .rng = &loop->rng,
                          .dcs = loop->store.dcs,
                          .announcer = loop->store.announcer,
                          .processes = loop->warden,
                          .server = loop->server,
                          .peers = loop->peers,
                          .positions = loop->positions,
                          .keep = ledger_file_keep,
                          .keep_context = loop->ledger,
                          .complete = api_complete};
    const AgentOptions agent = {.local = o->local, .instance = o->places->instance};
    return agent_new(&loop->world, &agent, &loop->agent, err);
}

static void take_down(Loop *loop)
{
    if (loop->api)
        api_stop(loop->api);
    agent_free(loop->agent);
    sampler_free(loop->sampler);
    positions_free(loop->positions);
    if (loop->peers)
        loop->peers->ops->free(loop->peers);
    if (loop->server)
        loop->server->ops->free(loop->server);
    store_close(&loop->store);
    warden_client_free(loop->warden);
    resolver_free(loop->resolver);
    ledger_file_close(loop->ledger);
    close(loop->epoll_fd);
    close(loop->signal_fd);
    close(loop->wake_fd);
}

int loop_run(const LoopOptions *options)
{
    Loop loop = {.options = options, .clock = clock_system(), .rng = rng_from_os()};
    memory_configure();
    loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(loop.epoll_fd >= 0 && loop.wake_fd >= 0);
    const LogOptions log = log_options(&options->settings->log);
    log_start(&log);
    loop.trim_at = instant_plus_ms(clock_now(loop.clock), FIRST_TRIM_MS);
    open_signals(&loop);
    watch(&loop, loop.wake_fd);
    Error err = {0};
    int code = 1;
    if (build_world(&loop, &err)) {
        host_init(&loop.host, &loop.world, options->settings->name, loop.agent, loop.sampler,
                  loop.wake_fd);
        watch(&loop, loop.store.dcs->ops->event_fd(loop.store.dcs));
        watch(&loop, loop.server->ops->event_fd(loop.server));
        watch(&loop, warden_client_event_fd(loop.warden));
        log_info("howdah %s name=%s scope=%s instance=%s", HOWDAH_VERSION, options->settings->name,
                 options->settings->scope, options->places->instance);
        for (;;) {
            keep_warden(&loop);
            obey(&loop);
            const Instant next = agent_turn(loop.agent);
            if (agent_ended(loop.agent, &code))
                break;
            apply_settings(&loop);
            start_api(&loop);
            give_memory_back(&loop);
            wait_for_event(&loop, next);
        }
        if (loop.handing_over && server_is_gone(loop.agent))
            places_pass_on(options->places);
        log_info("howdah ends code=%d", code);
    } else {
        log_error("cannot start error='%s'", err.text);
    }
    take_down(&loop);
    log_stop();
    return code;
}
