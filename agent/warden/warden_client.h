// The agent's side of the warden: the Processes table of common/os/processes.h over its socket.
//
// A thread of its own reads the socket and keeps the WardenView; calls send and wait for the
// answer. A warden that goes away shows as view.connected == false; warden_client_connect then
// attaches to the next one. Once a newer agent has attached, view.replaced stays true and nothing
// reconnects.
#pragma once
#include "common/os/clock.h"
#include "common/os/processes.h"

#include <stdint.h>

// The status of an adopted postmaster that was nobody's we could ask: neither WIFEXITED nor
// WIFSIGNALED.
#define CHILD_STATUS_UNKNOWN (-1)

// Not connected yet. The clock must be CLOCK_BOOTTIME's: the warden counts by it.
Processes *warden_client_new(const char *socket_path, Clock *clock);
void warden_client_free(Processes *processes);     // accepts NULL; the warden stays
void warden_client_release(Processes **processes); // for AUTO

// Attaches, opening a new epoch; fine while attached. ERR_UNAVAILABLE: nobody there, or no answer.
// ERR_CONFLICT: replaced by a newer agent. ERR_INVALID: that is no warden.
bool warden_client_connect(Processes *processes, Deadline deadline, Error *err) MUST_CHECK;

// Sent along with each fence, for the warden refuses a deadline further ahead than a ttl. Must be
// called before the first fence, and when the ttl changes.
void warden_client_set_ttl(Processes *processes, int64_t ttl_ms);

// Readable (an eventfd: read 8 bytes to clear it) when the view has changed by itself: a child has
// exited, the fence has struck, processes that remained are gone, `terminating`, disconnected,
// replaced. Not for what our own calls changed. Belongs to the client.
int warden_client_event_fd(const Processes *processes);

// Starts the program howdah-warden as nobody's child, in a session of its own, writing its log to
// log_fd, and waits until it accepts connections. Where one listens already this succeeds too: two
// never serve one socket. Standard input is /dev/null; no other descriptor is handed on.
// ERR_UNAVAILABLE: it could not be started, or did not listen in time; its log says why.
bool warden_start_detached(const char *program, const char *socket_path, const char *data_dir,
                           int log_fd, Deadline deadline, Error *err) MUST_CHECK;
