// What every command of howdahctl is handed: the options, the settings, and the ways to the
// cluster.
//
// A command returns false with the error to be printed as "Error: …" (exit 1). What a member's REST
// API refuses is no error: it is printed where it happens and noted in rest_failed.
#pragma once
#include "common/model/settings.h"
#include "common/os/clock.h"
#include "common/os/http.h"
#include "common/os/resolver.h"
#include "ctl/options.h"
#include "dcs/open.h"

struct Ctl {
    Arena *arena;   // of a round of --watch; of the whole command otherwise
    Arena *session; // of the whole command
    Clock *clock;
    const char *program; // "howdahctl", or "patronictl" when called by that name
    bool as_patronictl;  // a REST failure then exits 0
    // --- how to reach the cluster; filled by ctl_open
    const char *api_url;    // of the one member to go through; NULL: over the store
    const char *api_member; // the name of that member, once it has been read
    const char *namespace;
    Settings settings; // all zero when nothing but --api was given
    bool has_settings;
    Resolver *resolver;
    Http *http;
    Store store; // of the cluster last asked for
    const char *store_scope;
    // --- what came of it
    bool rest_failed; // a member refused, or did not answer
    bool aborted;     // end of input at a prompt: "Aborted!" instead of an error
    bool found_wrong; // doctor has found something
};

// One file a group of commands; main.c has the table.
CommandRun run_list, run_topology, run_history;     // list.c
CommandRun run_switchover, run_failover;            // switchover.c
CommandRun run_restart, run_reload;                 // restart.c
CommandRun run_flush;                               // flush.c
CommandRun run_reinit;                              // reinit.c
CommandRun run_pause, run_resume;                   // pause.c
CommandRun run_show_config, run_edit_config;        // config.c
CommandRun run_dsn, run_query;                      // query.c
CommandRun run_version;                             // version.c
CommandRun run_remove;                              // remove.c
CommandRun run_demote_cluster, run_promote_cluster; // standby.c
CommandRun run_explain;                             // explain.c
CommandRun run_doctor;                              // doctor.c

// Notes that a member refused; always returns true, so that a command can end with it.
bool ctl_rest_failed(Ctl *ctl);
// Sleeps; for polls and --watch.
void ctl_sleep(int64_t ms);
