// howdahctl: patronictl's verbs and output, over the store or over any member's REST API.
//
// Exit status (docs/howdahctl.md): 0 done, 1 failed, 2 wrong usage, or a doctor that could not
// work. Called as patronictl, a member's refusal exits 0 as it does there.
#include "ctl/commands.h"
#include "ctl/connect.h"

#include "common/os/files.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static bool print_information(const CommandLine *line, Arena *arena, const Args *args)
{
    if (args_has(args, OPT_HELP))
        fputs(options_help(line, arena, args->command), stdout);
    else if (args_has(args, OPT_VERSION))
        printf("%s %s\n", line->program, HOWDAH_VERSION);
    else
        return false;
    return true;
}

static int run_command(Ctl *ctl, const Args *args)
{
    Error err = {0};
    const bool ok = ctl_open(ctl, args, &err) && args->command->run(ctl, args, &err);
    ctl_close(ctl);
    fflush(stdout);
    if (ok && ctl->found_wrong)
        return EXIT_FAILED;
    if (ok)
        return ctl->rest_failed && !ctl->as_patronictl ? EXIT_FAILED : EXIT_DONE;
    if (ctl->aborted)
        fputs("Aborted!\n", stderr);
    else
        fprintf(stderr, "Error: %s\n", err.text);
    return args->command->error_status != 0 ? args->command->error_status : EXIT_FAILED;
}

int main(int argc, char *argv[])
{
    // Widths of characters beyond ASCII; everything we read and write is UTF-8, whatever LANG says.
    (void)setlocale(LC_CTYPE, "C.UTF-8"); // without it such characters count as their bytes
    tzset();
    signal(SIGPIPE, SIG_IGN); // a member that hangs up is an error, not our end

    const char *called = argc > 0 ? path_base(argv[0]) : "howdahctl";
    const bool as_patronictl = str_eq(called, "patronictl");
    const CommandLine line = command_line(as_patronictl ? called : "howdahctl");
    AUTO(arena_release) Arena *session = arena_new(ARENA_CAP_DEFAULT);
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    Args args;
    const char *problem;
    if (!options_parse(&line, session, argc, argv, &args, &problem)) {
        fputs(problem, stderr);
        return EXIT_USAGE;
    }
    if (print_information(&line, session, &args))
        return EXIT_DONE;
    Ctl ctl = {.arena = arena,
               .session = session,
               .clock = clock_system(),
               .program = line.program,
               .as_patronictl = as_patronictl};
    return run_command(&ctl, &args);
}
