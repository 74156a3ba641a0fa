// A cluster named demo, written by hand into a real etcd: two members, one leads; synchronous, with
// nobody but the leader in the set. Its members answer as told (test_ctl_lab.h).
#pragma once
#include "tests/unit/test_ctl_lab.h"

extern LabMember *demo_one, *demo_two;

// cmocka's fixtures: of the group, and of each test.
int demo_start_group(void **state);
int demo_end_group(void **state);
int demo_start(void **state);
int demo_end(void **state);
#define DEMO_TEST(name) cmocka_unit_test_setup_teardown(name, demo_start, demo_end)

const char *demo_store_url(void);
int demo_store_port(void);
void demo_put(const char *key, const char *value); // below the cluster's path
const char *demo_stored(const char *key);          // "": nothing

// What the member was asked since the last call, see lab_member_requests.
void demo_expect_requests(LabMember *member, const char *expected);
#define DEMO_AUTH " authorization=Basic dXNlcjpwYXNzOndvcmQ=" // user:pass:word
