// Names to addresses, by a thread of its own with a cache: the turn never resolves a name, because
// a black-holed resolver outlives every time-out of libcurl and libpq.
#pragma once
#include "common/base/arena.h"
#include "common/base/text.h"
#include "common/base/time.h"

typedef struct Resolver Resolver;

Resolver *resolver_new(void);
// A name is looked up again refresh_ms after a success (60 s) and retry_ms after a failure (5 s),
// as long as somebody asks for it.
Resolver *resolver_new_with(int64_t refresh_ms, int64_t retry_ms);
void resolver_free(Resolver *resolver);     // does not wait for a lookup that hangs
void resolver_release(Resolver **resolver); // for AUTO
// The addresses last seen for host, numeric; numeric hosts come back as they are. Empty: not known
// (yet), and a lookup is under way. Entries are used while lookups fail. Any thread; never blocks.
StringList resolver_get(Resolver *resolver, Arena *arena, const char *host);
// As above, but waits for the first answer until the deadline. Never from the turn.
StringList resolver_wait(Resolver *resolver, Arena *arena, const char *host, Deadline deadline);
// As resolver_get; false while the first lookup is still under way. True and empty: it failed.
bool resolver_peek(Resolver *resolver, Arena *arena, const char *host, StringList *out);
// An IPv4 or IPv6 address (without brackets), not a name.
bool host_is_numeric(const char *host);
