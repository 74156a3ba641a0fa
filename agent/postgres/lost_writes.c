// What a rewind would throw away is kept: the WAL from the fork on, with a summary, in
// state_dir/lost-writes/<time>-<timeline>-<end>/. Nothing here deletes any of it.
#include "agent/postgres/divergence.h"
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define SPARE_BYTES (UINT64_C(64) * 1024 * 1024) // left free beside the copies

typedef struct {
    WalPosition from; // on the last common timeline
    WalPosition to;   // the end of our own WAL
    const char *name; // of the directory, without its time
} Lost;

static bool find_end(TaskRun *run, WalPosition *out, Error *err)
{
    const ControlData *c = &run->seen.control.data;
    if (c->state == CONTROL_SHUT_DOWN_IN_RECOVERY && c->min_recovery_lsn != LSN_NONE) {
        *out = (WalPosition){c->min_recovery_timeline, c->min_recovery_lsn};
        return true;
    }
    *out = (WalPosition){c->timeline, LSN_NONE};
    const WalPosition checkpoint = {c->timeline, c->checkpoint_lsn};
    return find_record_end(run, checkpoint, &out->lsn, err);
}

// For file names: "0/3000148" has a slash.
static const char *flat_lsn(Arena *arena, Lsn lsn)
{
    char *text = arena_strdup(arena, lsn_format(lsn).text);
    char *slash = strchr(text, '/');
    if (slash != NULL)
        *slash = '-';
    return text;
}

static bool find_lost(TaskRun *run, const TimelineHistory *leader, Lost *out, Error *err)
{
    TimelineHistory own;
    Lost lost = {0};
    if (!find_end(run, &lost.to, err) || !read_history(run, lost.to.timeline, &own, err))
        return false;
    lost.from = timeline_fork(&own, leader);
    if (lost.from.timeline == 0)
        return error_set(err, ERR_INVALID, "our history and the leader's have nothing in common");
    lost.name =
        arena_printf(run->arena, "-%u-%s", lost.to.timeline, flat_lsn(run->arena, lost.to.lsn));
    *out = lost;
    return true;
}

static bool saved_already(TaskRun *run, const char *root, const Lost *lost, bool *out, Error *err)
{
    DiskListing found;
    if (!disk_list(run->disk, run->arena, root, &found, err))
        return false;
    *out = false;
    for (size_t i = 0; i < found.count; i++)
        *out = *out || str_ends(found.entries[i].name, lost->name);
    return true;
}

typedef struct {
    StringList names;
    uint64_t bytes;
} Segments;

// Those that may hold a record after the fork: the fork's own segment, on any timeline of ours from
// there on, to the one where our WAL ends. Later ones are recycled and hold nothing.
static bool find_segments(TaskRun *run, const Lost *lost, Segments *out, Error *err)
{
    const uint64_t size = run->seen.control.wal_segment_bytes;
    DiskListing found;
    if (size == 0)
        return error_set(err, ERR_INVALID, "the size of WAL segments is not known");
    if (!disk_list(run->disk, run->arena, data_path(run, "pg_wal"), &found, err))
        return false;
    *out = (Segments){0};
    for (size_t i = 0; i < found.count; i++) {
        uint32_t timeline;
        uint64_t segment;
        const DiskEntry *e = &found.entries[i];
        if (e->kind != PATH_FILE || !wal_file_parse(e->name, size, &timeline, &segment) ||
            timeline < lost->from.timeline || timeline > lost->to.timeline ||
            segment < lost->from.lsn / size || segment > (lost->to.lsn - 1) / size)
            continue;
        string_list_add(&out->names, run->arena, e->name);
        out->bytes += e->bytes;
    }
    return true;
}

static const char *wal_stats(TaskRun *run, const Lost *lost)
{
    Arena *arena = run->arena;
    StringList argv = {0};
    string_list_add(
        &argv, arena,
        program_path(arena, run->pg, str_or(run->pg->bin_name_pg_waldump, "pg_waldump")));
    const char *rest[] = {"--stats",
                          "-p",
                          data_path(run, "pg_wal"),
                          "-t",
                          arena_printf(arena, "%u", lost->to.timeline),
                          "-s",
                          lsn_format(lost->from.lsn).text,
                          "-e",
                          lsn_format(lost->to.lsn).text};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        string_list_add(&argv, arena, arena_strdup(arena, rest[i]));
    static const char *const env[] = {"LANG=C", "LC_ALL=C", NULL};
    const Program program = {.id = "task-waldump", .argv = &argv, .extra_env = env};
    ChildExit exit; // it is for people: whatever it prints, its complaints included
    Error err;
    return task_run(run, &program, &exit, &err) ? exit.output
                                                : arena_printf(arena, "%s\n", err.text);
}

