// howdah CONFIG.yml: the agent beside one PostgreSQL.
#include "agent/loop.h"
#include "agent/places.h"
#include "common/base/text.h"
#include "common/model/io/settings_read.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int print_and_free(Arena *arena, const char *text)
{
    fputs(text, stdout);
    arena_free(arena);
    return fflush(stdout) == 0 ? EXIT_FINE : EXIT_FAILED;
}

static int print_help(void)
{
    printf(
        "Usage: howdah [CONFIG]\n"
        "       howdah --validate-config [CONFIG]\n"
        "       howdah --generate-sample-config | --generate-settings-reference\n"
        "       howdah --help | --version\n\n"
        "The agent beside one PostgreSQL server. CONFIG is a YAML file, or a directory of them;\n"
        "without it PATRONI_CONFIGURATION, the environment or /etc/howdah/howdah.yml is read.\n\n"
        "Signals: TERM, INT  hand over, stop PostgreSQL, end\n"
        "         HUP        read the settings again\n"
        "         USR2       end, and leave PostgreSQL to the next agent (an upgrade)\n\n"
        "Settings:\n\n");
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    return print_and_free(arena, settings_help(arena));
}

// Reads and checks; every finding goes to standard error.
static bool read_settings(Arena *arena, const SettingsSource *source, const Tree **local,
                          Settings *out)
{
    SettingsNotes notes = {0};
    Error err = {0};
    const bool ok = settings_read_local(arena, source, local, &notes, &err) &&
                    settings_build(arena, *local, NULL, 0, true, 0, false, out, &notes, &err);
    for (size_t i = 0; i < notes.warnings.count; i++)
        fprintf(stderr, "%s\n", notes.warnings.items[i]);
    if (!ok && notes.warnings.count == 0)
        fprintf(stderr, "%s\n", err.text);
    return ok;
}

static int run(const SettingsSource *source)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *local = NULL;
    Settings settings;
    Places places;
    Error err = {0};
    int code = EXIT_FAILED;
    if (!read_settings(arena, source, &local, &settings)) {
        fprintf(stderr, "howdah: the settings cannot be used\n");
    } else if (geteuid() == 0) {
        fprintf(stderr, "howdah: must not run as root, because PostgreSQL will not: run it as the "
                        "owner of the data directory\n");
    } else if (!places_open(arena, &settings, &places, &err)) {
        fprintf(stderr, "howdah: %s\n", err.text);
    } else {
        const LoopOptions options = {
            .places = &places, .local = local, .source = source, .settings = &settings};
        code = loop_run(&options);
        close(places.lock_fd);
    }
    arena_free(arena);
    return code;
}

static int validate(const SettingsSource *source)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const Tree *local = NULL;
    Settings settings;
    const bool ok = read_settings(arena, source, &local, &settings);
    arena_free(arena);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

// Before any thread exists: they inherit it, and signals then arrive only through the signalfd.
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    bool only_validate = false;
    SettingsSource source = {0};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (str_eq(arg, "--help") || str_eq(arg, "-h"))
            return print_help();
        if (str_eq(arg, "--version")) {
            printf("howdah %s\n", HOWDAH_VERSION);
            return EXIT_FINE;
        }
        if (str_eq(arg, "--generate-sample-config")) {
            Arena *arena = arena_new(ARENA_CAP_DEFAULT);
            return print_and_free(arena, settings_sample_yaml(arena));
        }
        if (str_eq(arg, "--generate-settings-reference")) {
            Arena *arena = arena_new(ARENA_CAP_DEFAULT);
            return print_and_free(arena, settings_reference_markdown(arena));
        }
        if (str_eq(arg, "--validate-config")) {
            only_validate = true;
        } else if (arg[0] == '-' || source.path) {
            fprintf(stderr, "howdah: unexpected argument '%s'; see howdah --help\n", arg);
            return EXIT_USAGE;
        } else {
            source.path = arg;
        }
    }
    if (only_validate)
        return validate(&source);
    block_signals();
    umask(077);
    return run(&source);
}
