// A real etcd inside a test: free ports, a directory of its own, nothing left behind.
#pragma once
#include <stdbool.h>

typedef struct EtcdServer EtcdServer;

typedef struct {
    const char *cert_file, *key_file,
        *ca_file; // NULL: plain HTTP. With ca_file: clients need one too
} EtcdServerTls;

// Runs when this returns. tls may be NULL.
EtcdServer *etcd_server_start(const EtcdServerTls *tls);
// Three that form one cluster.
void etcd_cluster_start(EtcdServer *out[3]);
const char *etcd_server_url(const EtcdServer *server);
int etcd_server_port(const EtcdServer *server);
void etcd_server_kill(EtcdServer *server);    // SIGKILL; the data stays
void etcd_server_wipe(EtcdServer *server);    // the next start is another cluster
void etcd_server_save(EtcdServer *server);    // copies the data; it is restarted for that
void etcd_server_go_back(EtcdServer *server); // to what was saved, as from a backup
void etcd_server_restart(EtcdServer *server); // on the same ports
void etcd_server_signal(EtcdServer *server, int signal); // SIGSTOP, SIGCONT
void etcd_server_free(EtcdServer *server);

// Runs etcdctl against it with these words, NULL-terminated; fails the test if it does.
void etcd_server_ctl(EtcdServer *server, const char *const *words);
