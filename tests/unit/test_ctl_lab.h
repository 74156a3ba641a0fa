// What the tests of the program share: members that answer as told and note what they were asked,
// and a run of howdahctl with its input, output and status.
#pragma once
#include "common/base/arena.h"
#include "common/base/text.h"
#include "tests/support/etcd_server.h"
#include "tests/support/test.h"

#include <string.h>

extern Arena *lab_arena; // reset by lab_start

typedef struct LabMember LabMember;

LabMember *lab_member_start(void);
void lab_member_free(LabMember *member);
int lab_member_port(const LabMember *member);
const char *lab_member_url(const LabMember *member); // "http://127.0.0.1:1234"
// request is "POST /restart"; the last answer given counts. Unknown requests get 404.
void lab_member_answer(LabMember *member, const char *request, int status, const char *body);
// After so many times the answer changes to this one.
void lab_member_answer_later(LabMember *member, const char *request, int times, int status,
                             const char *body);
// Since the last call: "POST /restart {\"a\": 1}" a line, with " authorization=…" if one was sent.
const char *lab_member_requests(LabMember *member);

typedef struct {
    int status;
    const char *out, *err;
} LabRun;

// Arguments until NULL. program: "howdahctl", or another name to call it by. Settings:
// lab_settings.
LabRun lab_run_as(const char *program, const char *input, const char *const *words);
#define lab_run(input, ...)                                                                        \
    lab_run_as("howdahctl", (input), (const char *const[]){__VA_ARGS__, NULL})

void lab_start(void);
void lab_end(void);
// The settings file named by HOWDAHCTL_CONFIG_FILE in all runs; NULL: none, and no such variable.
void lab_settings(const char *yaml);
const char *lab_file(const char *name, const char *content); // in the lab's directory; its path

void lab_expect_run(const LabRun *run, int status, const char *where);
#define EXPECT(run, expected) lab_expect_run(&(run), (expected), __func__)
void lab_expect_in(const char *text, const char *part, const char *where);
#define EXPECT_IN(text, part) lab_expect_in((text), (part), __func__)
