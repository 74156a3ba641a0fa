#include "ctl/editor.h"

#include "common/os/files.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_LIMIT = 8 * 1024 * 1024 };

static void remove_file(const char **path)
{
    if (*path != NULL)
        (void)unlink(*path); // a stray file in /tmp harms nobody
}

static bool in_path(Arena *arena, const char *program)
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        const size_t length = strcspn(path, ":");
        const char *file = arena_printf(arena, "%.*s/%s", (int)length, path, program);
        if (access(file, X_OK) == 0)
            return true;
        path += length + (path[length] == ':' ? 1 : 0);
    }
    return false;
}

static const char *editor_of(Arena *arena)
{
    const char *named = getenv("EDITOR");
    if (!str_empty(named))
        return named;
    return in_path(arena, "editor") ? "editor" : in_path(arena, "vi") ? "vi" : NULL;
}

static bool write_temporary(Arena *arena, const char *name, const char *text, const char **out,
                            Error *err)
{
    char *base = arena_strdup(arena, name);
    for (char *c = base; *c != '\0'; c++)
        if (*c == '/')
            *c = '_';
    char *path =
        arena_printf(arena, "%s/%s-config-XXXXXX.yaml", str_or(getenv("TMPDIR"), "/tmp"), base);
    AUTO(fd_release) int fd = mkstemps(path, (int)strlen(".yaml"));
    if (fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "create %s: %s", path, strerror(errno));
    for (size_t done = 0, length = strlen(text); done < length;) {
        const ssize_t written = write(fd, text + done, length - done);
        if (written <= 0) {
            const int code = errno;
            (void)unlink(path); // half a configuration is of no use
            return error_set(err, ERR_UNAVAILABLE, "write %s: %s", path, strerror(code));
        }
        done += (size_t)written;
    }
    *out = path;
    return true;
}

// Through the shell, so that EDITOR may have arguments.
static bool run_editor(Arena *arena, const char *editor, const char *path, Error *err)
{
    char *argv[] = {arena_strdup(arena, "sh"),
                    arena_strdup(arena, "-c"),
                    arena_printf(arena, "%s \"$1\"", editor),
                    arena_strdup(arena, "sh"),
                    arena_strdup(arena, path),
                    NULL};
    pid_t pid;
    int status;
    const int code = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
    if (code != 0)
        return error_set(err, ERR_UNAVAILABLE, "run %s: %s", editor, strerror(code));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, ERR_UNAVAILABLE, "wait for %s: %s", editor, strerror(errno));
    if (status == 0)
        return true;
    return error_set(err, ERR_INVALID, "Editor exited with return code %d",
                     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

bool editor_run(Arena *arena, const char *name, const char *text, const char **out, Error *err)
{
    const char *editor = editor_of(arena);
    if (editor == NULL)
        return error_set(err, ERR_INVALID,
                         "EDITOR environment variable is not set. editor or vi are not available");
    AUTO(remove_file) const char *path = NULL;
    char *edited = NULL;
    if (!write_temporary(arena, name, text, &path, err) || !run_editor(arena, editor, path, err) ||
        !file_read(arena, path, TEXT_LIMIT, &edited, err))
        return false;
    *out = edited != NULL ? edited : "";
    return true;
}
