// Asking the other members how far they are (GET api_url). Real over HTTP, or the simulator's.
#pragma once
#include "common/model/cluster.h"
#include "common/model/peer.h"
#include "common/model/settings.h"
#include "common/os/resolver.h"

typedef struct {
    const char *name, *api_url;
} PeerTarget;

typedef struct Peers Peers;

typedef struct {
    // Fills answers[i] for targets[i], all in parallel; who does not answer by the deadline is not
    // reachable. Never fails.
    void (*ask)(Peers *, Arena *, const PeerTarget *targets, size_t count, Deadline,
                PeerAnswer *answers);
    void (*free)(Peers *);
} PeersOps;

struct Peers {
    const PeersOps *ops; // first member of every implementation's own struct
};

Peers *peers_new(Resolver *resolver, const Settings *settings);
// Reads the body of a status document (docs/rest.md, "Looking"). False: it is none, and error says
// why.
bool peer_parse(Arena *arena, const char *body, PeerAnswer *out, Error *err) MUST_CHECK;
