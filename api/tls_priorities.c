// restapi.ciphers is written for OpenSSL, as Patroni takes it: a list of suites by OpenSSL's names.
// GnuTLS wants one priority string. A list is translated part by part: what it names is allowed, in
// the order of its first mention. A GnuTLS priority string is taken as it is.
#include "api/server.h"
#include "common/os/log.h"

#include <string.h>

static const char default_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

typedef struct {
    const char *openssl, *gnutls;
} Part;

static const Part exchanges[] = {{"ECDHE-ECDSA-", "+ECDHE-ECDSA"},
                                 {"ECDHE-RSA-", "+ECDHE-RSA"},
                                 {"DHE-RSA-", "+DHE-RSA"},
                                 {"", "+RSA"}}; // OpenSSL leaves it unsaid

static const Part ciphers[] = {
    {"AES256-GCM-SHA384", "+AES-256-GCM:+AEAD"},
    {"AES128-GCM-SHA256", "+AES-128-GCM:+AEAD"},
    {"CHACHA20-POLY1305", "+CHACHA20-POLY1305:+AEAD"},
    {"AES256-CCM", "+AES-256-CCM:+AEAD"},
    {"AES128-CCM", "+AES-128-CCM:+AEAD"},
    {"AES256-SHA", "+AES-256-CBC:+SHA1"},
    {"AES128-SHA", "+AES-128-CBC:+SHA1"},
};

static bool translate_suite(Text *to, const char *suite)
{
    size_t i = 0;
    while (!str_starts(suite, exchanges[i].openssl)) // the last one always fits
        i++;
    const char *rest = suite + strlen(exchanges[i].openssl);
    for (size_t k = 0; k < COUNT_OF(ciphers); k++) {
        if (str_eq(rest, ciphers[k].openssl)) {
            text_addf(to, ":%s:%s", exchanges[i].gnutls, ciphers[k].gnutls);
            return true;
        }
    }
    return false;
}

static bool is_usable(const char *priorities)
{
    gnutls_priority_t cache;
    if (gnutls_priority_init(&cache, priorities, NULL) < 0)
        return false;
    gnutls_priority_deinit(cache);
    return true;
}

// NULL: not a single suite we know. TLS 1.3 always stays, as with OpenSSL.
static const char *translate(Arena *arena, const char *list)
{
    static const char separators[] = ":, ";
    Text text = text_new(arena);
    text_add(&text, "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+COMP-NULL:+SIGN-ALL:+GROUP-ALL:+CTYPE-X509");
    bool any = false;
    for (const char *at = list; *at != '\0';) {
        const size_t length = strcspn(at, separators);
        any = translate_suite(&text, arena_strndup(arena, at, length)) || any;
        at += length;
        at += strspn(at, separators);
    }
    text_add(&text, ":+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:+AEAD");
    return any && is_usable(text.data) ? text.data : NULL;
}

const char *tls_priorities(Arena *arena, const char *list)
{
    if (str_empty(list))
        return default_priorities;
    const char *found = is_usable(list) ? list : translate(arena, list);
    if (found != NULL)
        return found;
    log_warn("restapi.ciphers names nothing GnuTLS has, using its defaults ciphers='%s'", list);
    return default_priorities;
}
