#include "api/identity.h"

#include "common/os/files.h"

#include <gnutls/x509.h>
#include <string.h>

enum { CHAIN_MAX = 16, FILE_LIMIT_BYTES = 1024 * 1024 };

struct Identity {
    int refs; // atomic
    Arena *arena;
    bool client_required;
    const char *cert_text, *key_text, *ca_text; // as read; ca_text NULL: none
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_length;
    gnutls_privkey_t key;
    gnutls_x509_trust_list_t authorities; // NULL: none
};

static bool fails(int code, const char *setting, const char *path, Error *err)
{
    if (code >= 0)
        return false;
    error_set(err, ERR_INVALID, "restapi.%s: %s: %s", setting, path, gnutls_strerror(code));
    return true;
}

static gnutls_datum_t datum(const char *text)
{
    // GnuTLS only reads it.
    return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text,
                            .size = (unsigned)strlen(text)};
}

static bool read_text(Arena *arena, const char *setting, const char *path, const char **out,
                      Error *err)
{
    char *text;
    if (!file_read(arena, path, FILE_LIMIT_BYTES, &text, err))
        return error_wrap(err, "restapi.%s", setting);
    if (text == NULL)
        return error_set(err, ERR_INVALID, "restapi.%s: there is no file %s", setting, path);
    *out = text;
    return true;
}

static bool load_chain(Identity *id, const RestSettings *s, Error *err)
{
    if (!read_text(id->arena, "certfile", s->certfile, &id->cert_text, err))
        return false;
    const gnutls_datum_t pem = datum(id->cert_text);
    unsigned count = CHAIN_MAX;
    if (fails(gnutls_pcert_list_import_x509_raw(id->chain, &count, &pem, GNUTLS_X509_FMT_PEM, 0),
              "certfile", s->certfile, err))
        return false;
    id->chain_length = count;
    return true;
}

// Without a keyfile the key stands in the certificate's file.
static bool load_key(Identity *id, const RestSettings *s, Error *err)
{
    const char *path = s->keyfile != NULL ? s->keyfile : s->certfile;
    if (!read_text(id->arena, "keyfile", path, &id->key_text, err))
        return false;
    const gnutls_datum_t pem = datum(id->key_text);
    return !fails(gnutls_privkey_init(&id->key), "keyfile", path, err) &&
           !fails(gnutls_privkey_import_x509_raw(id->key, &pem, GNUTLS_X509_FMT_PEM,
                                                 secret_reveal(s->keyfile_password), 0),
                  "keyfile", path, err);
}

// While files are being replaced one by one, certificate and key may not belong together.
static bool check_pair(const Identity *id, const RestSettings *s, Error *err)
{
    unsigned char of_key[64], of_cert[64];
    size_t key_size = sizeof of_key, cert_size = sizeof of_cert;
    gnutls_pubkey_t public_key;
    if (fails(gnutls_pubkey_init(&public_key), "keyfile", s->certfile, err))
        return false;
    const int code = gnutls_pubkey_import_privkey(public_key, id->key, 0, 0);
    const bool same =
        code >= 0 &&
        gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) >= 0 &&
        gnutls_pubkey_get_key_id(id->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_cert,
                                 &cert_size) >= 0 &&
        key_size == cert_size && memcmp(of_key, of_cert, key_size) == 0;
    gnutls_pubkey_deinit(public_key);
    return same || error_set(err, ERR_INVALID, "restapi.keyfile: the key does not belong to %s",
                             s->certfile);
}

static bool load_authorities(Identity *id, const RestSettings *s, Error *err)
{
    if (s->verify_client == VERIFY_CLIENT_NONE || s->cafile == NULL)
        return true;
    if (!read_text(id->arena, "cafile", s->cafile, &id->ca_text, err))
        return false;
    const gnutls_datum_t pem = datum(id->ca_text);
    if (fails(gnutls_x509_trust_list_init(&id->authorities, 0), "cafile", s->cafile, err))
        return false;
    const int added = gnutls_x509_trust_list_add_trust_mem(id->authorities, &pem, NULL,
                                                           GNUTLS_X509_FMT_PEM, 0, 0);
    if (added == 0)
        return error_set(err, ERR_INVALID, "restapi.cafile: %s holds no certificate", s->cafile);
    return !fails(added, "cafile", s->cafile, err);
}

