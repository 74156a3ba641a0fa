#include "agent/postgres/divergence.h"

#include "agent/postgres/identify.h"
#include "agent/postgres/task.h"

#include "common/os/log.h"

#include <string.h>

#define IDENTIFY_MS 5000

// --- the rule

// Where the leader's history leaves the timeline; false: it never was on it.
static bool left_at(const TimelineHistory *history, uint32_t timeline, Lsn *out)
{
    Lsn end = UINT64_MAX;
    for (size_t i = history->parent_count; i-- > 0;) {
        if (history->parents[i].switch_lsn < end)
            end = history->parents[i].switch_lsn;
        if (history->parents[i].timeline == timeline) {
            *out = end;
            return true;
        }
    }
    return false;
}

static Divergence answer(Divergence divergence, const char *text, const char **why)
{
    *why = text;
    return divergence;
}

Divergence divergence_of(const DivergenceFacts *f, const char **why)
{
    Lsn end;
    if (f->local.timeline == 0 || f->local.lsn == LSN_NONE)
        return answer(DIVERGENCE_UNKNOWN, "own position is not known", why);
    if (f->leader_timeline == 0)
        return answer(DIVERGENCE_UNKNOWN, "the leader's timeline is not known", why);
    if (f->local.timeline > f->leader_timeline)
        return answer(DIVERGENCE_FOUND, "on a higher timeline than the leader", why);
    if (f->local.timeline == f->leader_timeline)
        return answer(DIVERGENCE_NONE, "on the leader's timeline", why);
    if (f->leader_history.timeline != f->leader_timeline)
        return answer(DIVERGENCE_UNKNOWN, "the leader's history is not known", why);
    if (!left_at(&f->leader_history, f->local.timeline, &end))
        return answer(DIVERGENCE_FOUND, "the leader's history does not know our timeline", why);
    if (f->standby && f->local.lsn > end)
        return answer(DIVERGENCE_FOUND, "replayed past where the leader left our timeline", why);
    if (f->standby)
        return answer(DIVERGENCE_NONE, "replayed a part of the leader's history", why);
    if (f->local.lsn >= end)
        return answer(DIVERGENCE_FOUND, "shut down past where the leader left our timeline", why);
    if (f->record_end == LSN_NONE)
        return answer(DIVERGENCE_UNKNOWN, "the end of the shutdown checkpoint is not known", why);
    // The record itself counts: a successor that lacks it left the timeline before its end. Patroni
    // also rewinds where it ends *before* the switch point; but then all of ours is in that
    // history.
    if (f->record_end > end)
        return answer(DIVERGENCE_FOUND, "the leader never had our shutdown checkpoint", why);
    return answer(DIVERGENCE_NONE, "shut down within the leader's history", why);
}

bool divergence_needs_record_end(const DivergenceFacts *f)
{
    const char *why;
    DivergenceFacts with = *f;
    if (f->standby)
        return false;
    with.record_end = f->local.lsn; // anything: does the answer depend on it?
    return divergence_of(f, &why) == DIVERGENCE_UNKNOWN &&
           divergence_of(&with, &why) != DIVERGENCE_UNKNOWN;
}

static TimelineSwitch part_of(const TimelineHistory *h, size_t i)
{
    if (i < h->parent_count)
        return h->parents[i];
    return (TimelineSwitch){.timeline = h->timeline, .switch_lsn = UINT64_MAX};
}

WalPosition timeline_fork(const TimelineHistory *a, const TimelineHistory *b)
{
    WalPosition common = {0};
    if (a->timeline == 0 || b->timeline == 0)
        return common;
    for (size_t i = 0; i <= a->parent_count && i <= b->parent_count; i++) {
        const TimelineSwitch x = part_of(a, i), y = part_of(b, i);
        if (x.timeline != y.timeline)
            break;
        const Lsn end = x.switch_lsn < y.switch_lsn ? x.switch_lsn : y.switch_lsn;
        common = (WalPosition){.timeline = x.timeline, .lsn = end};
        if (x.switch_lsn != y.switch_lsn)
            break;
    }
    return common;
}

// --- the facts

bool identify_self(TaskRun *run, Identity *out, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    return task_connect_self(run, &pg, err) &&
           identify_system(pg, task_deadline(run, IDENTIFY_MS), out, err);
}

