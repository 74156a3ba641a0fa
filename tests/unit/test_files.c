#include "common/os/files.h"

#include "common/base/text.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

// Every test runs in a directory of its own, with names relative to it.
typedef struct {
    char directory[64];
    Arena *arena;
    Error err;
} World;

static int setup(void **state)
{
    World *world = calloc(1, sizeof *world);
    assert_non_null(world);
    strcpy(world->directory, "/tmp/howdah-files-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(chdir(world->directory), 0);
    world->arena = arena_new(ARENA_CAP_DEFAULT);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    World *world = *state;
    assert_int_equal(chdir("/"), 0);
    assert_true(directory_clear(world->directory, &world->err));
    assert_int_equal(rmdir(world->directory), 0);
    arena_free(world->arena);
    free(world);
    return 0;
}

static void put(const char *path, const char *content)
{
    Error err = {0};
    if (!file_write(path, content, 0600, &err))
        fail_msg("%s", err.text);
}

static const char *get(World *world, const char *path)
{
    char *content = NULL;
    if (!file_read(world->arena, path, 1 << 20, &content, &world->err))
        fail_msg("%s", world->err.text);
    return content;
}

static void test_write_replaces_whole_files(void **state)
{
    World *world = *state;
    assert_null(get(world, "a"));
    assert_null(get(world, "no/such/directory"));
    put("a", "first\n");
    assert_string_equal(get(world, "a"), "first\n");
    assert_null(get(world, "a/below-a-file"));

    // Whoever has the old one open keeps reading it: the new one is another file.
    const int old = open("a", O_RDONLY | O_CLOEXEC);
    assert_true(file_write("a", "second", 0644, &world->err));
    char content[16] = "";
    assert_int_equal(read(old, content, sizeof content), 6);
    assert_string_equal(content, "first\n");
    close(old);
    assert_string_equal(get(world, "a"), "second");

    struct stat st;
    assert_int_equal(stat("a", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(path_kind("a.howdah-tmp"), PATH_MISSING);
}

// A crash left the temporary file behind, readable by all; the secret must not go into it.
static void test_write_does_not_reuse_a_leftover(void **state)
{
    World *world = *state;
    put("a.howdah-tmp", "half a");
    assert_int_equal(chmod("a.howdah-tmp", 0666), 0);
    const int spy = open("a.howdah-tmp", O_RDONLY | O_CLOEXEC);
    put("a", "secret");
    char seen[16] = "";
    assert_int_equal(read(spy, seen, sizeof seen), 6);
    assert_string_equal(seen, "half a");
    close(spy);
    assert_string_equal(get(world, "a"), "secret");
}

static void test_write_fails_without_harm(void **state)
{
    World *world = *state;
    assert_false(file_write("no/such/file", "x", 0600, &world->err));
    assert_int_equal(world->err.kind, ERR_UNAVAILABLE);
    assert_int_equal(mkdir("d", 0700), 0);
    assert_false(file_write("d", "x", 0600, &world->err)); // a directory is in the way
    assert_int_equal(path_kind("d"), PATH_DIRECTORY);
    assert_int_equal(path_kind("d.howdah-tmp"), PATH_MISSING);
}

// The disk is full, or as here the file may not grow: the old content stands, nothing is left
// behind.
static void test_write_that_does_not_fit(void **state)
{
    World *world = *state;
    put("a", "old");
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const bool written = file_write("a", "new content", 0600, &world->err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(written);
    assert_int_equal(world->err.kind, ERR_UNAVAILABLE);
    assert_string_equal(world->err.text, "write a.howdah-tmp: File too large");
    assert_string_equal(get(world, "a"), "old");
    assert_int_equal(path_kind("a.howdah-tmp"), PATH_MISSING);
}

static void test_read_has_a_limit(void **state)
{
    World *world = *state;
    char *content = arena_alloc(world->arena, 20001);
    memset(content, 'x', 20000);
    put("a", content);
    char *out = NULL;
    assert_false(file_read(world->arena, "a", 19999, &out, &world->err));
    assert_int_equal(world->err.kind, ERR_INVALID);
    assert_null(out);
    assert_true(file_read(world->arena, "a", 20000, &out, &world->err));
    assert_string_equal(out, content);

    put("empty", "");
    assert_string_equal(get(world, "empty"), "");
    assert_non_null(get(world, "/proc/self/stat")); // whose size is 0
    assert_false(file_read(world->arena, ".", 100, &out, &world->err));
    assert_int_equal(world->err.kind, ERR_UNAVAILABLE);
}

static void test_a_fifo_holds_nobody(void **state)
{
    World *world = *state;
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_string_equal(get(world, "fifo"), "");
}

static void test_kinds(void **state)
{
    (void)state;
    put("file", "");
    assert_int_equal(mkdir("directory", 0700), 0);
    assert_int_equal(symlink("directory", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    static const struct {
        const char *path;
        PathKind kind;
    } rows[] = {{"file", PATH_FILE},          {"directory", PATH_DIRECTORY},
                {"link", PATH_DIRECTORY},     {"dangling", PATH_MISSING},
                {"file/below", PATH_MISSING}, {"nothing", PATH_MISSING},
                {"/dev/null", PATH_OTHER},    {"loop", PATH_UNREADABLE}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (path_kind(rows[i].path) != rows[i].kind)
            fail_msg("%s", rows[i].path);
}

static void test_make_and_remove(void **state)
{
    World *world = *state;
    assert_true(directory_make("x/y/z", 0700, &world->err));
    assert_true(directory_make("x/y/z", 0700, &world->err));
    assert_true(directory_make("x//y/w/", 0700, &world->err));
    assert_int_equal(path_kind("x/y/w"), PATH_DIRECTORY);
    put("file", "");
    assert_false(directory_make("file", 0700, &world->err));
    assert_int_equal(world->err.kind, ERR_INVALID);
    assert_false(directory_make("file/below", 0700, &world->err));
    assert_false(directory_make("", 0700, &world->err));

    assert_true(file_remove("file", &world->err));
    assert_true(file_remove("file", &world->err));
    assert_false(file_remove("x", &world->err));
}

static void test_emptiness(void **state)
{
    World *world = *state;
    bool empty = false;
    assert_true(directory_make("d/lost+found", 0700, &world->err));
    put("d/.snapshot", "");
    assert_true(directory_is_empty("d", &empty, &world->err));
    assert_true(empty);
    put("d/PG_VERSION", "15\n");
    assert_true(directory_is_empty("d", &empty, &world->err));
    assert_false(empty);
    assert_false(directory_is_empty("nothing", &empty, &world->err));
    assert_false(directory_is_empty("d/PG_VERSION", &empty, &world->err));
    assert_int_equal(world->err.kind, ERR_UNAVAILABLE);
}

// A tablespace outside is linked from the data directory; so is the data directory itself.
static void test_clear_does_not_follow_links(void **state)
{
    World *world = *state;
    assert_true(directory_make("outside", 0700, &world->err));
    put("outside/precious", "data");
    assert_true(directory_make("real/pg_tblspc", 0700, &world->err));
    assert_true(directory_make("real/base/1/2/3", 0700, &world->err));
    assert_true(directory_make("real/lost+found", 0700, &world->err));
    put("real/base/1/file", "x");
    put("real/.hidden", "x");
    assert_int_equal(symlink("../../outside", "real/pg_tblspc/16384"), 0);
    assert_int_equal(symlink("../outside/precious", "real/linked-file"), 0);
    assert_int_equal(symlink("nowhere", "real/dangling"), 0);
    assert_int_equal(mkfifo("real/fifo", 0600), 0);
    assert_int_equal(symlink("real", "data"), 0);

    if (!directory_clear("data", &world->err))
        fail_msg("%s", world->err.text);
    assert_string_equal(get(world, "outside/precious"), "data");
    assert_int_equal(path_kind("real/lost+found"), PATH_DIRECTORY);
    assert_int_equal(rmdir("real/lost+found"), 0);
    assert_int_equal(rmdir("real"), 0); // nothing else is left
    assert_int_equal(unlink("data"), 0);

    assert_false(directory_clear("data", &world->err));
    assert_non_null(strstr(world->err.text, "clear data: open directory data: No such file"));
}

static void test_clear_many(void **state)
{
    World *world = *state;
    assert_true(directory_make("d", 0700, &world->err));
    for (int i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/%d", i);
        const int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_true(directory_clear("d", &world->err));
    assert_int_equal(rmdir("d"), 0);
}

static void test_paths(void **state)
{
    World *world = *state;
    Arena *arena = world->arena;
    assert_string_equal(path_join(arena, "/a", "b"), "/a/b");
    assert_string_equal(path_join(arena, "/a/", "b"), "/a/b");
    assert_string_equal(path_join(arena, "/", "b"), "/b");
    assert_string_equal(path_join(arena, "", "b"), "b");
    assert_string_equal(path_join(arena, "/a", "/b"), "/b");

    static const struct {
        const char *path, *parent, *base;
    } rows[] = {
        {"/a/b", "/a", "b"}, {"/a", "/", "a"},      {"a", ".", "a"},      {"a/b", "a", "b"},
        {"/", "/", "/"},     {"/a/b/", "/a", "b/"}, {"/a//b", "/a", "b"}, {"", ".", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_string_equal(path_parent(arena, rows[i].path), rows[i].parent);
        assert_string_equal(path_base(rows[i].path), rows[i].base);
    }
}

static void test_fd_release(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int number = fd;
    fd_release(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    fd_release(&fd);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_write_replaces_whole_files),
        IN_DIRECTORY(test_write_does_not_reuse_a_leftover),
        IN_DIRECTORY(test_write_fails_without_harm),
        IN_DIRECTORY(test_write_that_does_not_fit),
        IN_DIRECTORY(test_read_has_a_limit),
        IN_DIRECTORY(test_a_fifo_holds_nobody),
        IN_DIRECTORY(test_kinds),
        IN_DIRECTORY(test_make_and_remove),
        IN_DIRECTORY(test_emptiness),
        IN_DIRECTORY(test_clear_does_not_follow_links),
        IN_DIRECTORY(test_clear_many),
        IN_DIRECTORY(test_paths),
        cmocka_unit_test(test_fd_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
