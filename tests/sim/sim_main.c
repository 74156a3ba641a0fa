// The program `sim`: runs seeds, or replays one.
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    uint64_t from, to;
    int members;
    int64_t seconds;
    double hours;
    bool trace, help;
} Arguments;

static const char usage[] =
    "usage: sim [--seed N | --seeds FROM:TO | --hours H] [--members N] [--seconds S] [--trace]\n"
    "\n"
    "Runs a simulated cluster from each seed: random faults for S seconds of its time, then none,\n"
    "and then it must settle. A broken invariant ends the program with seed and trace.\n"
    "\n"
    "  --seed N         that seed alone\n"
    "  --seeds FROM:TO  all from FROM to TO (1:100 without any of these)\n"
    "  --hours H        seeds from the clock on, for H hours\n"
    "  --members N      members of the cluster; without it the seed says\n"
    "  --seconds S      simulated seconds with faults; without it the seed says\n"
    "  --trace          every event as it happens\n";

static bool number(const char *text, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return end != text && *end == '\0';
}

static bool take_value(Arguments *a, const char *name, const char *value)
{
    uint64_t n = 0;
    char *end;
    if (strcmp(name, "--seeds") == 0) {
        a->from = strtoull(value, &end, 10);
        return end != value && *end == ':' && number(end + 1, &a->to) && a->from <= a->to;
    }
    if (strcmp(name, "--hours") == 0) {
        a->hours = strtod(value, &end);
        return end != value && *end == '\0' && a->hours > 0;
    }
    if (!number(value, &n))
        return false;
    if (strcmp(name, "--seed") == 0)
        a->from = a->to = n;
    else if (strcmp(name, "--members") == 0 && n >= 1 && n <= MEMBERS_MAX)
        a->members = (int)n;
    else if (strcmp(name, "--seconds") == 0 && n <= 1000000)
        a->seconds = (int64_t)n;
    else
        return false;
    return true;
}

static bool parse(int argc, char **argv, Arguments *a)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0)
            a->trace = true;
        else if (strcmp(argv[i], "--help") == 0)
            a->help = true;
        else if (i + 1 >= argc || !take_value(a, argv[i], argv[i + 1]))
            return false;
        else
            i++;
    }
    return true;
}

int main(int argc, char **argv)
{
    Arguments a = {.from = 1, .to = 100};
    if (!parse(argc, argv, &a) || a.help) {
        fputs(usage, a.help ? stdout : stderr);
        return a.help ? 0 : 2;
    }
    sim_report_on_crash();
    const time_t began = time(NULL);
    if (a.hours > 0) {
        a.from = (uint64_t)began * 1000000;
        a.to = UINT64_MAX;
    }
    uint64_t runs = 0;
    for (uint64_t seed = a.from; seed <= a.to && seed >= a.from; seed++, runs++) {
        if (a.hours > 0 && difftime(time(NULL), began) > a.hours * 3600)
            break;
        if (!sim_run_seed(seed, a.members, a.seconds, a.trace))
            return 1;
    }
    printf("%llu seeds from %llu on: no invariant broken, all settled\n", (unsigned long long)runs,
           (unsigned long long)a.from);
    return 0;
}
