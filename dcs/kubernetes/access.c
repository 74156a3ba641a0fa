#include "dcs/kubernetes/access.h"

#include "common/base/base64.h"
#include "common/base/text.h"
#include "common/os/files.h"
#include "common/os/log.h"
#include "dcs/kubernetes/kubeconfig.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    TOKEN_AGE_MS = 60 * 1000,
    TOKEN_MAX = 64 * 1024,
    CA_MAX = 1024 * 1024,
    NAME_MAX_BYTES = 4096,
};

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

// When one of these differs, it is another file: mounted Secrets and tokens are swapped whole.
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} FileMark;

struct KubeAccess {
    pthread_mutex_t mutex;
    Clock *clock;
    Arena *arena; // what never changes
    bool in_cluster;
    const char *server;
    const char *namespace;

    const char *token_file; // NULL: what we have is all there is
    char *authorization;    // heap; the whole header value, NULL: none
    Instant token_read_at;
    bool token_unreadable; // and that has been logged

    HttpOptions tls;     // without ca_pem if there is a ca_path
    const char *ca_path; // NULL: none that is looked at again
    FileMark ca_mark;
    char *ca_pem; // heap; what ca_path held last
    bool ca_unreadable;
    uint64_t tls_generation;
};

// --- tokens

static char *heap_copy(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    ASSERT(text == NULL || copy != NULL); // out of memory
    return copy;
}

static void trim(char *text)
{
    size_t length = strlen(text);
    const size_t start = strspn(text, " \t\r\n");
    while (length > start && strchr(" \t\r\n", text[length - 1]) != NULL)
        length--;
    memmove(text, text + start, length - start);
    text[length - start] = '\0';
}

static bool read_token(Arena *arena, const char *path, char **out, Error *err)
{
    char *text = NULL;
    if (!file_read(arena, path, TOKEN_MAX, &text, err))
        return false;
    if (text == NULL)
        return error_set(err, ERR_UNAVAILABLE, "%s does not exist", path);
    trim(text);
    if (text[0] == '\0')
        return error_set(err, ERR_UNAVAILABLE, "%s is empty", path);
    if (strpbrk(text, " \t\r\n") != NULL)
        return error_set(err, ERR_INVALID, "%s holds more than a token", path);
    *out = text;
    return true;
}

static void set_authorization(KubeAccess *access, Arena *arena, const char *scheme,
                              const char *value)
{
    free(access->authorization);
    access->authorization = heap_copy(arena_printf(arena, "%s %s", scheme, value));
}

// The old token is used on when there is no new one: it may be good for a while yet.
static void renew_token(KubeAccess *access, Arena *arena)
{
    char *token = NULL;
    Error err = {0};
    access->token_read_at = clock_now(access->clock);
    const bool ok = read_token(arena, access->token_file, &token, &err);
    if (ok)
        set_authorization(access, arena, "Bearer", token);
    else if (!access->token_unreadable)
        log_warn("cannot read the token again, the old one is used on error='%s'", err.text);
    access->token_unreadable = !ok;
}

const char *kube_access_authorization(KubeAccess *access, Arena *arena)
{
    pthread_mutex_lock(&access->mutex);
    if (access->token_file != NULL &&
        instant_ms_between(access->token_read_at, clock_now(access->clock)) >= TOKEN_AGE_MS)
        renew_token(access, arena);
    const char *copy = arena_strdup(arena, access->authorization);
    pthread_mutex_unlock(&access->mutex);
    return copy;
}

void kube_access_unauthorized(KubeAccess *access)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    pthread_mutex_lock(&access->mutex);
    if (access->token_file != NULL)
        renew_token(access, arena);
    pthread_mutex_unlock(&access->mutex);
}

// --- certificates

static bool mark_of(const char *path, FileMark *out)
{
    struct stat at;
    if (stat(path, &at) != 0)
        return false;
    *out = (FileMark){
        .device = at.st_dev, .inode = at.st_ino, .size = at.st_size, .changed = at.st_mtim};
    return true;
}

static bool same_mark(const FileMark *a, const FileMark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool read_authorities(KubeAccess *access, Error *err)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    FileMark mark;
    char *text = NULL;
    if (!mark_of(access->ca_path, &mark))
        return error_set(err, ERR_UNAVAILABLE, "%s does not exist, or is not ours to see",
                         access->ca_path);
    if (access->ca_pem != NULL && same_mark(&mark, &access->ca_mark))
        return true;
    if (!file_read(arena, access->ca_path, CA_MAX, &text, err))
        return false;
    if (text == NULL || strstr(text, "-----BEGIN ") == NULL)
        return error_set(err, ERR_INVALID, "%s holds no certificate", access->ca_path);
    free(access->ca_pem);
    access->ca_pem = heap_copy(text);
    access->ca_mark = mark;
    access->tls_generation++;
    return true;
}

bool kube_access_tls(KubeAccess *access, uint64_t *generation, Arena *arena, HttpOptions *out)
{
    Error err = {0};
    pthread_mutex_lock(&access->mutex);
    if (access->ca_path != NULL) {
        const bool ok = read_authorities(access, &err);
        if (!ok && !access->ca_unreadable)
            log_warn("cannot read the authorities again, the old ones are trusted on error='%s'",
                     err.text);
        access->ca_unreadable = !ok;
    }
    const bool changed = *generation != access->tls_generation;
    if (changed) {
        *generation = access->tls_generation;
        *out = access->tls;
        if (access->ca_path != NULL)
            out->ca_pem = arena_strdup(arena, access->ca_pem);
    }
    pthread_mutex_unlock(&access->mutex);
    return changed;
}

