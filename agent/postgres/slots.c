// Physical replication slots, on the turn's own connection. The slots are looked at anew first:
// since the turn's own look a standby may have connected.
#include "agent/postgres/server_impl.h"

#include "common/os/log.h"

#include <string.h>

// config.md §18: an entry matches when every field it has is equal; {} matches all.
static bool ignored_by(const Tree *entry, const char *slot)
{
    const char *name = tree_get_string(entry, "name", NULL);
    const char *type = tree_get_string(entry, "type", NULL);
    return (name == NULL || str_eq(name, slot)) && (type == NULL || str_eq(type, "physical")) &&
           tree_get(entry, "database") == NULL && tree_get(entry, "plugin") == NULL;
}

static bool is_ignored(const Tree *dynamic, const char *slot)
{
    const Tree *list = tree_get(dynamic, "ignore_slots");
    for (size_t i = 0; list != NULL && list->kind == TREE_LIST && i < list->count; i++)
        if (ignored_by(list->entries[i].value, slot))
            return true;
    return false;
}

static bool is_slot_name(const char *name)
{
    const size_t length = strlen(name);
    return length > 0 && length <= 63 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

typedef enum { SLOT_KEEP, SLOT_DROP, SLOT_RENEW, SLOT_ADVANCE } SlotStep;

// What to do with a slot that is there. A lost one can serve nobody. One that we advance is
// expected to have no user: with an xmin it would hold back vacuum for ever, without a restart_lsn
// it cannot be advanced (hazards.md SL10, SL14, SL15).
static SlotStep step_for(const SlotView *slot, bool wanted, Lsn advance, const Settings *settings)
{
    if (!slot->physical || slot->temporary || slot->active)
        return SLOT_KEEP;
    if (!wanted)
        return settings->pause || is_ignored(settings->dynamic, slot->name) ? SLOT_KEEP : SLOT_DROP;
    if (slot->lost)
        return SLOT_RENEW;
    if (advance == LSN_NONE)
        return SLOT_KEEP;
    if (slot->has_xmin || slot->restart_lsn == LSN_NONE)
        return SLOT_RENEW;
    return advance > slot->restart_lsn ? SLOT_ADVANCE : SLOT_KEEP;
}

static const SlotView *find_slot(const MonitoredRows *rows, const char *name)
{
    for (size_t i = 0; i < rows->slot_count; i++)
        if (str_eq(rows->slots[i].name, name))
            return &rows->slots[i];
    return NULL;
}

typedef struct {
    PgConn *pg;
    Arena *arena;
    Deadline deadline;
    Error *err;
    bool failed; // once: the others are still tried
} Sync;

static void run_step(Sync *sync, const char *sql, const char *what, const char *name)
{
    Error one = {0};
    if (!pg_is_open(sync->pg))
        return;
    if (pg_exec(sync->pg, sql, sync->deadline, &one)) {
        log_info("replication slot %s name=%s", what, name);
        return;
    }
    if (!sync->failed)
        error_set(sync->err, one.kind, "replication slot %s: %s", name, one.text);
    sync->failed = true;
}

static void create(Sync *sync, const char *name)
{
    // Reserving WAL at once, or it may be gone before the standby comes (hazards.md SL1).
    run_step(sync,
             arena_printf(sync->arena, "SELECT pg_create_physical_replication_slot(%s, true)",
                          sql_literal(sync->arena, name)),
             "created", name);
}

// Only where it is still inactive: a standby may have connected since we looked.
static void drop(Sync *sync, const char *name)
{
    run_step(sync,
             arena_printf(sync->arena,
                          "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                          " WHERE slot_name = %s AND NOT active",
                          sql_literal(sync->arena, name)),
             "dropped", name);
}

// Never past what this server has itself.
static void advance_to(Sync *sync, const char *name, Lsn lsn, Lsn limit)
{
    const Lsn to = lsn < limit ? lsn : limit;
    if (to == LSN_NONE)
        return;
    run_step(sync,
             arena_printf(sync->arena, "SELECT pg_replication_slot_advance(%s, '%s')",
                          sql_literal(sync->arena, name), lsn_format(to).text),
             "advanced", name);
}

static void sync_existing(Sync *sync, const LocalServer *server, const Settings *settings,
                          const MonitoredRows *rows, const char *const *wanted, const Lsn *advance,
                          size_t count)
{
    const Monitored *last = &server->turn.last;
    for (size_t i = 0; i < rows->slot_count; i++) {
        const SlotView *slot = &rows->slots[i];
        Lsn target = LSN_NONE;
        bool is_wanted = false;
        for (size_t k = 0; k < count; k++) {
            if (!str_eq(wanted[k], slot->name))
                continue;
            is_wanted = true;
            target = advance == NULL ? LSN_NONE : advance[k];
        }
        const Lsn limit = last->in_recovery ? last->replay_lsn : last->flush_lsn;
        switch (step_for(slot, is_wanted, target < limit ? target : limit, settings)) {
        case SLOT_KEEP:
            break;
        case SLOT_ADVANCE:
            advance_to(sync, slot->name, target, limit);
            break;
        case SLOT_RENEW:
            drop(sync, slot->name);
            create(sync, slot->name);
            break;
        case SLOT_DROP:
            drop(sync, slot->name);
            break;
        }
    }
}

static bool read_slots(LocalServer *server, Arena *arena, Deadline deadline, MonitoredRows *rows,
                       Error *err)
{
    Monitored fresh;
    if (!pg_is_open(server->turn.monitor))
        return error_set(err, ERR_UNAVAILABLE, "no connection to the server");
    if (!monitor_query(server->turn.monitor, arena, false, deadline, &fresh, rows, err))
        return false;
    fresh.control_timeline = server->turn.last.control_timeline;
    server->turn.last = fresh;
    return true;
}

bool server_sync_slots(Server *base, const char *const *wanted, const Lsn *advance, size_t count,
                       Deadline deadline, Error *err)
{
    LocalServer *server = (LocalServer *)base;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    MonitoredRows rows = {0};
    if (!read_slots(server, arena, deadline, &rows, err))
        return error_wrap(err, "replication slots");
    pthread_mutex_lock(&server->lock);
    SettingsCopy *copy = settings_copy_ref(server->settings);
    pthread_mutex_unlock(&server->lock);

    Sync sync = {.pg = server->turn.monitor, .arena = arena, .deadline = deadline, .err = err};
    sync_existing(&sync, server, &copy->settings, &rows, wanted, advance, count);
    for (size_t i = 0; i < count; i++)
        if (find_slot(&rows, wanted[i]) == NULL && is_slot_name(wanted[i]))
            create(&sync, wanted[i]);
    settings_copy_unref(copy);
    if (!pg_is_open(server->turn.monitor))
        pg_release(&server->turn.monitor);
    return !sync.failed;
}
