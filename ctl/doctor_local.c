// The machine or pod beside an agent: its warden, its data directory and volume.
#include "ctl/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

// The warden's own, with its stack: docs/kubernetes.md, "Trouble".
#define WARDEN_LOCKS_BYTES (INT64_C(300) * 1000)

static const char *start_warden(const DoctorFacts *f)
{
    if (f->kube.in_pod)
        return "the postgres container's command must be /howdah/howdah-warden --socket SOCKET "
               "--data-dir DIRECTORY, with the same volume at the socket's directory as the "
               "agent's";
    return f->settings->howdah.socket[0] == '/'
               ? "systemctl status howdah-warden@NAME; systemctl start howdah-warden@NAME"
               : "the agent starts it: systemctl status howdah@NAME, and the agent's log";
}

void check_warden(const DoctorFacts *f, DoctorReport *r)
{
    const WardenFacts *w = &f->local.warden;
    switch (w->answer) {
    case WARDEN_NO_SOCKET:
        doctor_wrong(r, start_warden(f), "%s: %s", w->socket, strerror(w->error));
        return;
    case WARDEN_NOT_ASKED:
        if (f->kube.in_pod)
            doctor_wrong(
                r, "one runAsUser, in the securityContext of the pod, and none in its containers'",
                "%s belongs to user %u and we are %u: the warden refuses the agent", w->socket,
                (unsigned)w->owner, (unsigned)f->local.uid);
        else if (f->local.volume.data_dir.error == 0 && f->local.volume.data_dir.uid != w->owner)
            doctor_wrong(r,
                         "start the warden as the owner of the data directory (User= of its unit)",
                         "%s belongs to user %u, and the data directory to %u", w->socket,
                         (unsigned)w->owner, (unsigned)f->local.volume.data_dir.uid);
        else
            doctor_skipped(r, "%s takes connections of user %u alone: run it as that one (sudo -u)",
                           w->socket, (unsigned)w->owner);
        return;
    case WARDEN_REFUSES:
        doctor_wrong(r, start_warden(f), "%s: %s", w->socket,
                     w->error != 0 ? strerror(w->error) : "whoever listens there is no warden");
        return;
    case WARDEN_SILENT:
        doctor_wrong(r,
                     "it is stopped, or its machine starves: if no fence is due, it cannot strike "
                     "either; systemctl kill -s CONT howdah-warden@NAME",
                     "%s: it takes the connection and does not answer", w->socket);
        return;
    case WARDEN_ANSWERS:
        doctor_ok(r, "it answers at %s", w->socket);
        return;
    }
}

static const char *raise_limit(const DoctorFacts *f)
{
    return f->kube.in_pod ? "the container runtime's limit on the node, LimitMEMLOCK=infinity in "
                            "containerd's unit; or turn swap off there"
                          : "LimitMEMLOCK=infinity in howdah-warden@.service (systemctl edit "
                            "howdah-warden@NAME), then restart it; or swapoff -a";
}

void check_memlock(const DoctorFacts *f, DoctorReport *r)
{
    const WardenFacts *w = &f->local.warden;
    if (w->locked_kb > 0)
        doctor_ok(r, "the warden has locked %" PRId64 " kB", w->locked_kb);
    else if (w->memlock_limit < 0 || w->memlock_limit >= WARDEN_LOCKS_BYTES)
        doctor_ok(r, "the limit is enough for the warden's %" PRId64 " kB%s",
                  WARDEN_LOCKS_BYTES / 1000,
                  w->limit_is_wardens ? "" : " (ours; its own is out of sight)");
    else if (!w->swaps)
        doctor_ok(r, "the limit is %" PRId64 " kB, too little, and nothing is swapped here",
                  w->memlock_limit / 1000);
    else
        doctor_warn(r, raise_limit(f),
                    "the limit is %" PRId64 " kB and the warden locks %" PRId64
                    " kB, on a machine that swaps: the fence may be late",
                    w->memlock_limit / 1000, WARDEN_LOCKS_BYTES / 1000);
}

// --- the data directory

static bool may_write(const PathFact *directory, uid_t user, gid_t group)
{
    if (user == 0)
        return true;
    const mode_t bits = directory->uid == user    ? directory->mode >> 6
                        : directory->gid == group ? directory->mode >> 3
                                                  : directory->mode;
    return (bits & 3) == 3;
}

static void check_parent(const DoctorFacts *f, DoctorReport *r)
{
    const VolumeFacts *v = &f->local.volume;
    const PathFact *of = v->data_dir.error == 0 ? &v->data_dir : NULL;
    const uid_t user = of != NULL ? of->uid : f->local.uid;
    if (v->state_dir.error == 0 && v->state_dir.uid != user)
        doctor_wrong(
            r,
            arena_printf(f->arena, "chown -R %u %s", (unsigned)user, f->settings->howdah.state_dir),
            "%s belongs to user %u, and the data directory to %u: the agent does not start",
            f->settings->howdah.state_dir, (unsigned)v->state_dir.uid, (unsigned)user);
    else if (v->state_dir.error != 0 && v->parent.error == 0 &&
             !may_write(&v->parent, user, of != NULL ? of->gid : v->parent.gid))
        doctor_wrong(r,
                     arena_printf(f->arena, "install -d -m 0700 -o %u %s", (unsigned)user,
                                  f->settings->howdah.state_dir),
                     "user %u may not write into the data directory's parent, where %s is to be",
                     (unsigned)user, f->settings->howdah.state_dir);
}