bool identity_load(const RestSettings *settings, Identity **out, Error *err)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    AUTO(identity_release) Identity *id = ARENA_NEW(arena, Identity);
    id->arena = arena;
    id->refs = 1;
    id->client_required = settings->verify_client == VERIFY_CLIENT_REQUIRED;
    if (!load_chain(id, settings, err) || !load_key(id, settings, err) ||
        !check_pair(id, settings, err) || !load_authorities(id, settings, err))
        return false;
    *out = TAKE(id);
    return true;
}

Identity *identity_ref(Identity *identity)
{
    (void)__atomic_add_fetch(&identity->refs, 1, __ATOMIC_RELAXED); // nobody needs the count
    return identity;
}

void identity_unref(Identity *identity)
{
    if (identity == NULL || __atomic_sub_fetch(&identity->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (unsigned i = 0; i < identity->chain_length; i++)
        gnutls_pcert_deinit(&identity->chain[i]);
    if (identity->key != NULL)
        gnutls_privkey_deinit(identity->key);
    if (identity->authorities != NULL)
        gnutls_x509_trust_list_deinit(identity->authorities, 1);
    arena_free(identity->arena);
}

void identity_release(Identity **identity)
{
    identity_unref(*identity);
    *identity = NULL;
}

bool identity_equal(const Identity *a, const Identity *b)
{
    return str_eq(a->cert_text, b->cert_text) && str_eq(a->key_text, b->key_text) &&
           str_eq(a->ca_text, b->ca_text);
}

// --- the handshake

static bool is_trusted(const Identity *id, const gnutls_datum_t *raw, unsigned count)
{
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned ready = 0;
    unsigned status = GNUTLS_CERT_INVALID;
    bool readable = count <= CHAIN_MAX;
    while (readable && ready < count) {
        readable = gnutls_x509_crt_init(&chain[ready]) >= 0;
        if (readable)
            readable = gnutls_x509_crt_import(chain[ready++], raw, GNUTLS_X509_FMT_DER) >= 0;
        raw++;
    }
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    if (readable && gnutls_x509_trust_list_verify_crt2(id->authorities, chain, count, &purpose, 1,
                                                       0, &status, NULL) < 0)
        status = GNUTLS_CERT_INVALID;
    for (unsigned i = 0; i < ready; i++)
        gnutls_x509_crt_deinit(chain[i]);
    return status == 0;
}

// Not 0: the handshake fails. Whether a certificate must come at all is GnuTLS's to enforce.
static int verify_client(gnutls_session_t session)
{
    unsigned count = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &count);
    if (raw == NULL || count == 0)
        return 0;
    const Identity *id = gnutls_db_get_ptr(session);
    return id != NULL && is_trusted(id, raw, count) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

int identity_serve(Identity *identity, gnutls_session_t session, gnutls_pcert_st **certificates,
                   unsigned int *count, gnutls_privkey_t *key)
{
    *certificates = identity->chain;
    *count = identity->chain_length;
    *key = identity->key;
    if (identity->authorities == NULL)
        return 0;
    // libmicrohttpd owns the session's pointer; we keep no session database, so its pointer is
    // free.
    gnutls_db_set_ptr(session, identity);
    gnutls_session_set_verify_function(session, verify_client);
    gnutls_certificate_server_set_request(session, identity->client_required ? GNUTLS_CERT_REQUIRE
                                                                             : GNUTLS_CERT_REQUEST);
    return 0;
}

bool identity_has_client(gnutls_session_t session)
{
    unsigned count = 0;
    return session != NULL && gnutls_certificate_get_peers(session, &count) != NULL && count > 0;
}