// Over a replication connection: SQL does not tell a standby's timeline.
static bool local_running(TaskRun *run, DivergenceFacts *facts, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    AUTO(pgresult_release) PGresult *rows = NULL;
    Identity self;
    if (!task_connect(run, task_deadline(run, IDENTIFY_MS), &pg, err))
        return false;
    if (!pg_query(pg, "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()",
                  task_deadline(run, IDENTIFY_MS), &rows, err))
        return false;
    if (!str_eq(pg_text(rows, 0, 0), "t"))
        return error_set(err, ERR_CONFLICT, "postgres runs as a primary: stop it first");
    if (!lsn_parse(pg_text(rows, 0, 1), &facts->local.lsn))
        return error_set(err, ERR_UNAVAILABLE, "nothing has been replayed yet");
    if (!identify_self(run, &self, err))
        return false;
    facts->local.timeline = self.timeline;
    facts->standby = true;
    return true;
}

// A server that did not shut down: its WAL ends where pg_waldump finds no further record. It then
// compares like a standby that has replayed all of it.
static bool local_crashed(TaskRun *run, DivergenceFacts *facts, Error *err)
{
    const ControlData *c = &run->seen.control.data;
    WalPosition from = {c->timeline, c->checkpoint_lsn};
    if (c->min_recovery_timeline > c->timeline) // promoted, and no checkpoint since
        from = (WalPosition){c->min_recovery_timeline, c->min_recovery_lsn};
    facts->local = (WalPosition){.timeline = from.timeline};
    facts->standby = true;
    return find_wal_end(run, from, &facts->local.lsn, err);
}

static bool local_stopped(TaskRun *run, DivergenceFacts *facts, Error *err)
{
    const ControlData *c = &run->seen.control.data;
    switch (c->state) {
    case CONTROL_SHUT_DOWN_IN_RECOVERY:
    case CONTROL_IN_ARCHIVE_RECOVERY:
        if (c->min_recovery_lsn != LSN_NONE) {
            facts->local = (WalPosition){c->min_recovery_timeline, c->min_recovery_lsn};
            facts->standby = true;
            return true;
        }
        facts->local = (WalPosition){c->timeline, c->checkpoint_lsn};
        return true;
    case CONTROL_SHUT_DOWN:
        facts->local = (WalPosition){c->timeline, c->checkpoint_lsn};
        return true;
    case CONTROL_IN_PRODUCTION:
    case CONTROL_SHUTTING_DOWN:
    case CONTROL_IN_CRASH_RECOVERY:
        if (!postmaster_runs(run->server, NULL))
            return local_crashed(run, facts, err);
        break;
    case CONTROL_UNKNOWN:
    case CONTROL_STARTING_UP:
        break;
    }
    return error_set(err, ERR_CONFLICT, "a server that is \"%s\" cannot be compared yet",
                     control_state_name(c->state));
}

// The server may run and yet not accept connections; then the control file has to do.
static bool local_facts(TaskRun *run, DivergenceFacts *facts, Error *err)
{
    Error first = {0};
    if (postmaster_runs(run->server, NULL)) {
        if (local_running(run, facts, &first))
            return true;
        if (first.kind == ERR_CONFLICT || task_cancelled(run)) {
            *err = first;
            return false;
        }
        *facts = (DivergenceFacts){0};
    }
    if (!inspect_directory(run, err) || !inspect_control(run, err))
        return false;
    if (!postmaster_runs(run->server, NULL))
        inspect_publish(run);
    return local_stopped(run, facts, err);
}

bool leader_facts(TaskRun *run, DivergenceFacts *facts, Error *err)
{
    AUTO(pg_release) PgConn *pg = NULL;
    Identity leader;
    bool in_recovery;
    const Deadline deadline = task_deadline(run, IDENTIFY_MS);
    const char *ours = run->task->system_identifier;
    if (!task_connect_upstream(run, &run->pg->replication, true, &pg, err) ||
        !identify_recovery(pg, deadline, &in_recovery, err))
        return error_wrap(err, "leader");
    if (in_recovery)
        return error_set(err, ERR_UNAVAILABLE, "leader %s is still in recovery",
                         str_or(run->task->upstream.member, "?"));
    if (!identify_system(pg, deadline, &leader, err))
        return error_wrap(err, "leader");
    if (!str_empty(ours) && !str_eq(ours, leader.system_identifier))
        return error_set(err, ERR_INVALID, "leader %s belongs to another cluster: %s, ours is %s",
                         str_or(run->task->upstream.member, "?"), leader.system_identifier, ours);
    facts->leader_timeline = leader.timeline;
    return identify_history(pg, run->arena, leader.timeline, deadline, &facts->leader_history,
                            err) ||
           error_wrap(err, "leader");
}