void check_data_dir(const DoctorFacts *f, DoctorReport *r)
{
    const VolumeFacts *v = &f->local.volume;
    const char *path = f->settings->postgresql.data_dir;
    const size_t before = r->count;
    if (!v->answered) {
        doctor_wrong(r, "dmesg; kubectl describe pvc: the storage, not PostgreSQL",
                     "%s: the volume does not answer", path);
        return;
    }
    check_parent(f, r);
    if (v->data_dir.error == ENOENT) {
        doctor_warn(r, NULL, "%s is not there yet: it is made by a bootstrap or a copy", path);
        return;
    }
    if (v->data_dir.error != 0) {
        doctor_wrong(r, "run it as the owner of the data directory (sudo -u)", "%s: %s", path,
                     strerror(v->data_dir.error));
        return;
    }
    const unsigned mode = (unsigned)v->data_dir.mode & 07777;
    if (!S_ISDIR(v->data_dir.mode))
        doctor_wrong(r, "postgresql.data_dir: a directory", "%s is no directory", path);
    else if ((mode & 0777) != 0700 && (mode & 0777) != 0750)
        doctor_wrong(
            r,
            arena_printf(f->arena, "chmod 0700 %s%s", path,
                         f->kube.in_pod ? "    # and fsGroupChangePolicy: OnRootMismatch" : ""),
            "%s has permissions %04o: PostgreSQL starts with 0700 and 0750 alone", path, mode);
    else if (f->kube.in_pod && v->data_dir.uid != f->local.uid)
        doctor_wrong(r, "runAsUser must be the user that made the volume's content",
                     "%s belongs to user %u, and this pod runs as %u", path,
                     (unsigned)v->data_dir.uid, (unsigned)f->local.uid);
    else if (v->data_dir.uid == 0)
        doctor_wrong(r, arena_printf(f->arena, "chown -R postgres: %s", path),
                     "%s belongs to root, as whom PostgreSQL does not run", path);
    else if (r->count == before)
        doctor_ok(r, "%s, %04o, user %u", path, mode, (unsigned)v->data_dir.uid);
}

// --- space

void check_space(const DoctorFacts *f, DoctorReport *r)
{
    enum { WRONG_PERCENT = 3, WARN_PERCENT = 10 };
    const VolumeFacts *v = &f->local.volume;
    if (!v->answered || !v->has_space || v->bytes == 0) {
        doctor_skipped(r, "the volume does not say");
        return;
    }
    const uint64_t mib = UINT64_C(1024) * 1024;
    const uint64_t percent = v->bytes_free / (v->bytes / 100 + 1);
    const uint64_t inodes = v->inodes == 0 ? 100 : v->inodes_free * 100 / v->inodes;
    const char *mend = f->kube.in_pod
                           ? "kubectl patch pvc NAME -p '{\"spec\":{\"resources\":{\"requests\":"
                             "{\"storage\":\"…\"}}}}'; and look at the slots and the archive below"
                           : "grow the volume; and look at the slots and the archive below";
    if (percent < WRONG_PERCENT || inodes < WRONG_PERCENT)
        doctor_wrong(r, mend,
                     "%" PRIu64 " of %" PRIu64 " MiB and %" PRIu64
                     " %% of the inodes are free: PostgreSQL stops when it cannot write WAL",
                     v->bytes_free / mib, v->bytes / mib, inodes);
    else if (percent < WARN_PERCENT || inodes < WARN_PERCENT)
        doctor_warn(r, mend,
                    "%" PRIu64 " of %" PRIu64 " MiB and %" PRIu64 " %% of the inodes are free",
                    v->bytes_free / mib, v->bytes / mib, inodes);
    else
        doctor_ok(r, "%" PRIu64 " of %" PRIu64 " MiB are free", v->bytes_free / mib,
                  v->bytes / mib);
}

void check_pgpass(const DoctorFacts *f, DoctorReport *r)
{
    const PathFact *file = &f->local.volume.pgpass;
    const char *path = f->settings->postgresql.pgpass;
    if (!f->local.volume.answered) {
        doctor_skipped(r, "the volume does not answer");
        return;
    }
    if (file->error == ENOENT)
        doctor_ok(r, "%s is written when it is needed", path);
    else if (file->error != 0)
        doctor_skipped(r, "%s: %s", path, strerror(file->error));
    else if ((file->mode & 077) != 0)
        doctor_wrong(r, arena_printf(f->arena, "chmod 0600 %s", path),
                     "%s can be read by others: libpq ignores it, and no standby can connect",
                     path);
    else
        doctor_ok(r, "%s, %04o", path, (unsigned)file->mode & 0777);
}
