// What went wrong, as a value the caller owns. Nothing here allocates, logs or touches errno.
//
// A function that can fail returns bool and fills *err exactly when it returns false.
// Errors are for the outside world (network, Postgres, input); a bug is an ASSERT.
#pragma once
#include "common/base/attributes.h"

#include <stdbool.h>

typedef enum {
    ERR_NONE = 0,
    ERR_UNAVAILABLE, // not done; worth trying again
    ERR_UNCERTAIN,   // perhaps done: the request left, no answer came by the deadline
    ERR_CONFLICT,    // not done: a compare-and-swap lost, the object has moved on
    ERR_INVALID,     // not done: bad configuration, input or reply; trying again is useless
} ErrorKind;

typedef struct {
    ErrorKind kind;
    char text[240]; // outermost step first: "renew leader key: POST /v3/kv/txn: timed out"
} Error;

// Both always return false, so that a failing path is one line: return error_set(...).
bool error_set(Error *err, ErrorKind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool error_wrap(Error *err, const char *fmt, ...) PRINTF_LIKE(2, 3); // puts context in front
// Now compilers and analyzers see it too: what a failed call has not written is never read.
#define error_set(...)                                                                             \
    __extension__({                                                                                \
        (void)error_set(__VA_ARGS__);                                                              \
        false;                                                                                     \
    })
#define error_wrap(...)                                                                            \
    __extension__({                                                                                \
        (void)error_wrap(__VA_ARGS__);                                                             \
        false;                                                                                     \
    })
const char *error_kind_name(ErrorKind kind);
