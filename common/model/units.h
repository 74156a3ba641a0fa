// Booleans and numbers with units, as PostgreSQL's settings and Patroni's write them.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// on/true/yes/1, off/false/no/0, in any case.
bool parse_bool_word(const char *text, bool *out);
// Decimal, 0x… or leading-0 octal, or a fraction, which is rounded half to even; then a unit if
// base_unit is known: B kB MB GB TB, or us ms s min h d. base_unit may carry a multiplier ("8kB");
// NULL: none, and then no unit is accepted.
bool parse_int_with_unit(const char *text, const char *base_unit, int64_t *out);
bool parse_real_with_unit(const char *text, const char *base_unit, double *out);
