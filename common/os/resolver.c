#include "common/os/resolver.h"

#include "common/os/clock.h"
#include "common/os/thread.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    REFRESH_MS = 60 * 1000,
    RETRY_MS = 5 * 1000,
    UNUSED_MS = 10 * 60 * 1000, // a name nobody asks for any more is not looked up again
    MOST_THREADS = 4,           // so three lookups may hang and others still get through
    MOST_ENTRIES = 256,
    MOST_ADDRESSES = 16,
    ADDRESS_SIZE = INET6_ADDRSTRLEN + 20, // with a scope
};

typedef struct Entry {
    struct Entry *next;
    char *host;
    char addresses[MOST_ADDRESSES][ADDRESS_SIZE];
    size_t count;
    bool busy;     // some thread is looking it up
    bool answered; // at least one lookup has ended, well or badly
    Instant due;   // for the next lookup
    Instant used;  // last asked for
} Entry;

// Shared by the owner and every thread. Whoever leaves last frees it, so that an owner need not
// wait for a lookup that hangs.
struct Resolver {
    pthread_mutex_t mutex;
    pthread_cond_t work;     // an entry may be due
    pthread_cond_t answered; // a lookup has ended
    Entry *entries;
    size_t entry_count;
    int64_t refresh_ms, retry_ms;
    int references;
    int threads, idle;
    bool stopping;
};

static Instant now(void)
{
    return clock_now(clock_system());
}

static void lock(Resolver *resolver)
{
    const int failed = pthread_mutex_lock(&resolver->mutex);
    ASSERT(failed == 0);
}

static void unlock(Resolver *resolver)
{
    const int failed = pthread_mutex_unlock(&resolver->mutex);
    ASSERT(failed == 0);
}

static void destroy(Resolver *resolver)
{
    while (resolver->entries != NULL) {
        Entry *gone = resolver->entries;
        resolver->entries = gone->next;
        free(gone->host);
        free(gone);
    }
    pthread_cond_destroy(&resolver->work);
    pthread_cond_destroy(&resolver->answered);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
}

static void unlock_and_leave(Resolver *resolver)
{
    const bool last = --resolver->references == 0;
    unlock(resolver);
    if (last)
        destroy(resolver);
}

static Entry *find(Resolver *resolver, const char *host) // locked
{
    Entry *entry = resolver->entries;
    while (entry != NULL && !str_ieq(entry->host, host))
        entry = entry->next;
    return entry;
}

// Drops the entry that was not asked for the longest. The busy ones are few.
static void evict_one(Resolver *resolver) // locked
{
    Entry **oldest = NULL;
    for (Entry **at = &resolver->entries; *at != NULL; at = &(*at)->next)
        if (!(*at)->busy && (oldest == NULL || instant_before((*at)->used, (*oldest)->used)))
            oldest = at;
    ASSERT(oldest != NULL);
    Entry *gone = *oldest;
    *oldest = gone->next;
    resolver->entry_count--;
    free(gone->host);
    free(gone);
}

static Entry *add(Resolver *resolver, const char *host) // locked
{
    if (resolver->entry_count >= MOST_ENTRIES)
        evict_one(resolver);
    Entry *entry = calloc(1, sizeof *entry);
    char *copy = strdup(host);
    ASSERT(entry != NULL && copy != NULL); // out of memory
    *entry = (Entry){.next = resolver->entries, .host = copy, .due = now()};
    resolver->entries = entry;
    resolver->entry_count++;
    return entry;
}

// What is due the longest, so that nobody starves; else NULL, and when the next one will be.
static Entry *next_due(Resolver *resolver, int64_t *out_wait_ms) // locked
{
    const Instant t = now();
    Entry *best = NULL;
    for (Entry *entry = resolver->entries; entry != NULL; entry = entry->next) {
        if (entry->busy || instant_ms_between(entry->used, t) > UNUSED_MS)
            continue;
        if (best == NULL || instant_before(entry->due, best->due))
            best = entry;
    }
    *out_wait_ms = best == NULL ? UNUSED_MS : deadline_left_ms(deadline_at(best->due), t);
    return best != NULL && *out_wait_ms == 0 ? best : NULL;
}

typedef struct {
    char addresses[MOST_ADDRESSES][ADDRESS_SIZE];
    size_t count;
} Found;

static bool has(const Found *found, const char *address)
{
    for (size_t i = 0; i < found->count; i++)
        if (str_eq(found->addresses[i], address))
            return true;
    return false;
}

// Without AI_ADDRCONFIG: it hides localhost on a machine without any other address.
static Found look_up(const char *host)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    Found found = {.count = 0};
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return found;
    for (const struct addrinfo *at = list; at != NULL && found.count < MOST_ADDRESSES;
         at = at->ai_next) {
        char text[ADDRESS_SIZE];
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) ==
                0 &&
            !has(&found, text))
            memcpy(found.addresses[found.count++], text, sizeof text);
    }
    freeaddrinfo(list);
    return found;
}

// A lookup that fails leaves the old addresses alone.
static void store(Resolver *resolver, Entry *entry, const Found *found) // locked
{
    if (found->count > 0) {
        memcpy(entry->addresses, found->addresses, sizeof entry->addresses);
        entry->count = found->count;
    }
    entry->busy = false;
    entry->answered = true;
    entry->due =
        instant_plus_ms(now(), found->count > 0 ? resolver->refresh_ms : resolver->retry_ms);
    pthread_cond_broadcast(&resolver->answered);
}

