// HTTP on a connection as a test's server sees it: requests as text, answers written by hand.
#pragma once
#include <stdbool.h>
#include <stddef.h>

// A client that has gone is no failure: that is what some tests do.
void http_send(int fd, const char *bytes, size_t length);
void http_say(int fd, const char *text);

// Reads one request with its body, and ends it with 0; false when the client has gone, or if it is
// larger than size.
bool http_receive(int fd, char *request, size_t size);

void http_hang(int fd); // until the client goes away
