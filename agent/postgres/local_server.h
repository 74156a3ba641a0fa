// The real local server: PostgreSQL under the warden, spoken to over libpq, its files written by
// one disk thread, which also runs the tasks. See server.h for what the turn may expect.
#pragma once
#include "agent/postgres/server.h"
#include "common/os/clock.h"
#include "common/os/processes.h"
#include "common/os/resolver.h"

typedef struct {
    Processes *processes;
    Clock *clock;
    Resolver *resolver;
    const Settings *settings;       // copied; so are those of configure()
    const char *const *environment; // of the children; NULL: our own. Scrubbed either way
} LocalServerOptions;

// Starts the disk thread. Begin with TASK_INSPECT: until then nothing is known of the directory.
Server *local_server_new(const LocalServerOptions *options);

// Parameters the agent itself wants in postgresql.conf, over whatever the user says
// (synchronous_standby_names); a null value takes one away. NULL: none. Takes effect with the next
// task that writes the files (TASK_RELOAD).
void local_server_set_parameters(Server *server, const Tree *parameters);