static void start_thread(Resolver *resolver);

static void *thread_main(void *argument)
{
    Resolver *resolver = argument;
    lock(resolver);
    while (!resolver->stopping) {
        int64_t idle_ms;
        Entry *entry = next_due(resolver, &idle_ms);
        if (entry == NULL) {
            if (resolver->idle > 0)
                break; // one that waits is enough
            resolver->idle++;
            (void)cond_wait_ms(&resolver->work, &resolver->mutex, idle_ms);
            resolver->idle--;
            continue;
        }
        entry->busy = true; // which also keeps it from being evicted
        if (next_due(resolver, &idle_ms) != NULL)
            start_thread(resolver); // this lookup may hang
        char *host = entry->host;
        unlock(resolver);
        const Found found = look_up(host);
        lock(resolver);
        store(resolver, entry, &found);
    }
    resolver->threads--;
    unlock_and_leave(resolver);
    return NULL;
}

// Unless one is waiting for work already, or there are enough of them.
static void start_thread(Resolver *resolver) // locked
{
    if (resolver->idle > 0 || resolver->threads >= MOST_THREADS)
        return;
    pthread_t thread;
    if (thread_start(&thread, 0, thread_main, resolver) != 0)
        return; // tried again with the next question
    pthread_detach(thread);
    resolver->threads++;
    resolver->references++;
}

Resolver *resolver_new(void)
{
    return resolver_new_with(REFRESH_MS, RETRY_MS);
}

Resolver *resolver_new_with(int64_t refresh_ms, int64_t retry_ms)
{
    Resolver *resolver = calloc(1, sizeof *resolver);
    ASSERT(resolver != NULL); // out of memory
    resolver->refresh_ms = refresh_ms;
    resolver->retry_ms = retry_ms;
    resolver->references = 1;
    pthread_mutex_init(&resolver->mutex, NULL);
    cond_init(&resolver->work);
    cond_init(&resolver->answered);
    return resolver;
}

void resolver_free(Resolver *resolver)
{
    if (resolver == NULL)
        return;
    lock(resolver);
    resolver->stopping = true;
    pthread_cond_broadcast(&resolver->work);
    unlock_and_leave(resolver);
}

void resolver_release(Resolver **resolver)
{
    resolver_free(*resolver);
    *resolver = NULL;
}

bool host_is_numeric(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return true;
    char address[INET6_ADDRSTRLEN];
    const size_t length = strcspn(host, "%"); // a scope may follow: fe80::1%eth0
    if (length >= sizeof address)
        return false;
    memcpy(address, host, length);
    address[length] = '\0';
    return inet_pton(AF_INET6, address, &v6) == 1;
}

static StringList copy_addresses(const Entry *entry, Arena *arena)
{
    StringList list = {0};
    for (size_t i = 0; i < entry->count; i++)
        string_list_add(&list, arena, arena_strdup(arena, entry->addresses[i]));
    return list;
}

// The entry of host, marked as in use, with a thread awake to look it up if that is due.
static Entry *ask(Resolver *resolver, const char *host) // locked
{
    Entry *entry = find(resolver, host);
    if (entry == NULL)
        entry = add(resolver, host);
    entry->used = now();
    if (!entry->busy && !instant_before(entry->used, entry->due)) {
        start_thread(resolver);
        pthread_cond_signal(&resolver->work);
    }
    return entry;
}

static bool is_settled(const Entry *entry)
{
    if (entry->count > 0)
        return true;
    return entry->answered && !entry->busy && instant_before(now(), entry->due);
}

static bool get_numeric(Arena *arena, const char *host, StringList *out)
{
    *out = (StringList){0};
    if (!str_empty(host) && !host_is_numeric(host))
        return false;
    if (!str_empty(host))
        string_list_add(out, arena, arena_strdup(arena, host));
    return true;
}

bool resolver_peek(Resolver *resolver, Arena *arena, const char *host, StringList *out)
{
    if (get_numeric(arena, host, out))
        return true;
    lock(resolver);
    const Entry *entry = ask(resolver, host);
    *out = copy_addresses(entry, arena);
    const bool settled = is_settled(entry);
    unlock(resolver);
    return settled;
}

StringList resolver_get(Resolver *resolver, Arena *arena, const char *host)
{
    StringList list;
    (void)resolver_peek(resolver, arena, host, &list); // empty says enough
    return list;
}

StringList resolver_wait(Resolver *resolver, Arena *arena, const char *host, Deadline deadline)
{
    StringList list;
    if (get_numeric(arena, host, &list))
        return list;
    lock(resolver);
    const Entry *entry = ask(resolver, host);
    // Asked for anew each time: the entry may have been evicted meanwhile.
    while (!is_settled(entry) && !deadline_over(clock_system(), deadline)) {
        (void)cond_wait_ms(&resolver->answered, &resolver->mutex,
                           deadline_left_ms(deadline, now()) + 1);
        entry = ask(resolver, host);
    }
    list = copy_addresses(entry, arena);
    unlock(resolver);
    return list;
}
