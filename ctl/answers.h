// What is printed of a member's answer: "Success: …", "Failed: …".
#pragma once
#include "ctl/api_client.h"

// "Failed: <what> for member <m>, status code=<s>, (<body>)", noted in ctl. Always true.
bool answer_failed(Ctl *ctl, const char *what, const MemberInfo *member, const HttpReply *reply);
// The member could not be reached, or did not answer in time: to standard error, noted. Always
// true.
bool answer_missing(Ctl *ctl, const char *what, const MemberInfo *member, const Error *err);
