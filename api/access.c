#include "api/access.h"

#include "common/base/base64.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { FORBIDDEN = 403, UNAUTHORIZED = 401, ADDRESS_BITS = 128, V4_OFFSET_BITS = 96 };

// --- addresses

static void map_v4(const void *v4, uint8_t to[16])
{
    memset(to, 0, 10);
    memset(to + 10, 0xff, 2);
    memcpy(to + 12, v4, 4);
}

static bool parse_address(const char *text, uint8_t to[16], bool *v4)
{
    struct in_addr in4;
    struct in6_addr in6;
    if (inet_pton(AF_INET, text, &in4) == 1) {
        map_v4(&in4, to);
        *v4 = true;
        return true;
    }
    if (inet_pton(AF_INET6, text, &in6) != 1)
        return false;
    memcpy(to, &in6, 16);
    *v4 = false;
    return true;
}

static bool peer_address(const struct sockaddr *peer, uint8_t to[16])
{
    if (peer != NULL && peer->sa_family == AF_INET) {
        struct sockaddr_in in4;
        memcpy(&in4, peer, sizeof in4);
        map_v4(&in4.sin_addr, to);
        return true;
    }
    if (peer != NULL && peer->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, peer, sizeof in6);
        memcpy(to, &in6.sin6_addr, 16);
        return true;
    }
    return false;
}

