#include "api/actions.h"

#include "common/base/timestamp.h"
#include "common/model/units.h"

#include <string.h>

enum {
    OK = 200,
    ACCEPTED = 202,
    BAD_REQUEST = 400,
    UNPROCESSABLE = 422,
    INTERNAL_ERROR = 500,
    BAD_GATEWAY = 502,
    SHORT_MS = 30 * 1000, // what the next turn or two should have done
};

// --- points in time

// False: answered. Normalizes what is valid.
static bool check_schedule(Exchange *x, const Tree *given, const char *action, const Tree **out)
{
    Timestamp at;
    if (!timestamp_parse(tree_string_of(given), NULL, &at)) {
        exchange_text(x, UNPROCESSABLE,
                      "Unable to parse scheduled timestamp. It should be in an unambiguous format, "
                      "e.g. ISO 8601");
        return false;
    }
    if (!at.has_zone) {
        exchange_text(x, BAD_REQUEST,
                      arena_printf(x->arena,
                                   "Timezone information is mandatory for the scheduled %s",
                                   action));
        return false;
    }
    if (timestamp_us(&at) < clock_wall_us(x->api->clock)) {
        exchange_text(x, UNPROCESSABLE,
                      arena_printf(x->arena, "Cannot schedule %s in the past", action));
        return false;
    }
    *out = tree_string(x->arena, timestamp_format(&at, 'T').text);
    return true;
}

// --- switchover and failover

typedef struct {
    bool failover;      // as asked for
    const char *leader; // NULL: not given
    const char *candidate;
    const Tree *scheduled_at; // NULL: now
} Handover;

static Handover read_handover(const Exchange *x, bool failover)
{
    const Tree *body = x->request.body;
    Handover h = {.failover = failover,
                  .leader = tree_string_of(tree_get(body, "leader")),
                  .candidate = tree_string_of(tree_get(body, "candidate")),
                  .scheduled_at = tree_get(body, "scheduled_at")};
    if (str_empty(h.candidate))
        h.candidate = tree_string_of(tree_get(body, "member")); // its older name
    if (str_empty(h.leader))
        h.leader = NULL;
    if (str_empty(h.candidate))
        h.candidate = NULL;
    if (h.scheduled_at != NULL &&
        (h.scheduled_at->kind == TREE_NULL || str_eq(tree_string_of(h.scheduled_at), "")))
        h.scheduled_at = NULL;
    return h;
}

// What is wrong with it whatever the cluster looks like; NULL: nothing. In Patroni's order.
static const char *find_fault(const Handover *h, bool paused)
{
    if (h->failover && h->candidate == NULL)
        return "Failover could be performed only to a specific candidate";
    if (!h->failover && h->leader == NULL)
        return "Switchover could be performed only from a specific leader";
    if (h->failover && h->scheduled_at != NULL)
        return "Failover can't be scheduled";
    if (h->scheduled_at != NULL && paused)
        return "Can't schedule switchover in the paused state";
    return NULL;
}

// What comes after the schedule has been read.
static const char *find_later_fault(const Handover *h, bool paused)
{
    if (paused && h->candidate == NULL)
        return "Switchover is possible only to a specific candidate in a paused state";
    if (h->leader != NULL && str_ieq(h->leader, h->candidate))
        return "Switchover target and source are the same";
    return NULL;
}

static void submit_handover(Exchange *x, const Handover *h, const Tree *scheduled_at)
{
    enum { FEWEST_S = 10, ROUNDS = 2 };
    // A failover that names the leader is a switchover.
    const bool failover = h->failover && h->leader == NULL;
    Tree *body = tree_map(x->arena);
    if (h->leader != NULL)
        tree_set(x->arena, body, "leader", tree_string(x->arena, h->leader));
    if (h->candidate != NULL)
        tree_set(x->arena, body, "candidate", tree_string(x->arena, h->candidate));
    if (scheduled_at != NULL)
        tree_set(x->arena, body, "scheduled_at", scheduled_at);
    int64_t loop_ms = x->snapshot->loop_wait_ms;
    if (loop_ms < FEWEST_S * MS_PER_S)
        loop_ms = FEWEST_S * MS_PER_S;
    exchange_submit(x, failover ? API_FAILOVER : API_SWITCHOVER, body,
                    failover ? "Failover" : "Switchover", ROUNDS * loop_ms);
}

