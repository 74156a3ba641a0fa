#include "agent/places.h"

#include "common/base/text.h"
#include "common/os/files.h"
#include "common/os/log.h"
#include "common/os/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool make_private(const char *path, Error *err)
{
    if (!directory_make(path, 0700, err))
        return false;
    struct stat st;
    if (stat(path, &st) != 0 || st.st_uid != geteuid())
        return error_set(err, ERR_INVALID,
                         "%s does not belong to us: howdah needs a directory of its own user",
                         path);
    return true;
}

static bool writable(const char *path)
{
    return path_kind(path) == PATH_DIRECTORY && access(path, W_OK | X_OK) == 0;
}

static bool take_lock(Arena *arena, const char *state_dir, int *out, Error *err)
{
    const char *path = path_join(arena, state_dir, "agent.lock");
    AUTO(fd_release) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, ERR_INVALID, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_CONFLICT,
                         "another agent manages this data directory: it holds %s", path);
    *out = fd;
    fd = -1;
    return true;
}

static const char *boot_id(Arena *arena)
{
    char *text = NULL;
    Error ignored = {0};
    if (!file_read(arena, "/proc/sys/kernel/random/boot_id", 64, &text, &ignored) || !text)
        return "boot-unknown";
    text[strcspn(text, "\n")] = '\0';
    return text;
}

#define POD_ID "pod-id"

static const char *read_id(Arena *arena, const char *directory)
{
    char *text = NULL;
    Error ignored = {0}; // as good as none
    if (!file_read(arena, path_join(arena, directory, POD_ID), 64, &text, &ignored) ||
        str_empty(text))
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

// What a pod shares with its warden lives as long as the pod, and so does this. Without it the pod
// that takes a force-deleted one's place, on the same node and with the same volume, would go on
// with its term while the old PostgreSQL may still run: the fence over that is the old warden's.
static bool pod_id(Arena *arena, const Places *places, const char **out, Error *err)
{
    const char *shared = path_parent(arena, places->socket);
    // The pod before this one has left it, having stopped its PostgreSQL. It can be had once, and
    // is void as soon as any agent comes after it, in the same pod too.
    const char *left = read_id(arena, places->state_dir);
    if (!file_remove(path_join(arena, places->state_dir, POD_ID), err))
        return error_wrap(err, "howdah.state_dir");
    if ((*out = read_id(arena, shared)) != NULL)
        return true;
    *out = left;
    if (*out == NULL) {
        uint64_t random[2];
        random_bytes_from_os(random, sizeof random);
        *out = arena_printf(arena, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    }
    return file_write(path_join(arena, shared, POD_ID), *out, 0600, err) ||
           error_wrap(err, "howdah.socket's directory");
}

void places_pass_on(const Places *places)
{
    if (places->pod_id == NULL)
        return;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Error err = {0};
    if (!file_write(path_join(arena, places->state_dir, POD_ID), places->pod_id, 0600, &err))
        log_warn("the next pod will wait for the lease to end error='%s'", err.text);
}

static const char *own_directory(Arena *arena)
{
    char path[512];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return ".";
    path[length] = '\0';
    return path_parent(arena, path);
}

// Beside us in a build tree, in ../lib/howdah when installed.
static const char *find_warden(Arena *arena, const Settings *settings)
{
    if (settings->howdah.warden)
        return settings->howdah.warden;
    const char *bin = own_directory(arena);
    const char *beside = path_join(arena, bin, "howdah-warden");
    if (access(beside, X_OK) == 0)
        return beside;
    return path_join(arena, path_parent(arena, bin), "lib/howdah/howdah-warden");
}

bool places_open(Arena *arena, const Settings *settings, Places *out, Error *err)
{
    const HowdahSettings *h = &settings->howdah;
    Places p = {.state_dir = h->state_dir, .lock_fd = -1};
    if (!make_private(p.state_dir, err))
        return error_wrap(err, "howdah.state_dir");
    p.run_dir = h->run_dir ? h->run_dir : writable("/run/howdah") ? "/run/howdah" : p.state_dir;
    if (path_kind(p.run_dir) == PATH_MISSING && !make_private(p.run_dir, err))
        return error_wrap(err, "howdah.run_dir");
    p.external_warden = h->socket[0] == '/';
    p.socket = p.external_warden ? h->socket : path_join(arena, p.run_dir, path_base(h->socket));
    if (strlen(p.socket) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return error_set(err, ERR_INVALID,
                         "the socket path %s is longer than %zu bytes: set howdah.%s to a shorter "
                         "one",
                         p.socket, sizeof((struct sockaddr_un *)0)->sun_path - 1,
                         p.external_warden ? "socket" : "run_dir");
    p.warden = find_warden(arena, settings);
    struct stat st;
    if (stat(p.state_dir, &st) != 0)
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", p.state_dir, strerror(errno));
    p.instance = arena_printf(arena, "%s/%lx-%lx", boot_id(arena), (unsigned long)st.st_dev,
                              (unsigned long)st.st_ino);
    AUTO(fd_release) int lock_fd = -1;
    if (!take_lock(arena, p.state_dir, &lock_fd, err))
        return false;
    if (settings->store == STORE_KUBERNETES && p.external_warden) {
        if (!pod_id(arena, &p, &p.pod_id, err))
            return false;
        p.instance = arena_printf(arena, "%s/%s", p.instance, p.pod_id);
    }
    p.lock_fd = lock_fd;
    lock_fd = -1;
    *out = p;
    return true;
}
