// SIGTERM in a pod: who is meant by it is known by what the warden and the API server say.
#include "tests/support/test.h"

#include "agent/told.h"

#define MS(n) INT64_C(n) * 1000000

static const struct {
    const char *given;
    ToldFacts facts;
    ToldTo wanted;
} rows[] = {
    {"on a VM", {.told_at = {MS(5000)}, .now = {MS(5000)}}, TOLD_HAND_OVER},
    {"in a pod, nothing is known",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(5000)}},
     TOLD_WAIT},
    {"the pod stays, as far as the API server knows",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(5900)}, .pod = POD_STAYS},
     TOLD_WAIT},
    {"the warden was told too",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(5100)}, .warden_terminating = true},
     TOLD_HAND_OVER},
    {"the pod is being deleted",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(5000)}, .pod = POD_GOES},
     TOLD_HAND_OVER},
    {"a second without a word",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(6000)}},
     TOLD_LEAVE},
    {"a second, and the pod stays",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(6000)}, .pod = POD_STAYS},
     TOLD_LEAVE},
    {"late, but the warden was told",
     {.sidecar = true, .told_at = {MS(5000)}, .now = {MS(7000)}, .warden_terminating = true},
     TOLD_HAND_OVER},
};

static void test_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (told_to(&rows[i].facts) != rows[i].wanted)
            fail_msg("%s: %d", rows[i].given, told_to(&rows[i].facts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