// "len (rec/tot):    114/   114, tx: …": the total length of the record, in pg_waldump's words
// since 9.5 at least. 0: not found.
static uint64_t record_length(const char *output)
{
    static const char mark[] = "len (rec/tot):";
    const char *s = strstr(output, mark);
    s = s == NULL ? NULL : strchr(s + strlen(mark), '/');
    if (s == NULL)
        return 0;
    s += 1 + strspn(s + 1, " ");
    char number[24] = "";
    const size_t length = strspn(s, "0123456789");
    uint64_t value = 0;
    if (length == 0 || length >= sizeof number)
        return 0;
    memcpy(number, s, length);
    return parse_uint64(number, &value) ? value : 0;
}

static bool dump_wal(TaskRun *run, WalPosition at, const char *const *more, ChildExit *out,
                     Error *err)
{
    Arena *arena = run->arena;
    StringList argv = {0};
    string_list_add(
        &argv, arena,
        program_path(arena, run->pg, str_or(run->pg->bin_name_pg_waldump, "pg_waldump")));
    const char *common[] = {"-p", data_path(run, "pg_wal"),
                            "-t", arena_printf(arena, "%u", at.timeline),
                            "-s", arena_strdup(arena, lsn_format(at.lsn).text)};
    for (size_t i = 0; i < COUNT_OF(common); i++)
        string_list_add(&argv, arena, common[i]);
    for (; *more != NULL; more++)
        string_list_add(&argv, arena, *more);
    static const char *const env[] = {"LANG=C", "LC_ALL=C", NULL};
    const Program program = {.id = "task-waldump", .argv = &argv, .extra_env = env};
    return task_run(run, &program, out, err);
}

bool find_record_end(TaskRun *run, WalPosition at, Lsn *out, Error *err)
{
    static const char *const one[] = {"-n", "1", NULL};
    ChildExit exit;
    if (!dump_wal(run, at, one, &exit, err))
        return false;
    const uint64_t length = record_length(exit.output);
    if (length == 0)
        return error_set(err, ERR_INVALID, "pg_waldump shows no record at %s: %.100s",
                         lsn_format(at.lsn).text, exit.output);
    *out = wal_record_end(at.lsn, length, &run->seen.control);
    return true;
}

// With --quiet it says nothing but, at the end, behind which record there is no other one: "error
// in WAL record at 0/1511A88: invalid record length …". That one was good.
bool find_wal_end(TaskRun *run, WalPosition from, Lsn *out, Error *err)
{
    static const char *const quiet[] = {"--quiet", NULL};
    static const char mark[] = "error in WAL record at ";
    ChildExit exit;
    WalPosition last = {.timeline = from.timeline};
    if (!dump_wal(run, from, quiet, &exit, err))
        return false;
    const char *at = strstr(exit.output, mark);
    if (at != NULL) {
        at += strlen(mark);
        at = arena_strndup(run->arena, at, strcspn(at, ": \n"));
    }
    if (!lsn_parse(at, &last.lsn))
        return error_set(err, ERR_UNAVAILABLE, "cannot find the end of the WAL after %s: %.100s",
                         lsn_format(from.lsn).text, exit.output);
    return find_record_end(run, last, out, err);
}

bool task_check_divergence(TaskRun *run, Error *err)
{
    DivergenceFacts facts = {0};
    const char *why;
    run->divergence = DIVERGENCE_UNKNOWN;
    task_phase(run, "asking the leader for its history");
    if (!leader_facts(run, &facts, err))
        return false;
    DivergenceFacts own = {0};
    if (!local_facts(run, &own, err))
        return false;
    facts.local = own.local;
    facts.standby = own.standby;
    if (divergence_needs_record_end(&facts) &&
        !find_record_end(run, facts.local, &facts.record_end, err))
        return false;
    run->divergence = divergence_of(&facts, &why);
    log_info("compared with the leader's history own_timeline=%u own_lsn=%s leader_timeline=%u "
             "diverged=%s why='%s'",
             facts.local.timeline, lsn_format(facts.local.lsn).text, facts.leader_timeline,
             run->divergence == DIVERGENCE_FOUND  ? "yes"
             : run->divergence == DIVERGENCE_NONE ? "no"
                                                  : "unknown",
             why);
    // A try to stream that came just before the leader's promotion has found no more WAL on the old
    // timeline. By now there is a new one, and it must not sleep on that.
    if (run->divergence == DIVERGENCE_NONE && facts.leader_timeline > facts.local.timeline &&
        postmaster_runs(run->server, NULL))
        wake_recovery(run);
    return true;
}
