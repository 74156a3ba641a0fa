// --install DIR: what the Postgres container of a pod finds in a directory that it shares with the
// agent's image: this very program, and a passwd and a group that know the user it runs as, whoever
// that is today. PostgreSQL's programs refuse a user without a name.
#include "agent/warden/warden.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_CHUNK   16384
#define ACCOUNT_SIZE 256

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t done = write(fd, bytes, size);
        if (done < 0)
            return false;
        bytes += done;
        size -= (size_t)done;
    }
    return true;
}

static bool copy_all(int from, int to)
{
    char chunk[COPY_CHUNK];
    ssize_t got;
    while ((got = read(from, chunk, sizeof chunk)) > 0) {
        if (!write_all(to, chunk, (size_t)got))
            return false;
    }
    return got == 0;
}

static bool install_failed(const char *path)
{
    (void)fprintf(stderr, "howdah-warden: --install: %s: %s\n", path, strerror(errno));
    return false;
}

// Under another name first: the one that is there may be running, or mounted.
static bool install_file(const char *dir, const char *name, mode_t mode, int from, const char *text)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(temporary, sizeof temporary, "%s/.%s.new", dir, name);
    (void)unlink(temporary); // of an installation that was interrupted
    const int to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (to < 0)
        return install_failed(temporary);
    const bool written = (text ? write_all(to, text, strlen(text)) : copy_all(from, to)) &&
                         fchmod(to, mode) == 0; // whatever the umask
    const int error = errno;
    if (close(to) == 0 && written && rename(temporary, path) == 0)
        return true;
    if (!written)
        errno = error;
    (void)install_failed(path);
    (void)unlink(temporary);
    return false;
}

int install(const char *dir)
{
    char passwd[ACCOUNT_SIZE], group[ACCOUNT_SIZE] = "root:x:0:\n";
    const unsigned uid = geteuid(), gid = getegid();
    if (dir[0] != '/' || strlen(dir) > PATH_MAX - 32) {
        (void)fprintf(stderr, "howdah-warden: --install wants an absolute path, not '%s'\n", dir);
        return EXIT_USAGE;
    }
    if (uid == 0) {
        (void)fprintf(stderr, "howdah-warden: --install: run it as the user that PostgreSQL will "
                              "have, which is not root\n");
        return EXIT_USAGE;
    }
    (void)snprintf(passwd, sizeof passwd,
                   "root:x:0:0:root:/:/sbin/nologin\n"
                   "postgres:x:%u:%u:PostgreSQL:/:/bin/sh\n",
                   uid, gid);
    if (gid != 0) // a random user, as OpenShift chooses them, has the group root
        (void)snprintf(group, sizeof group, "root:x:0:\npostgres:x:%u:\n", gid);

    const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0) {
        (void)install_failed("/proc/self/exe");
        return 1;
    }
    const bool done = install_file(dir, "passwd", 0644, -1, passwd) &&
                      install_file(dir, "group", 0644, -1, group) &&
                      install_file(dir, "howdah-warden", 0755, self, NULL);
    (void)close(self);
    return done ? 0 : 1;
}
