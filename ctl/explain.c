// explain: why a member does what it does, from GET /why and GET /decisions (docs/rest.md,
// "Looking").
#include "ctl/answers.h"
#include "ctl/table.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_DECISIONS = 10 };

typedef struct {
    const char *member;
    const Tree *why;       // NULL: it did not tell
    const Tree *decisions; // oldest first; NULL: as above
    Error error;
} Account;

static const char *text_of(const Tree *map, const char *key)
{
    return tree_get_string(map, key, "");
}

static bool read_json(Ctl *ctl, const MemberInfo *member, const char *path, const Tree **out,
                      Error *err)
{
    HttpReply reply;
    const ApiCall call = {.method = "GET", .path = path};
    if (!api_call_member(ctl, member, &call, &reply, err))
        return false;
    if (reply.status == 404)
        return error_set(err, ERR_INVALID, "does not explain itself: a Patroni member");
    if (reply.status != 200)
        return error_set(err, ERR_INVALID, "GET %s: status %d, %.*s", path, reply.status,
                         (int)strcspn(reply.body, "\r\n"), reply.body);
    return tree_parse_json(ctl->arena, reply.body, out, err);
}

// The latest so many, still oldest first.
static const Tree *latest(Arena *arena, const Tree *decisions, int64_t count)
{
    Tree *list = tree_list(arena);
    if (decisions->kind != TREE_LIST)
        return list;
    size_t i = decisions->count > (size_t)count ? decisions->count - (size_t)count : 0;
    for (; i < decisions->count; i++)
        tree_append(arena, list, decisions->entries[i].value);
    return list;
}

static Account account_of(Ctl *ctl, const MemberInfo *member, int64_t count)
{
    Account account = {.member = member->name};
    const Tree *why, *decisions;
    if (!read_json(ctl, member, "/why", &why, &account.error) ||
        !read_json(ctl, member, "/decisions", &decisions, &account.error)) {
        (void)ctl_rest_failed(ctl);
        return account;
    }
    account.why = why;
    account.decisions = latest(ctl->arena, decisions, count);
    return account;
}

// "2026-11-23T03:43:00.058163+00:00" -> "2026-11-23 03:43:00.058 UTC"
static const char *short_time(Arena *arena, const char *iso)
{
    enum { MILLISECONDS = 23, FULL = 32 };
    if (strlen(iso) != FULL || !str_ends(iso, "+00:00"))
        return iso;
    char *text = arena_strndup(arena, iso, MILLISECONDS);
    text[10] = ' ';
    return arena_printf(arena, "%s UTC", text);
}

static void print_action(const Tree *decision)
{
    const char *key = text_of(decision, "key_action"), *pg = text_of(decision, "pg_action");
    if (key[0] != '\0' && !str_eq(key, "keep"))
        printf(", lease: %s", key);
    if (pg[0] != '\0' && !str_eq(pg, "none"))
        printf(", server: %s", pg);
}

static void print_reason(Arena *arena, const Tree *of, const char *when)
{
    printf("  %s  %s: %s", short_time(arena, text_of(of, when)), text_of(of, "reason"),
           text_of(of, "reason_text"));
    print_action(of);
    puts("");
    if (text_of(of, "evidence")[0] != '\0')
        printf("      evidence: %s\n", text_of(of, "evidence"));
    if (text_of(of, "outcome")[0] != '\0')
        printf("      outcome: %s\n", text_of(of, "outcome"));
}

static void print_account(Arena *arena, const Account *account)
{
    if (account->why == NULL) {
        printf("%s: %s\n", account->member, account->error.text);
        return;
    }
    const Tree *why = account->why, *left = tree_get(why, "lease_left_ms");
    printf("%s (%s)", account->member, text_of(why, "role"));
    if (left != NULL && left->kind == TREE_INT)
        printf(", leads, lease left %lld.%03lld s", (long long)(left->integer / 1000),
               (long long)(left->integer % 1000));
    else if (str_empty(text_of(why, "leader")))
        printf(", nobody leads");
    else
        printf(", leader is %s", text_of(why, "leader"));
    printf(", fence %s%s\n", tree_get_bool(why, "fence_armed", false) ? "armed" : "not armed",
           tree_get_bool(why, "fenced", true) ? "" : ", but not every member has one");
    print_reason(arena, why, "since");
    if (account->decisions->count > 0)
        puts("  before that, oldest first:");
    for (size_t i = 0; i < account->decisions->count; i++)
        print_reason(arena, account->decisions->entries[i].value, "time");
}

static const Tree *document_of(Arena *arena, const Account *accounts, size_t count)
{
    Tree *list = tree_list(arena);
    for (size_t i = 0; i < count; i++) {
        Tree *map = tree_map(arena);
        tree_set(arena, map, "member", tree_string(arena, accounts[i].member));
        if (accounts[i].why != NULL) {
            tree_set(arena, map, "why", accounts[i].why);
            tree_set(arena, map, "decisions", accounts[i].decisions);
        } else {
            tree_set(arena, map, "error", tree_string(arena, accounts[i].error.text));
        }
        tree_append(arena, list, map);
    }
    return list;
}

static bool is_asked(const Args *args, const char *name)
{
    for (size_t i = 0; i < args->words.count; i++)
        if (str_eq(args->words.items[i], name))
            return true;
    return args->words.count == 0;
}

static bool check_names(const Args *args, const ClusterInfo *cluster, Error *err)
{
    for (size_t i = 0; i < args->words.count; i++)
        if (cluster_info_member(cluster, args->words.items[i]) == NULL)
            return error_set(err, ERR_INVALID, "%s is not a member of cluster %s",
                             args->words.items[i], cluster->scope);
    return true;
}

bool run_explain(Ctl *ctl, const Args *args, Error *err)
{
    ClusterInfo cluster;
    if (!cluster_info_read(ctl, NULL, &cluster, err) || !check_names(args, &cluster, err))
        return false;
    if (cluster.count == 0)
        return error_set(err, ERR_INVALID, "%s cluster doesn't have any members", cluster.scope);
    const OptionValue *number = &args->values[OPT_NUMBER];
    int64_t wanted = number->given ? (int64_t)number->number : DEFAULT_DECISIONS;
    if (wanted < 0)
        wanted = 0;

    Account *accounts = ARENA_ARRAY(ctl->arena, Account, cluster.count);
    size_t count = 0;
    for (size_t i = 0; i < cluster.count; i++)
        if (is_asked(args, cluster.members[i].name))
            accounts[count++] = account_of(ctl, &cluster.members[i], wanted);

    const Format format = format_parse(args_text(args, OPT_FORMAT));
    if (format == FORMAT_JSON) {
        puts(tree_to_json(ctl->arena, document_of(ctl->arena, accounts, count), JSON_SPACED));
    } else if (format == FORMAT_YAML) {
        puts(tree_to_yaml(ctl->arena, document_of(ctl->arena, accounts, count)));
    } else {
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                puts("");
            print_account(ctl->arena, &accounts[i]);
        }
    }
    return true;
}
