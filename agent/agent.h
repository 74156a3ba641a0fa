// One member's agent: observe, decide, act, once per turn. All I/O goes through World, so that the
// simulator runs this very code. One thread owns an Agent; agent_snapshot and agent_submit may be
// called from any.
#pragma once
#include "agent/peers.h"
#include "agent/positions.h"
#include "agent/postgres/server.h"
#include "api/api.h"
#include "common/model/snapshot.h"
#include "common/os/clock.h"
#include "common/os/processes.h"
#include "common/os/random.h"
#include "dcs/announce.h"
#include "dcs/dcs.h"

typedef struct {
    Clock *clock;
    Rng *rng;
    Dcs *dcs;
    Processes *processes;
    Server *server;
    Peers *peers;
    Positions *positions; // NULL: the members' records have them
    Announcer *announcer; // NULL: there is nobody to announce to
    // One line of the ledger, to be kept; NULL: nowhere. Never blocks.
    void (*keep)(void *context, const char *line);
    void *keep_context;
    // api_complete, or what the simulator puts in its place.
    void (*complete)(ApiRequest *request, int status, const char *content_type, const char *body);
} World;

typedef struct Agent Agent;

typedef struct {
    const Tree *local;    // the local settings document; copied
    const char *instance; // boot id and data directory; copied
} AgentOptions;

// ERR_INVALID: the settings; every finding has been logged.
bool agent_new(const World *world, const AgentOptions *options, Agent **out, Error *err) MUST_CHECK;
void agent_free(Agent *agent);

// One wake-up: up to four passes while facts change. Returns when the next must come at the latest.
Instant agent_turn(Agent *agent);
// The agent has ended; the process is to exit with *exit_code.
bool agent_ended(const Agent *agent, int *exit_code);
// Told to stop: hand over, stop PostgreSQL, end.
void agent_shutdown(Agent *agent);
// End without touching PostgreSQL, fence or lease (SIGUSR2, and an agent restart in a pod).
void agent_leave(Agent *agent);
// New local settings. On error the old ones stay.
bool agent_reload(Agent *agent, const Tree *local, Error *err) MUST_CHECK;
const Settings *agent_settings(const Agent *agent);
// A reference to what the last turn published; NULL before the first.
Snapshot *agent_snapshot(Agent *agent);
// Hands a request over; the caller then wakes the turn.
void agent_submit(Agent *agent, ApiRequest *request);
// Set when a new Settings is in force since the last call (the API then configures itself).
bool agent_take_settings_changed(Agent *agent);