static const char *summary(TaskRun *run, const Lost *lost, const Segments *segments)
{
    Text text = text_new(run->arena);
    text_addf(&text, "member: %s\n", run->settings->name);
    text_addf(&text, "system identifier: %s\n", run->seen.control.data.system_identifier);
    text_addf(&text, "timeline: %u\n", lost->to.timeline);
    text_addf(&text, "from: %s\n", lsn_format(lost->from.lsn).text);
    text_addf(&text, "to: %s\n", lsn_format(lost->to.lsn).text);
    text_addf(&text, "bytes: %" PRIu64 "\n", lost->to.lsn - lost->from.lsn);
    text_addf(&text, "rewound to follow: %s\n", str_or(run->task->upstream.member, "?"));
    for (size_t i = 0; i < segments->names.count; i++)
        text_addf(&text, "segment: %s\n", segments->names.items[i]);
    text_addf(&text, "\n%s", wal_stats(run, lost));
    return text.data;
}

static const char *time_text(TaskRun *run)
{
    const time_t now = (time_t)(clock_wall_us(run->server->clock) / 1000000);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&now, &tm) != NULL)
        (void)strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &tm); // fits
    return arena_strdup(run->arena, text);
}

static bool enough_room(TaskRun *run, const char *root, const Segments *segments, Error *err)
{
    uint64_t room;
    if (!disk_free_bytes(run->disk, root, &room, err))
        return false;
    return room >= segments->bytes + SPARE_BYTES ||
           error_set(err, ERR_UNAVAILABLE,
                     "%s has %" PRIu64 " bytes free, %" PRIu64 " are needed for the WAL that the "
                     "rewind would discard",
                     root, room, segments->bytes + SPARE_BYTES);
}

// Under another name until it is whole.
static bool save(TaskRun *run, const char *root, const Lost *lost, const Segments *segments,
                 Error *err)
{
    const char *final =
        path_join(run->arena, root, arena_printf(run->arena, "%s%s", time_text(run), lost->name));
    const char *partial = arena_printf(run->arena, "%s.partial", final);
    if (!disk_make(run->disk, partial, 0700, err))
        return false;
    for (size_t i = 0; i < segments->names.count; i++) {
        const char *name = segments->names.items[i];
        const char *from = data_path(run, arena_printf(run->arena, "pg_wal/%s", name));
        if (task_cancelled(run))
            return error_set(err, ERR_UNAVAILABLE, "cancelled");
        if (!disk_copy(run->disk, from, path_join(run->arena, partial, name), err))
            return false;
    }
    if (!disk_write(run->disk, path_join(run->arena, partial, "summary.txt"),
                    summary(run, lost, segments), 0600, err) ||
        !disk_rename(run->disk, partial, final, err) || !disk_sync_directory(run->disk, root, err))
        return false;
    log_warn("writes that the new leader never had are kept timeline=%u from=%s to=%s path=%s",
             lost->to.timeline, lsn_format(lost->from.lsn).text, lsn_format(lost->to.lsn).text,
             final);
    return true;
}

bool save_lost_writes(TaskRun *run, const TimelineHistory *leader, Error *err)
{
    Lost lost;
    Segments segments;
    bool saved;
    const char *root = state_path(run, "lost-writes");
    task_phase(run, "saving what the leader does not have");
    if (!find_lost(run, leader, &lost, err) || !disk_make(run->disk, root, 0700, err) ||
        !saved_already(run, root, &lost, &saved, err))
        return error_wrap(err, "save lost writes");
    if (saved || lost.to.lsn <= lost.from.lsn)
        return true;
    if (!find_segments(run, &lost, &segments, err) || !enough_room(run, root, &segments, err) ||
        !save(run, root, &lost, &segments, err))
        return error_wrap(err, "save lost writes");
    return true;
}