static bool network_has(const Network *network, const uint8_t address[16])
{
    const int whole = network->prefix_bits / 8, rest = network->prefix_bits % 8;
    if (memcmp(network->address, address, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((network->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

// "10.0.0.0/8", "fd00::/8", "192.0.2.7". *is_name: it is none of these, so it may be a host.
static bool parse_network(Arena *arena, const char *text, Network *out, bool *is_name)
{
    const char *slash = strchr(text, '/');
    const char *address = slash == NULL ? text : arena_strndup(arena, text, (size_t)(slash - text));
    bool v4 = false;
    *is_name = slash == NULL && !parse_address(address, out->address, &v4);
    if (*is_name)
        return true;
    if (!parse_address(address, out->address, &v4))
        return false;
    int64_t bits = v4 ? 32 : ADDRESS_BITS;
    if (slash != NULL && (!parse_int64(slash + 1, &bits) || bits < 0 || bits > (v4 ? 32 : 128)))
        return false;
    out->prefix_bits = (int)bits + (v4 ? V4_OFFSET_BITS : 0);
    return true;
}

// --- policy

static Secret copy_secret(Arena *arena, Secret secret)
{
    return (Secret){.hidden = arena_strdup(arena, secret_reveal(secret))};
}

static RestSettings copy_settings(Arena *arena, const RestSettings *from)
{
    RestSettings to = *from;
    to.listen.host = arena_strdup(arena, from->listen.host);
    to.connect.host = arena_strdup(arena, from->connect.host);
    to.username = arena_strdup(arena, from->username);
    to.password = copy_secret(arena, from->password);
    to.certfile = arena_strdup(arena, from->certfile);
    to.keyfile = arena_strdup(arena, from->keyfile);
    to.cafile = arena_strdup(arena, from->cafile);
    to.ciphers = arena_strdup(arena, from->ciphers);
    to.keyfile_password = copy_secret(arena, from->keyfile_password);
    to.allowlist = string_list_copy(arena, &from->allowlist);
    to.api_url = arena_strdup(arena, from->api_url);
    to.http_extra_headers =
        from->http_extra_headers ? tree_copy(arena, from->http_extra_headers) : NULL;
    to.https_extra_headers =
        from->https_extra_headers ? tree_copy(arena, from->https_extra_headers) : NULL;
    return to;
}

static bool read_allowlist(Policy *policy, Error *err)
{
    const StringList *list = &policy->settings.allowlist;
    Network *networks = ARENA_ARRAY(policy->arena, Network, list->count);
    for (size_t i = 0; i < list->count; i++) {
        bool is_name;
        if (!parse_network(policy->arena, list->items[i], &networks[policy->network_count],
                           &is_name))
            return error_set(err, ERR_INVALID,
                             "restapi.allowlist: '%s' is neither an address, a network like "
                             "10.0.0.0/8 nor a host name",
                             list->items[i]);
        if (is_name)
            string_list_add(&policy->names, policy->arena, list->items[i]);
        else
            policy->network_count++;
    }
    policy->networks = networks;
    return true;
}

// HTTP's own framing stays ours, and a line break would end the header.
static bool is_header(const char *name, const char *value)
{
    static const char letters[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return !str_empty(name) && name[strspn(name, letters)] == '\0' && value != NULL &&
           strpbrk(value, "\r\n") == NULL && !str_ieq(name, "content-length") &&
           !str_ieq(name, "transfer-encoding") && !str_ieq(name, "connection");
}

static bool read_headers(Policy *policy, Error *err)
{
    const RestSettings *s = &policy->settings;
    Arena *arena = policy->arena;
    Tree *merged = tree_map(arena);
    const Tree *const maps[] = {s->http_extra_headers, policy->tls ? s->https_extra_headers : NULL};
    for (size_t m = 0; m < COUNT_OF(maps); m++)
        for (size_t i = 0; maps[m] != NULL && i < maps[m]->count; i++)
            tree_set(arena, merged, maps[m]->entries[i].key, maps[m]->entries[i].value);

    ExtraHeader *headers = ARENA_ARRAY(arena, ExtraHeader, merged->count);
    for (size_t i = 0; i < merged->count; i++) {
        const char *name = merged->entries[i].key;
        const char *value = tree_scalar_text(arena, merged->entries[i].value);
        if (!is_header(name, value))
            return error_set(err, ERR_INVALID,
                             "restapi.http_extra_headers: '%s' cannot be sent as a header", name);
        headers[i] = (ExtraHeader){.name = name, .value = value};
    }
    policy->headers = headers;
    policy->header_count = merged->count;
    return true;
}

bool policy_new(const RestSettings *settings, Policy **out, Error *err)
{
    Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    AUTO(policy_release) Policy *policy = ARENA_NEW(arena, Policy);
    policy->arena = arena;
    policy->refs = 1;
    policy->settings = copy_settings(arena, settings);
    policy->tls = settings->certfile != NULL;
    if (settings->username != NULL) {
        const char *pair = arena_printf(arena, "%s:%s", settings->username,
                                        str_or(secret_reveal(settings->password), ""));
        policy->authorization =
            arena_printf(arena, "Basic %s", base64_of(arena, pair, strlen(pair)));
    }
    if (policy->tls && settings->verify_client != VERIFY_CLIENT_NONE && settings->cafile == NULL)
        return error_set(err, ERR_INVALID,
                         "restapi.verify_client needs restapi.cafile, to verify against");
    if (!read_allowlist(policy, err) || !read_headers(policy, err))
        return false;
    *out = TAKE(policy);
    return true;
}

Policy *policy_ref(Policy *policy)
{
    (void)__atomic_add_fetch(&policy->refs, 1, __ATOMIC_RELAXED); // nobody needs the count
    return policy;
}

void policy_unref(Policy *policy)
{
    if (policy != NULL && __atomic_sub_fetch(&policy->refs, 1, __ATOMIC_ACQ_REL) == 0)
        arena_free(policy->arena);
}

void policy_release(Policy **policy)
{
    policy_unref(*policy);
    *policy = NULL;
}

// --- checks

// What is not resolved yet opens no door; the lookup is under way for the next request.
static bool host_is(Resolver *resolver, Arena *arena, const char *host, const uint8_t peer[16])
{
    const StringList addresses = resolver_get(resolver, arena, host);
    for (size_t i = 0; i < addresses.count; i++) {
        uint8_t address[16];
        bool v4;
        if (parse_address(addresses.items[i], address, &v4) && memcmp(address, peer, 16) == 0)
            return true;
    }
    return false;
}

// "https://[fd00::1]:8008/patroni" -> "fd00::1"
static const char *host_of_url(Arena *arena, const char *url)
{
    const char *host = url == NULL ? NULL : strstr(url, "://");
    if (host == NULL)
        return NULL;
    host += 3;
    if (*host == '[')
        return arena_strndup(arena, host + 1, strcspn(host + 1, "]"));
    return arena_strndup(arena, host, strcspn(host, ":/?#"));
}

static bool is_listed(const Policy *policy, Resolver *resolver, Arena *arena,
                      const uint8_t peer[16])
{
    for (size_t i = 0; i < policy->network_count; i++)
        if (network_has(&policy->networks[i], peer))
            return true;
    for (size_t i = 0; i < policy->names.count; i++)
        if (host_is(resolver, arena, policy->names.items[i], peer))
            return true;
    return false;
}

static bool is_member(const ClusterView *cluster, Resolver *resolver, Arena *arena,
                      const uint8_t peer[16])
{
    for (size_t i = 0; cluster != NULL && i < cluster->member_count; i++) {
        const char *host = host_of_url(arena, cluster->members[i].api_url);
        if (host != NULL && host_is(resolver, arena, host, peer))
            return true;
    }
    return false;
}

static bool may_come_from_there(const Policy *policy, Resolver *resolver,
                                const AccessRequest *request)
{
    const RestSettings *s = &policy->settings;
    const bool members = s->allowlist_include_members && !request->failsafe;
    if (s->allowlist.count == 0 && !members)
        return true;
    uint8_t peer[16];
    if (!peer_address(request->peer, peer))
        return false;
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    return is_listed(policy, resolver, arena, peer) ||
           (members && is_member(request->cluster, resolver, arena, peer));
}

// Takes as long for a wrong first byte as for a wrong last one.
static bool equal_in_constant_time(const char *given, const char *expected)
{
    const size_t length = strlen(given), expected_length = strlen(expected);
    uint8_t difference = length != expected_length;
    for (size_t i = 0; i < length; i++)
        difference |= (uint8_t)(given[i] ^ expected[expected_length > 0 ? i % expected_length : 0]);
    return difference == 0;
}

Refusal access_check(const Policy *policy, Resolver *resolver, const AccessRequest *request)
{
    if (!may_come_from_there(policy, resolver, request))
        return (Refusal){FORBIDDEN, "Access is denied"};
    if (policy->tls && policy->settings.verify_client != VERIFY_CLIENT_NONE &&
        !request->client_certificate)
        return (Refusal){FORBIDDEN, "client certificate required"};
    if (policy->authorization == NULL)
        return (Refusal){0};
    if (!str_starts(request->authorization, "Basic "))
        return (Refusal){UNAUTHORIZED, "no auth header received"};
    if (!equal_in_constant_time(request->authorization, policy->authorization))
        return (Refusal){UNAUTHORIZED, "not authenticated"};
    return (Refusal){0};
}
