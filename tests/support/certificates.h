// Certificates for tests, as PEM files: an authority and what it signs. They are valid for an hour.
#pragma once
#include <stdbool.h>

typedef struct Authority Authority;

Authority *authority_new(const char *name);
void authority_free(Authority *authority);
void authority_write(const Authority *authority, const char *cert_file);
// name goes into CN, and as a DNS name or address into the alternative names. The key is encrypted
// if there is a password.
void authority_sign(const Authority *authority, const char *name, const char *password,
                    const char *cert_file, const char *key_file);
