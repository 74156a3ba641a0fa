// The only tricks we allow ourselves; gcc and clang.
#pragma once

// AUTO(f) T v: calls f(&v) when v leaves scope. TAKE(v): yields v and leaves NULL behind.
#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define AUTO(release)     __attribute__((cleanup(release)))
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// A bug, never the outside world: on in every build.
#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *condition, const char *file, int line);
