// HTTP replies, made once and sent to as many connections as ask. Immutable and counted.
#pragma once
#include "api/access.h"

#include <microhttpd.h>

typedef struct Reply Reply;

// The body is copied. content_type NULL: text/html, as Patroni's plain messages have it. With the
// policy's extra headers.
Reply *reply_new(const Policy *policy, const char *content_type, const char *body);
// As above, with one more header.
Reply *reply_new_with(const Policy *policy, const char *content_type, const char *body,
                      const char *header, const char *value);
Reply *reply_page(int status); // a small HTML page that says what the status means
Reply *reply_empty(void);      // status only: no body, no headers of ours
Reply *reply_ref(Reply *reply);
void reply_unref(Reply *reply);    // accepts NULL
void reply_release(Reply **reply); // for AUTO
enum MHD_Result reply_send(struct MHD_Connection *connection, int status, const Reply *reply);
