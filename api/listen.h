// The listening socket.
#pragma once
#include "common/model/settings.h"
#include "common/os/resolver.h"

// Host NULL, "" or "*": every address, IPv6 and IPv4 through one socket where the system can.
// A name is resolved by the deadline. ERR_UNAVAILABLE: the address is taken,
// or not ours, or its name is not known; *in_use tells the first apart.
bool listen_open(const Address *address, Resolver *resolver, Deadline deadline, int *out_fd,
                 bool *in_use, Error *err) MUST_CHECK;
