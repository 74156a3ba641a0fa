// A name service for tests. Linking it puts it in the place of the C library's getaddrinfo(), also
// for the libraries in the program: "hang…" waits until the test lets go, "fail…" is not known, and
// everything else has the addresses set last.
#pragma once
#include <stdbool.h>

#define NAME_SERVICE_ADDRESSES 4

// NULL-terminated, at most NAME_SERVICE_ADDRESSES; none: nothing is known. Also holds "hang…"
// again.
void name_service_set(const char *const *addresses);
void name_service_let_go(void);
int name_service_lookups(void); // so far
int name_service_hanging(void); // at this moment
// Lets go and waits until no lookup hangs any more; false after 10 s.
bool name_service_settle(void);
