// What we show in a TLS handshake, and what we ask of the other side: our certificate and key, and
// the authorities client certificates are verified against. Immutable and counted: connections keep
// the one they began with when the files change.
#pragma once
#include "common/base/error.h"
#include "common/model/settings.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

typedef struct Identity Identity;

// Reads the files. ERR_INVALID: they cannot be used; ERR_UNAVAILABLE: they cannot be read.
bool identity_load(const RestSettings *settings, Identity **out, Error *err) MUST_CHECK;
Identity *identity_ref(Identity *identity);
void identity_unref(Identity *identity);    // accepts NULL
void identity_release(Identity **identity); // for AUTO
// The files held the same when both were read.
bool identity_equal(const Identity *a, const Identity *b);

// To be called from the handshake's certificate callback: gives out our certificate and sets up
// what is asked of the client. The identity must outlive the session.
int identity_serve(Identity *identity, gnutls_session_t session, gnutls_pcert_st **certificates,
                   unsigned int *count, gnutls_privkey_t *key);
// The client has shown a certificate; the handshake would have failed, had it been a bad one.
bool identity_has_client(gnutls_session_t session);
