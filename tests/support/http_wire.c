#include "tests/support/http_wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void http_send(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

void http_say(int fd, const char *text)
{
    http_send(fd, text, strlen(text));
}

bool http_receive(int fd, char *request, size_t size)
{
    size_t length = 0;
    for (;;) {
        request[length] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        if (end != NULL) {
            const char *announced = strstr(request, "Content-Length: ");
            const size_t body = announced == NULL ? 0 : strtoul(announced + 16, NULL, 10);
            if (length >= (size_t)(end + 4 - request) + body)
                return true;
        }
        const ssize_t got = recv(fd, request + length, size - 1 - length, 0);
        if (got <= 0)
            return false;
        length += (size_t)got;
    }
}

void http_hang(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        continue;
}
