#include "tests/support/name_service.h"

#include "common/base/attributes.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    const char *addresses[NAME_SERVICE_ADDRESSES];
    bool let_go;
    int lookups, hanging;
} service = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

typedef struct {
    struct addrinfo info;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
} Answer;

static struct addrinfo *answer(const char *address, struct addrinfo *next)
{
    Answer *one = calloc(1, sizeof *one);
    ASSERT(one != NULL);
    const bool is_v4 = inet_pton(AF_INET, address, &one->name.v4.sin_addr) == 1;
    if (is_v4)
        one->name.v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &one->name.v6.sin6_addr) == 1)
        one->name.v6.sin6_family = AF_INET6;
    one->info = (struct addrinfo){.ai_family = is_v4 ? AF_INET : AF_INET6,
                                  .ai_addr = &one->name.any,
                                  .ai_addrlen = is_v4 ? sizeof one->name.v4 : sizeof one->name.v6,
                                  .ai_next = next};
    return &one->info;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
    (void)port;
    (void)hints;
    pthread_mutex_lock(&service.mutex);
    service.lookups++;
    if (strncmp(name, "hang", 4) == 0) {
        service.hanging++;
        while (!service.let_go)
            pthread_cond_wait(&service.changed, &service.mutex);
        service.hanging--;
    }
    struct addrinfo *list = NULL;
    for (int i = NAME_SERVICE_ADDRESSES; i-- > 0 && strncmp(name, "fail", 4) != 0;)
        if (service.addresses[i] != NULL) // twice, as a real one does for each socket type
            list = answer(service.addresses[i], answer(service.addresses[i], list));
    pthread_mutex_unlock(&service.mutex);
    *out = list;
    return list == NULL ? EAI_AGAIN : 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *gone = list;
        list = gone->ai_next;
        free(gone);
    }
}

void name_service_set(const char *const *addresses)
{
    pthread_mutex_lock(&service.mutex);
    memset(service.addresses, 0, sizeof service.addresses);
    for (int i = 0; i < NAME_SERVICE_ADDRESSES && addresses[i] != NULL; i++)
        service.addresses[i] = addresses[i];
    service.let_go = false;
    pthread_mutex_unlock(&service.mutex);
}

void name_service_let_go(void)
{
    pthread_mutex_lock(&service.mutex);
    service.let_go = true;
    pthread_cond_broadcast(&service.changed);
    pthread_mutex_unlock(&service.mutex);
}

static int read_locked(const int *counter)
{
    pthread_mutex_lock(&service.mutex);
    const int value = *counter;
    pthread_mutex_unlock(&service.mutex);
    return value;
}

int name_service_lookups(void)
{
    return read_locked(&service.lookups);
}

int name_service_hanging(void)
{
    return read_locked(&service.hanging);
}

bool name_service_settle(void)
{
    name_service_let_go();
    for (int ms = 0; ms < 10000 && name_service_hanging() > 0; ms++)
        poll(NULL, 0, 1);
    return name_service_hanging() == 0;
}
