#include "ctl/answers.h"

#include <stdio.h>

bool answer_failed(Ctl *ctl, const char *what, const MemberInfo *member, const HttpReply *reply)
{
    printf("Failed: %s for member %s, status code=%d, (%s)\n", what, member->name, reply->status,
           reply->body);
    return ctl_rest_failed(ctl);
}

bool answer_missing(Ctl *ctl, const char *what, const MemberInfo *member, const Error *err)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s for member %s: %s\n", err->kind == ERR_UNCERTAIN ? "Unknown" : "Failed",
            what, member->name, err->text);
    return ctl_rest_failed(ctl);
}
