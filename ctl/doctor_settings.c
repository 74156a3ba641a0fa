// The settings of member and cluster, and the files they name.
#include "ctl/doctor.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

// Findings begin with "error: " if an agent would not start with them.
static const char *error_of(const char *finding)
{
    static const char prefix[] = "error: ";
    return str_starts(finding, prefix) ? finding + sizeof prefix - 1 : NULL;
}

void check_settings(const DoctorFacts *f, DoctorReport *r)
{
    const char *path = str_or(f->path, "the environment");
    for (size_t i = 0; i < f->findings.count; i++) {
        const char *error = error_of(f->findings.items[i]);
        if (error != NULL)
            doctor_wrong(r,
                         "howdah --validate-config says the same; the agent does not start with it",
                         "%s", error);
        else
            doctor_warn(r, NULL, "%s", f->findings.items[i]);
    }
    if (!f->is_agents)
        doctor_skipped(r,
                       "%s: no section postgresql, so these are no agent's settings; give an "
                       "agent's to have everything looked at (-c, or run it in a pod)",
                       path);
    else if (f->usable && f->findings.count == 0)
        doctor_ok(r, "%s", path);
}

static int64_t seconds_of(const Tree *dynamic, const char *key, int64_t fallback)
{
    return tree_get_int(dynamic, key, fallback);
}

// What an agent makes of them (settings_timers) against what was asked for.
void check_timers(const DoctorFacts *f, DoctorReport *r)
{
    const Settings *s = f->settings;
    const Tree *dynamic = f->view != NULL && f->view->config != NULL ? f->view->config : s->dynamic;
    const int64_t ttl = seconds_of(dynamic, "ttl", 30), loop = seconds_of(dynamic, "loop_wait", 10),
                  retry = seconds_of(dynamic, "retry_timeout", 10);
    const int64_t ttl_used = s->ttl_ms / MS_PER_S, loop_used = s->loop_wait_ms / MS_PER_S,
                  retry_used = s->retry_timeout_ms / MS_PER_S;
    if (f->is_agents && !f->usable) {
        doctor_skipped(r,
                       "what an agent makes of ttl %" PRId64 ", loop_wait %" PRId64
                       ", retry_timeout %" PRId64 " depends on its settings",
                       ttl, loop, retry);
        return;
    }
    if (ttl == ttl_used && loop == loop_used && retry == retry_used) {
        doctor_ok(r, "ttl %" PRId64 ", loop_wait %" PRId64 ", retry_timeout %" PRId64, ttl, loop,
                  retry);
        return;
    }
    const char *mend = arena_printf(f->arena,
                                    "howdahctl edit-config --force -s ttl=%" PRId64
                                    " -s loop_wait=%" PRId64 " -s retry_timeout=%" PRId64 " %s",
                                    ttl_used, loop_used, retry_used, f->scope);
    doctor_wrong(r, mend,
                 "ttl %" PRId64 ", loop_wait %" PRId64 ", retry_timeout %" PRId64
                 " break loop_wait + 2 * retry_timeout <= ttl, the minima%s, or the time that the "
                 "fence needs: the agents use %" PRId64 ", %" PRId64 ", %" PRId64,
                 ttl, loop, retry, s->fast_timers_allowed ? " (5, 1, 2)" : " (20, 1, 3)", ttl_used,
                 loop_used, retry_used);
}

void check_dynamic(const DoctorFacts *f, DoctorReport *r)
{
    const char *mend = arena_printf(f->arena, "howdahctl edit-config %s", f->scope);
    if (f->view == NULL) {
        doctor_skipped(r, "%s", str_or(f->view_why, "the store does not answer"));
        return;
    }
    if (f->view->config_invalid) {
        doctor_wrong(r, arena_printf(f->arena, "howdahctl edit-config --replace FILE %s", f->scope),
                     "what the store holds is no JSON object: every member uses the defaults");
        return;
    }
    if (f->view->config == NULL) {
        doctor_warn(r, NULL, "there is none in the store: the cluster has not been made yet");
        return;
    }
    for (size_t i = 0; i < f->dynamic_findings.count; i++) {
        const char *finding = f->dynamic_findings.items[i];
        doctor_wrong(r, mend, "%s", str_or(error_of(finding), finding));
    }
    if (f->view->config != NULL && tree_get_bool(f->view->config, "pause", false))
        doctor_warn(r, arena_printf(f->arena, "howdahctl resume %s", f->scope),
                    "the cluster is paused: nobody takes over if the primary fails");
    else if (f->dynamic_findings.count == 0)
        doctor_ok(r, "nothing to be said against it");
}

void check_files(const DoctorFacts *f, DoctorReport *r)
{
    size_t fine = 0;
    for (size_t i = 0; i < f->file_count; i++) {
        const FileFact *file = &f->files[i];
        if (file->error != 0)
            doctor_wrong(
                r,
                arena_printf(f->arena,
                             "mount it, or let the agent's user read it: chown or chmod %s",
                             file->path),
                "%s: %s: %s", file->what, file->path, strerror(file->error));
        else if (file->is_key && (file->mode & S_IROTH) != 0)
            doctor_warn(r, arena_printf(f->arena, "chmod o= %s", file->path),
                        "%s: %s is a private key that everybody can read", file->what, file->path);
        else
            fine++;
    }
    if (fine > 0)
        doctor_ok(r, "%zu files that the settings name can be read", fine);
}
