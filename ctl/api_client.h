// Calls to members' REST APIs, with deadlines.
#pragma once
#include "ctl/cluster_info.h"

typedef struct {
    const char *method; // "POST"
    const char *path;   // "/restart"
    const Tree *body;   // NULL: none
    int64_t timeout_ms; // 0: 10 s
} ApiCall;

// base is any URL of the member: scheme and authority count. Every status is a success. Kinds of
// errors as http_call's: ERR_UNAVAILABLE means that nothing was sent.
bool api_call(Ctl *ctl, const char *base, const ApiCall *call, HttpReply *out, Error *err)
    MUST_CHECK;
// As api_call to a member: over --api, its own URL is used for the member that is behind it.
bool api_call_member(Ctl *ctl, const MemberInfo *member, const ApiCall *call, HttpReply *out,
                     Error *err) MUST_CHECK;
// The member's GET /patroni, whatever its status; false also if it is no JSON.
bool api_member_status(Ctl *ctl, const MemberInfo *member, const Tree **out, Error *err) MUST_CHECK;
// GET, status 200 and JSON; else ERR_INVALID with the status and the reply's first line.
bool api_read(Ctl *ctl, const char *base, const char *path, const Tree **out, Error *err)
    MUST_CHECK;
