#include "common/model/settings_check.h"

#include <string.h>

enum { ETCD_PORT = 2379 };

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *percent_decoded(Arena *arena, const char *s, size_t length)
{
    Text out = text_new(arena);
    for (size_t i = 0; i < length; i++) {
        if (s[i] == '%' && i + 2 < length && hex_value(s[i + 1]) >= 0 && hex_value(s[i + 2]) >= 0 &&
            (s[i + 1] != '0' || s[i + 2] != '0')) {
            text_add_char(&out, (char)(hex_value(s[i + 1]) * 16 + hex_value(s[i + 2])));
            i += 2;
        } else {
            text_add_char(&out, s[i]);
        }
    }
    return out.data;
}

// [scheme://][user[:password]@]host[:port][/…]
static bool parse_url(Arena *arena, const char *url, const char *protocol, int port,
                      EtcdSettings *out, const char **endpoint)
{
    const char *scheme_end = strstr(url, "://");
    if (scheme_end != NULL)
        protocol = arena_strndup(arena, url, (size_t)(scheme_end - url));
    if (!str_eq(protocol, "http") && !str_eq(protocol, "https"))
        return false;
    const char *start = scheme_end == NULL ? url : scheme_end + 3;
    size_t length = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', length);
    if (at != NULL) {
        const size_t user_length = (size_t)(at - start);
        const char *colon = memchr(start, ':', user_length);
        const size_t name_length = colon == NULL ? user_length : (size_t)(colon - start);
        out->username = percent_decoded(arena, start, name_length);
        if (colon != NULL)
            out->password.hidden = percent_decoded(arena, colon + 1, (size_t)(at - colon - 1));
        length -= user_length + 1;
        start = at + 1;
    }
    Address address;
    if (!address_parse(arena, arena_strndup(arena, start, length), port, &address) ||
        strchr(address.host, ',') != NULL)
        return false;
    *endpoint = arena_printf(arena, "%s://%s", protocol, address_text(arena, address));
    return true;
}

static void add_endpoint(Findings *findings, const Tree *at, const char *path, const char *text,
                         const char *protocol, int port, EtcdSettings *out)
{
    const char *endpoint;
    if (!parse_url(findings->arena, text, protocol, port, out, &endpoint))
        finding_error(findings, at, path,
                      "expected host:port or http(s)://host:port, found '%.100s'", text);
    else
        string_list_add(&out->endpoints, findings->arena, endpoint);
}

static void read_hosts(Findings *findings, const Tree *section, const char *name, int port,
                       EtcdSettings *out)
{
    const Tree *hosts = tree_get(section, "hosts");
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++)
        add_endpoint(findings, hosts->entries[i].value,
                     arena_printf(findings->arena, "%s.hosts", name),
                     tree_string_of(hosts->entries[i].value), out->protocol, port, out);
    const char *host = text_at(section, "host", NULL);
    if (out->endpoints.count == 0 && host != NULL)
        add_endpoint(findings, tree_get(section, "host"),
                     arena_printf(findings->arena, "%s.host", name), host, out->protocol, port,
                     out);
}

// Patroni's order: proxy, srv, hosts, host; a url stands for the host.
static void read_endpoints(Findings *findings, const Tree *section, const char *name,
                           EtcdSettings *out)
{
    const int port = (int)int_at(section, "port", ETCD_PORT);
    static const char *const urls[] = {"proxy", "url"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        const char *url = text_at(section, urls[i], NULL);
        if (url == NULL)
            continue;
        add_endpoint(findings, tree_get(section, urls[i]),
                     arena_printf(findings->arena, "%s.%s", name, urls[i]), url, out->protocol,
                     port, out);
        out->fixed = out->fixed || str_eq(urls[i], "proxy");
        if (url != NULL && str_starts(url, "https://"))
            out->protocol = "https";
        return;
    }
    if (out->srv == NULL)
        read_hosts(findings, section, name, port, out);
}

static bool names_store(const Tree *section)
{
    static const char *const names[] = {"hosts", "host", "url", "proxy", "srv"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const Tree *value = tree_get(section, names[i]);
        if (value != NULL && (value->kind != TREE_LIST || value->count > 0))
            return true;
    }
    return false;
}

void settings_etcd(Findings *findings, const Tree *local, bool required, EtcdSettings *out)
{
    const Tree *v2 = tree_get(local, "etcd"), *v3 = tree_get(local, "etcd3");
    const char *name = v3 != NULL ? "etcd3" : "etcd";
    const Tree *section = v3 != NULL ? v3 : v2;
    if (v2 != NULL)
        finding_warning(findings, v2, "etcd",
                        v3 != NULL
                            ? "ignored, since there is a section etcd3 too"
                            : "etcd is spoken to by its v3 interface; call the section etcd3");
    *out = (EtcdSettings){.protocol = text_at(section, "protocol", "http")};
    if (section == NULL) {
        if (required && tree_get(local, "kubernetes") == NULL)
            finding_error(findings, &(Tree){.file = local->file}, "etcd3",
                          "missing: where the cluster's store is (or a section kubernetes)");
        return;
    }
    out->fixed = bool_at(section, "use_proxies", false);
    out->srv = text_at(section, "srv", NULL);
    out->srv_suffix = text_at(section, "srv_suffix", NULL);
    out->username = text_at(section, "username", NULL);
    out->password = secret_at(section, "password");
    out->cacert = text_at(section, "cacert", NULL);
    out->cert = text_at(section, "cert", NULL);
    out->key = text_at(section, "key", NULL);
    read_endpoints(findings, section, name, out);
    if (!names_store(section))
        finding_error(findings, section, name, "one of hosts, host, url, proxy or srv is needed");
}