static void hand_over(Exchange *x, bool failover)
{
    const Handover h = read_handover(x, failover);
    const bool paused = x->snapshot->paused;
    const char *fault = find_fault(&h, paused);
    const Tree *scheduled_at = NULL;
    if (fault == NULL && h.scheduled_at != NULL &&
        !check_schedule(x, h.scheduled_at, "switchover", &scheduled_at))
        return;
    if (fault == NULL)
        fault = find_later_fault(&h, paused);
    if (fault != NULL)
        exchange_text(x, BAD_REQUEST, fault);
    else
        submit_handover(x, &h, scheduled_at);
}

void route_post_failover(Exchange *x)
{
    hand_over(x, true);
}

void route_post_switchover(Exchange *x)
{
    hand_over(x, false);
}

void route_delete_switchover(Exchange *x)
{
    exchange_submit(x, API_DELETE_SWITCHOVER, x->request.body, "Switchover", SHORT_MS);
}

// --- restart

static bool check_role(Exchange *x, const Tree *given, const Tree **out)
{
    const char *role = tree_string_of(given);
    *out = given;
    if (str_eq(role, "primary") || str_eq(role, "standby_leader") || str_eq(role, "replica"))
        return true;
    exchange_text(x, BAD_REQUEST,
                  "PostgreSQL role should be either primary, standby_leader, or replica");
    return false;
}

// X.Y from 10 on, X.Y.Z before. A JSON number like 15.4 keeps its text, so it is read as meant.
static bool check_version(Exchange *x, const Tree *given, const Tree **out)
{
    enum { PARTS_MAX = 3, FIRST_WITH_TWO_PARTS = 10 };
    const char *text = str_or(tree_scalar_text(x->arena, given), "");
    int64_t parts[PARTS_MAX] = {0};
    size_t count = 0;
    bool numbers = true;
    for (const char *at = text; numbers; at += strcspn(at, ".") + 1, count++) {
        int64_t part;
        numbers = parse_int64(arena_strndup(x->arena, at, strcspn(at, ".")), &part) && part >= 0;
        if (numbers && count < PARTS_MAX)
            parts[count] = part;
        if (at[strcspn(at, ".")] == '\0') {
            count++;
            break;
        }
    }
    *out = tree_string(x->arena, text);
    if (numbers && (count == 3 || (count == 2 && parts[0] >= FIRST_WITH_TWO_PARTS)))
        return true;
    const char *fault = numbers ? "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s"
                                : "Invalid PostgreSQL version: %s";
    Text message = text_new(x->arena);
    text_add_bytes(&message, fault, strlen(fault) - 2);
    text_add(&message, text);
    exchange_text(x, BAD_REQUEST, message.data);
    return false;
}

static bool check_timeout(Exchange *x, const Tree *given, const Tree **out)
{
    const char *text = given->kind == TREE_BOOL ? NULL : tree_scalar_text(x->arena, given);
    int64_t seconds;
    if (text == NULL || !parse_int_with_unit(text, "s", &seconds) || seconds <= 0 ||
        seconds > INT32_MAX) {
        exchange_text(x, BAD_REQUEST, "Timeout should be a positive number of seconds");
        return false;
    }
    *out = tree_int(x->arena, seconds);
    return true;
}

static bool check_restart_time(Exchange *x, const Tree *given, const Tree **out)
{
    return check_schedule(x, given, "restart", out);
}

// Its presence alone counts.
static bool check_pending(Exchange *x, const Tree *given, const Tree **out)
{
    (void)given;
    *out = tree_bool(x->arena, true);
    return true;
}

static const struct {
    const char *key;
    bool (*check)(Exchange *x, const Tree *given, const Tree **out); // false: answered
} restart_filters[] = {
    {"schedule", check_restart_time},    {"role", check_role},
    {"postgres_version", check_version}, {"timeout", check_timeout},
    {"restart_pending", check_pending},
};

