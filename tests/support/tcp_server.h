// A TCP server inside a test: every connection gets a thread, which runs the test's handler.
#pragma once

typedef struct TcpServer TcpServer;

// Whatever the handler does with the descriptor but closing it; it is closed when it returns.
typedef void TcpHandler(int fd, void *context);

// On a free port of the address, IPv4 or IPv6. NULL if the machine has no such address.
TcpServer *tcp_server_start(const char *address, TcpHandler *handler, void *context);
int tcp_server_port(const TcpServer *server);
// Ends all connections, under the handlers, and waits for these.
void tcp_server_stop(TcpServer *server);

// A free port that nobody listens on.
int tcp_refused_port(void);
// A port of the address (0: any) whose connections are neither accepted nor refused: it does not
// answer. Until it is closed, *out_fds are in use.
int tcp_silent_port(const char *address, int port, int out_fds[8]);
void tcp_silent_close(const int fds[8]);
