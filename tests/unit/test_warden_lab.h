// A warden of one's own, in a directory of its own, with a program named postgres to look after
// (test_warden_postgres.c). Everything it starts is gone when lab_free returns.
#pragma once
#include "tests/support/test.h"

#include "agent/warden/protocol.h"
#include "agent/warden/warden_client.h"
#include "common/base/arena.h"
#include "common/os/clock.h"

#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000 // for what must come; only a failing test waits so long

typedef struct {
    char dir[64];      // /tmp/howdah-warden-…
    char data[96];     // the data directory
    char postgres[96]; // the program
    char socket[96], log[96];
    const char *program; // howdah-warden
    pid_t warden;        // 0: none
    int log_fd;          // its standard error; 0: the file
    Processes *client;
    Clock *clock;
    Arena *arena;
} Lab;

Lab *lab_new(void);
void lab_free(Lab *lab);
// Further arguments, up to a NULL.
void lab_start_warden(Lab *lab, const char *const *more);
int lab_wait_warden(Lab *lab); // its wait status
void lab_kill_warden(Lab *lab, int signal);
void lab_attach(Lab *lab);
Lab *lab_ready(void); // new, with a warden, attached, ttl 30 s

Deadline lab_deadline(const Lab *lab);
WardenView lab_view(const Lab *lab);
void lab_spawn(Lab *lab, const char *id, const char *const *argv);
void lab_sh(Lab *lab, const char *id, const char *script);
bool lab_try_spawn(Lab *lab, const SpawnRequest *request, Error *err);
ChildExit lab_wait(Lab *lab, const char *id);
const ChildView *lab_child(const WardenView *view, const char *id); // NULL: unknown
// Starts our postgres with these words, up to a NULL, and waits until it is all there.
void lab_spawn_postgres(Lab *lab, const char *const *words);
bool lab_try_postgres(Lab *lab, const char *const *words, Error *err);
// Fences quit_ms and kill_ms from now.
void lab_fence(Lab *lab, int64_t quit_ms, int64_t kill_ms, const char *note);
bool lab_try_fence(Lab *lab, int64_t quit_ms, int64_t kill_ms, Error *err);

bool lab_file_exists(const Lab *lab, const char *name); // in the data directory
char *lab_read(Lab *lab, const char *path);
bool lab_log_has(Lab *lab, const char *text);
// Running processes (no zombies) whose program is our postgres. -1 in `at`: nobody cares.
size_t lab_count(const Lab *lab, pid_t *pids, size_t size);
bool process_runs(pid_t pid);
uint64_t process_start_time(pid_t pid);

// A connection that speaks the protocol by hand.
typedef struct {
    int fd;
    WireHead head;
    uint8_t body[WIRE_FRAME_MAX];
} Raw;
int raw_connect(const Lab *lab);
void raw_send(int fd, WireWriter *frame);
void raw_hello(int fd, int64_t warden, uint64_t epoch);
bool raw_read(Raw *raw);                     // false: the other end is closed
void raw_read_type(Raw *raw, WireType type); // skips others
#define RAW_FRAME(name, type, tag)                                                                 \
    uint8_t name##_bytes[2048];                                                                    \
    WireWriter name = {name##_bytes, sizeof name##_bytes, 0, false};                               \
    wire_put_head(&name, (type), (tag))

void lab_pause(void); // between two looks
#define WAIT_FOR(lab, condition)                                                                   \
    do {                                                                                           \
        const Deadline until_ = deadline_in((lab)->clock, WAIT_MS);                                \
        while (!(condition)) {                                                                     \
            if (deadline_over((lab)->clock, until_))                                               \
                fail_msg("never came: %s", #condition);                                            \
            lab_pause();                                                                           \
        }                                                                                          \
    } while (0)
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