static bool check_filter(Exchange *x, const TreeEntry *given, Tree *checked)
{
    for (size_t i = 0; i < COUNT_OF(restart_filters); i++) {
        const Tree *value;
        if (!str_eq(given->key, restart_filters[i].key))
            continue;
        if (!restart_filters[i].check(x, given->value, &value))
            return false;
        tree_set(x->arena, checked, given->key, value);
        return true;
    }
    exchange_text(
        x, BAD_REQUEST,
        arena_printf(x->arena, "Unknown filter for the scheduled restart: %s", given->key));
    return false;
}

void route_post_restart(Exchange *x)
{
    enum { START_TIMEOUT_S = 300, SLACK_S = 60 };
    const Tree *body = x->request.body;
    if (x->snapshot->paused && tree_get(body, "schedule") != NULL) {
        exchange_text(x, INTERNAL_ERROR, "Can't schedule restart in the paused state");
        return;
    }
    Tree *checked = tree_map(x->arena);
    for (size_t i = 0; i < body->count; i++)
        if (!check_filter(x, &body->entries[i], checked))
            return;
    // The agent watches the start's own time-out; ours only bounds how long the caller hangs.
    const int64_t start_s =
        tree_get_int(checked, "timeout",
                     tree_get_int(x->snapshot->dynamic, "primary_start_timeout", START_TIMEOUT_S));
    exchange_submit(x, API_RESTART, checked, "Restart",
                    (start_s + SLACK_S) * MS_PER_S + 2 * x->snapshot->loop_wait_ms);
}

void route_delete_restart(Exchange *x)
{
    exchange_submit(x, API_DELETE_RESTART, x->request.body, "Restart", SHORT_MS);
}

// --- the rest

void route_post_reload(Exchange *x)
{
    exchange_submit(x, API_RELOAD, x->request.body, "Reload", SHORT_MS);
}

void route_post_reinitialize(Exchange *x)
{
    const Tree *given = x->request.body;
    Tree *body = tree_map(x->arena);
    tree_set(x->arena, body, "force", tree_bool(x->arena, tree_get_bool(given, "force", false)));
    // Patroni reads the first name and documents the second.
    const bool from_leader =
        tree_get_bool(given, "from_leader", tree_get_bool(given, "from-leader", false));
    tree_set(x->arena, body, "from_leader", tree_bool(x->arena, from_leader));
    exchange_submit(x, API_REINITIALIZE, body, "Reinitialize", SHORT_MS);
}

// A leader that has lost the store asks whether it may go on. The caller counts nothing but 200 and
// the very word.
void route_post_failsafe(Exchange *x)
{
    static const char *const wanted[] = {"name", "conn_url", "api_url"};
    const Snapshot *snapshot = x->snapshot;
    Lsn lsn = LSN_NONE;
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (tree_string_of(tree_get(x->request.body, wanted[i])) == NULL) {
            exchange_text(x, BAD_REQUEST,
                          arena_printf(x->arena, "%s is missing, or is no text", wanted[i]));
            return;
        }
    }
    if (!snapshot->failsafe_enabled || x->api->host->failsafe == NULL) {
        exchange_page(x, BAD_GATEWAY);
    } else if (snapshot->server.state == STATE_RUNNING && snapshot->server.role == ROLE_PRIMARY) {
        exchange_text(x, INTERNAL_ERROR, "Running as a leader");
    } else if (!x->api->host->failsafe(x->api->host, x->request.body, &lsn)) {
        exchange_page(x, BAD_GATEWAY);
    } else {
        const char *text = arena_printf(x->arena, "%llu", (unsigned long long)lsn);
        exchange_reply(
            x, OK,
            reply_new_with(x->policy, NULL, "Accepted", lsn != LSN_NONE ? "lsn" : NULL, text));
    }
}

void route_post_sigterm(Exchange *x) // does nothing outside of Patroni's tests on Windows
{
    exchange_text(x, ACCEPTED, "shutdown scheduled");
}

void route_post_mpp(Exchange *x) // we are no coordinator, and those who are not just say so
{
    exchange_text(x, OK, "OK");
}
