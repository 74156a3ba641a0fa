// Who may change something over REST (docs/rest.md): allowlist, client certificate, basic auth, in
// this order. A Policy is what the settings say, made ready; immutable and counted, so that
// requests under way keep the one they began with.
#pragma once
#include "common/model/cluster.h"
#include "common/model/settings.h"
#include "common/os/resolver.h"

#include <sys/socket.h>

typedef struct {
    uint8_t
        address[16]; // IPv4 as ::ffff:a.b.c.d, so that a dual-stack listener makes no difference
    int prefix_bits;
} Network;

typedef struct {
    const char *name, *value;
} ExtraHeader;

typedef struct Policy Policy;

struct Policy {
    int refs; // atomic
    Arena *arena;
    RestSettings settings; // our own copy
    bool tls;
    const Network *networks; // of the allowlist
    size_t network_count;
    StringList names;          // of the allowlist: hosts to be resolved
    const char *authorization; // the one header value let in; NULL: none is asked for
    const ExtraHeader *headers;
    size_t header_count;
};

// ERR_INVALID names what is wrong in the settings.
bool policy_new(const RestSettings *settings, Policy **out, Error *err) MUST_CHECK;
Policy *policy_ref(Policy *policy);
void policy_unref(Policy *policy);    // accepts NULL
void policy_release(Policy **policy); // for AUTO

typedef struct {
    const struct sockaddr *peer;
    const char *authorization;  // header value; NULL: none came
    bool client_certificate;    // one came, and was verified in the handshake
    bool failsafe;              // POST /failsafe: membership opens no door and closes none
    const ClusterView *cluster; // NULL: not known
} AccessRequest;

typedef struct {
    int status; // 0: let in
    const char *text;
} Refusal;

Refusal access_check(const Policy *policy, Resolver *resolver, const AccessRequest *request);