// --- opening

static bool has_content(Arena *arena, const char *path, size_t limit)
{
    char *text = NULL;
    Error ignored = {0};
    return file_read(arena, path, limit, &text, &ignored) && !str_empty(text);
}

static bool open_service_account(KubeAccess *access, const KubeAccessOptions *options, Error *err)
{
    Arena *arena = access->arena;
    const char *directory = str_or(options->service_account_dir, SERVICE_ACCOUNT);
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    const char *token_file = path_join(arena, directory, "token");
    const char *ca_file = str_or(options->cacert, path_join(arena, directory, "ca.crt"));
    char *token = NULL, *name = NULL;
    Error ignored = {0};
    if (options->never_in_cluster)
        return error_set(err, ERR_INVALID, "not asked for");
    if (str_empty(host) || str_empty(port))
        return error_set(err, ERR_INVALID,
                         "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
    if (!read_token(arena, token_file, &token, err))
        return false;
    if (!has_content(arena, ca_file, CA_MAX))
        return error_set(err, ERR_INVALID, "%s is missing or empty", ca_file);

    access->ca_path = arena_strdup(arena, ca_file);
    if (!read_authorities(access, err))
        return false;
    access->in_cluster = true;
    access->server = arena_printf(
        arena, strchr(host, ':') == NULL ? "https://%s:%s" : "https://[%s]:%s", host, port);
    access->token_file = token_file;
    access->token_read_at = clock_now(access->clock);
    set_authorization(access, arena, "Bearer", token);
    if (file_read(arena, path_join(arena, directory, "namespace"), NAME_MAX_BYTES, &name,
                  &ignored) &&
        name != NULL) {
        trim(name);
        access->namespace = str_or(name, access->namespace);
    }
    return true;
}

static bool use_kubeconfig(KubeAccess *access, const KubeConfig *config, Error *err)
{
    Arena *arena = access->arena;
    access->server = config->server;
    access->tls = (HttpOptions){.cert_file = config->cert_file,
                                .cert_pem = config->cert_pem,
                                .key_file = config->key_file,
                                .key_pem = config->key_pem,
                                .ca_pem = config->ca_pem,
                                .skip_verify = config->skip_verify};
    if (config->ca_pem == NULL && config->ca_file != NULL && !config->skip_verify) {
        access->ca_path = config->ca_file;
        if (!read_authorities(access, err))
            return false;
    }
    if (config->token != NULL)
        set_authorization(access, arena, "Bearer", config->token);
    if (config->token_file != NULL) {
        char *token = NULL;
        access->token_file = config->token_file;
        access->token_read_at = clock_now(access->clock);
        if (read_token(arena, config->token_file, &token, err))
            set_authorization(access, arena, "Bearer", token);
        else if (config->token == NULL)
            return false;
    } else if (config->token == NULL && config->username != NULL) {
        const char *pair =
            arena_printf(arena, "%s:%s", config->username, str_or(config->password, ""));
        set_authorization(access, arena, "Basic", base64_of(arena, pair, strlen(pair)));
    }
    return true;
}

static bool open_kubeconfig(KubeAccess *access, const KubeAccessOptions *options, Error *err)
{
    const char *path =
        options->kubeconfig != NULL ? options->kubeconfig : kubeconfig_path(access->arena);
    KubeConfig config = {0};
    if (path == NULL)
        return error_set(err, ERR_INVALID, "neither KUBECONFIG nor HOME is set");
    return kubeconfig_read(access->arena, path, options->context, &config, err) &&
           use_kubeconfig(access, &config, err);
}

bool kube_access_open(const KubeAccessOptions *options, Clock *clock, KubeAccess **out, Error *err)
{
    AUTO(kube_access_release) KubeAccess *access = calloc(1, sizeof *access);
    ASSERT(access != NULL); // out of memory
    const int failed = pthread_mutex_init(&access->mutex, NULL);
    ASSERT(failed == 0);
    access->clock = clock;
    access->arena = arena_new(ARENA_CAP_DEFAULT);
    access->namespace = "default";
    access->tls_generation = 1;

    Error in_cluster = {0}, outside = {0};
    if (!open_service_account(access, options, &in_cluster)) {
        access->ca_path = NULL;
        if (!open_kubeconfig(access, options, &outside))
            return error_set(err, ERR_INVALID,
                             "no way to the Kubernetes API: not in a pod (%s), and by kubeconfig: "
                             "%s",
                             in_cluster.text, outside.text);
    }
    *out = TAKE(access);
    return true;
}

void kube_access_free(KubeAccess *access)
{
    if (access == NULL)
        return;
    pthread_mutex_destroy(&access->mutex);
    free(access->authorization);
    free(access->ca_pem);
    arena_free(access->arena);
    free(access);
}

void kube_access_release(KubeAccess **access)
{
    kube_access_free(*access);
    *access = NULL;
}

bool kube_access_in_cluster(const KubeAccess *access)
{
    return access->in_cluster;
}

const char *kube_access_server(const KubeAccess *access)
{
    return access->server;
}

const char *kube_access_namespace(const KubeAccess *access)
{
    return access->namespace;
}
