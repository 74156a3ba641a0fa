#include "api/actions.h"

#include <string.h>

static void not_implemented(Exchange *x)
{
    enum { NOT_IMPLEMENTED = 501 };
    exchange_page(x, NOT_IMPLEMENTED);
}

// Everything that changes something is guarded. /mpp too, which Patroni leaves open: its own
// workers send credentials, to /citus.
static const Route routes[] = {
    {"GET", "patroni", false, BODY_IGNORED, route_get_patroni},
    {"GET", "cluster", false, BODY_IGNORED, route_get_cluster},
    {"GET", "history", false, BODY_IGNORED, route_get_history},
    {"GET", "config", false, BODY_IGNORED, route_get_config},
    {"GET", "metrics", false, BODY_IGNORED, route_get_metrics},
    {"GET", "failsafe", false, BODY_IGNORED, route_get_failsafe},
    {"GET", "decisions", false, BODY_IGNORED, route_get_decisions},
    {"GET", "why", false, BODY_IGNORED, route_get_why},
    {"POST", "failover", true, BODY_REQUIRED, route_post_failover},
    {"POST", "switchover", true, BODY_REQUIRED, route_post_switchover},
    {"POST", "restart", true, BODY_OPTIONAL, route_post_restart},
    {"POST", "reload", true, BODY_IGNORED, route_post_reload},
    {"POST", "reinitialize", true, BODY_OPTIONAL, route_post_reinitialize},
    {"POST", "failsafe", true, BODY_REQUIRED, route_post_failsafe},
    {"POST", "sigterm", true, BODY_IGNORED, route_post_sigterm},
    {"POST", "citus", true, BODY_REQUIRED, route_post_mpp},
    {"POST", "mpp", true, BODY_REQUIRED, route_post_mpp},
    {"PATCH", "config", true, BODY_REQUIRED, route_patch_config},
    {"PUT", "config", true, BODY_REQUIRED, route_put_config},
    {"DELETE", "switchover", true, BODY_IGNORED, route_delete_switchover},
    {"DELETE", "restart", true, BODY_IGNORED, route_delete_restart},
};

static bool is_probe_method(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

const Route *route_find(const char *method, const char *path)
{
    static const Route none = {"", "", false, BODY_IGNORED, not_implemented};
    const char *segment = path + strspn(path, "/");
    const size_t length = strcspn(segment, "/");
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        if (strncmp(routes[i].segment, segment, length) == 0 && routes[i].segment[length] == '\0' &&
            strcmp(routes[i].method, method) == 0)
            return &routes[i];
    return is_probe_method(method) ? NULL : &none;
}
