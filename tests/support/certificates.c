#include "tests/support/certificates.h"

#include "common/base/attributes.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct Authority {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t cert;
};

static void must(int code)
{
    if (code >= 0)
        return;
    fprintf(stderr, "gnutls: %s\n", gnutls_strerror(code));
    abort();
}

static void write_file(const char *name, const gnutls_datum_t *content)
{
    FILE *file = fopen(name, "we");
    ASSERT(file != NULL);
    ASSERT(fwrite(content->data, 1, content->size, file) == content->size);
    ASSERT(fclose(file) == 0);
}

static gnutls_x509_privkey_t new_key(void)
{
    gnutls_x509_privkey_t key;
    must(gnutls_x509_privkey_init(&key));
    must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    return key;
}

static gnutls_x509_crt_t new_cert(const char *name, gnutls_x509_privkey_t key)
{
    static unsigned char serial = 1;
    gnutls_x509_crt_t cert;
    must(gnutls_x509_crt_init(&cert));
    must(gnutls_x509_crt_set_version(cert, 3));
    must(gnutls_x509_crt_set_serial(cert, &serial, 1));
    serial++;
    must(gnutls_x509_crt_set_activation_time(cert, time(NULL) - 60));
    must(gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 3600));
    must(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                       (unsigned)strlen(name)));
    must(gnutls_x509_crt_set_key(cert, key));
    return cert;
}

Authority *authority_new(const char *name)
{
    Authority *authority = calloc(1, sizeof *authority);
    ASSERT(authority != NULL);
    authority->key = new_key();
    authority->cert = new_cert(name, authority->key);
    must(gnutls_x509_crt_set_basic_constraints(authority->cert, 1, -1));
    must(gnutls_x509_crt_set_key_usage(authority->cert, GNUTLS_KEY_KEY_CERT_SIGN));
    must(gnutls_x509_crt_sign2(authority->cert, authority->cert, authority->key, GNUTLS_DIG_SHA256,
                               0));
    return authority;
}

void authority_free(Authority *authority)
{
    gnutls_x509_crt_deinit(authority->cert);
    gnutls_x509_privkey_deinit(authority->key);
    free(authority);
}

static void write_cert(gnutls_x509_crt_t cert, const char *cert_file)
{
    gnutls_datum_t pem;
    must(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem));
    write_file(cert_file, &pem);
    gnutls_free(pem.data);
}

void authority_write(const Authority *authority, const char *cert_file)
{
    write_cert(authority->cert, cert_file);
}

static void set_alternative_name(gnutls_x509_crt_t cert, const char *name)
{
    struct in_addr address;
    if (inet_pton(AF_INET, name, &address) == 1)
        must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, &address,
                                                  sizeof address, GNUTLS_FSAN_SET));
    else
        must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name,
                                                  (unsigned)strlen(name), GNUTLS_FSAN_SET));
}

static void write_key(gnutls_x509_privkey_t key, const char *password, const char *key_file)
{
    gnutls_datum_t pem;
    must(gnutls_x509_privkey_export2_pkcs8(
        key, GNUTLS_X509_FMT_PEM, password,
        password == NULL ? GNUTLS_PKCS_PLAIN : GNUTLS_PKCS_PBES2_AES_256, &pem));
    write_file(key_file, &pem);
    gnutls_free(pem.data);
}

void authority_sign(const Authority *authority, const char *name, const char *password,
                    const char *cert_file, const char *key_file)
{
    gnutls_x509_privkey_t key = new_key();
    gnutls_x509_crt_t cert = new_cert(name, key);
    set_alternative_name(cert, name);
    must(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
    must(gnutls_x509_crt_sign2(cert, authority->cert, authority->key, GNUTLS_DIG_SHA256, 0));
    write_cert(cert, cert_file);
    write_key(key, password, key_file);
    gnutls_x509_crt_deinit(cert);
    gnutls_x509_privkey_deinit(key);
}
