// Ports for servers of a test.
#pragma once

// A free TCP port of 127.0.0.1 that stays ours, also against tests that run at the same time, until
// this process ends: a server that is down for a while finds its port free again. Fails the test if
// there is none.
int free_port(void);
