// The insides of the program howdah-warden, shared by its files and nobody else. One thread, one
// static struct; nothing is allocated after the start, and no call in the loop may block: not on
// the agent, not on a log, not on a disk.
#pragma once
#include "agent/warden/fence_rules.h"
#include "agent/warden/proc_parse.h"
#include "agent/warden/protocol.h"

#include <poll.h>
#include <sys/types.h>

#define PENDING_MAX   4
#define PENDING_IN    1024 // enough for the HELLO of any version
#define CLIENT_OUT    16384
#define OUT_RESERVE   6144 // of it, kept free of children's output
#define OUTPUT_CHUNK  4096
#define POLL_MAX      96
#define LOG_WRITERS   4
#define EXIT_USAGE    2
#define NEVER         INT64_MAX
#define DATA_DIR_SIZE 4096
#define SOCKET_SIZE   108 // sockaddr_un's

typedef enum {
    CHILD_FREE,
    CHILD_RUNNING,
    CHILD_ENDING, // reaped; its output is not delivered yet, or what it left is being killed
    CHILD_EXITED, // kept for an agent that was not there, until the place is needed
} ChildState;

typedef struct {
    ChildState state;
    bool postmaster, adopted;
    char id[WARDEN_ID_SIZE];
    pid_t pid;
    int status;
    int pidfd;    // adopted only; else -1
    int output;   // read end of its pipe; -1: inherited, or all read
    int starting; // tells about the way to exec and closes there; -1: past it
    uint32_t start_tag;
    uint64_t start_epoch;
    uint32_t lost;      // bytes of output thrown away and not reported yet
    uint32_t tail_read; // after its end; bounded, for who inherited the pipe may write for ever
    int64_t started_at, exited_at;
    int poll_output, poll_starting, poll_pidfd; // places in Warden.polls, -1
} Child;

typedef struct {
    int fd; // -1: nobody
    int poll;
    int64_t since;
    uint64_t order; // of arrival
    size_t used;
    uint8_t in[PENDING_IN];
} Pending;

typedef struct {
    int fd; // -1: nobody
    int poll;
    size_t in_used, out_start, out_end;
    uint8_t in[WIRE_FRAME_MAX];
    uint8_t out[CLIENT_OUT];
} Client;

// The killing of everything that belongs to the data directory: SIGQUIT first, SIGKILL from kill_at
// on, until a pass finds nothing.
typedef struct {
    bool active, quit_sent;
    int64_t kill_at, next_pass, pause;
} Sweep;

typedef enum {
    STOP_NO,
    STOP_HAND_OVER, // the agent's turn
    STOP_FAST,      // SIGINT sent
    STOP_KILL,      // that took too long
    STOP_LINGER,    // Postgres is gone; the agent may have a last word
    STOP_END,       // SIGTERM sent to whatever still runs
} StopPhase;

// The program of --respawn.
typedef struct {
    char **argv; // NULL: none
    pid_t pid;   // 0: not running
    bool started_once;
    int64_t started_at, start_next, backoff_ms;
    int stop_signal; // forwarded: do not start it again
    int exit_code;   // once it has ended after that
} Program;

// Device and inode.
typedef struct {
    bool known;
    uint64_t device, inode;
} DirId;

typedef struct {
    // what it was told at the start
    const char *socket_path; // NULL: plain respawner
    const char *data_dir;
    int64_t stop_timeout_ms, fast_timeout_ms;
    Program program;

    int64_t now, wall; // of this round of the loop
    int64_t started_at;
    pid_t self;
    int signals, listener, lock, proc; // file descriptors
    int poll_signals, poll_listener;
    struct pollfd polls[POLL_MAX];
    int poll_count;

    Client client;
    Pending pending[PENDING_MAX];
    uint64_t connections; // ever accepted
    uint64_t epoch;
    int64_t alone_since; // no agent attached since; 0: one is

    Child children[WARDEN_CHILDREN];
    DirId dir; // of the data directory, as its last postmaster found it
    Sweep sweep;
    bool leftover; // processes of the data directory, and no postmaster of ours
    int64_t leftover_next;

    Fence fence;
    char note[WARDEN_NOTE_SIZE];
    int64_t struck_at, fenced_at; // the running strike's begin; the last one's
    uint32_t fenced_total;

    StopPhase stop;
    int64_t stop_next; // when the phase has lasted long enough
    bool finished;
    int exit_code;
} Warden;

// report.c: one line to standard error, never waiting for whoever reads it.
void report_open(void);
void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void report_careful(bool careful); // while a fence is armed, not even a file may hold us up
bool report_reaped(pid_t pid);     // one of its writers has ended

// proc.c: processes, as /proc shows them.
bool proc_open(Warden *w);
bool proc_stat(const Warden *w, pid_t pid, ProcStat *out);
bool proc_is_postgres(const Warden *w, pid_t pid);
bool proc_cwd(const Warden *w, pid_t pid, DirId *out);
bool proc_cwd_is_named(const Warden *w, pid_t pid, const char *path);
DirId dir_id(int at, const char *path); // never asks a remote file system
// Sends signal (0: none) to every process of the data directory, the postmaster first, and returns
// how many it found that can still run; -1: could not look.
int proc_sweep(const Warden *w, int signal);
// As proc_sweep(w, 0), but counts only those with SIGQUIT pending.
int proc_count_doomed(const Warden *w);

// launch.c: from fork to exec.
typedef struct {
    bool postmaster;
    const char *cwd, *stdin_text; // stdin_text NULL: /dev/null
    WireReader args;              // u16 count and texts argv, the same env; checked
} Launch;
bool launch(Warden *w, Child *child, const Launch *launch, const char **what_failed);
void launch_reset_signals(void);   // in the child
void launch_close_inherited(void); // all but the standard three
typedef struct {
    enum { LAUNCH_DIR, LAUNCH_FAILED } kind;
    int error; // errno; 0: step says it all
    char step[160];
    DirId dir;
} LaunchReport; // what comes through Child.starting

// children.c
Child *child_find(Warden *w, const char *id); // NULL: never heard of
Child *child_place(Warden *w);                // NULL: all run
Child *child_postmaster(Warden *w);           // running or ending; NULL: none
bool child_is_known(const Warden *w, pid_t pid);
bool child_signal(const Child *child, int signal); // it runs; false: errno
void child_started(Warden *w, Child *child);
void child_ended(Warden *w, Child *child, int status);
void children_reap(Warden *w);
void children_watch(Warden *w);
void children_step(Warden *w); // what poll said, output, ends
int64_t children_next(const Warden *w);
size_t children_running_tasks(const Warden *w);

// fence.c: strikes and sweeps.
void fence_step(Warden *w);
void sweep_start(Warden *w, int64_t kill_at);
void sweep_step(Warden *w);
void leftover_look(Warden *w);
void leftover_inherit(Warden *w); // at the start
int64_t fence_next(const Warden *w);

// socket.c: the agent's end.
bool socket_open(Warden *w);
void socket_close(Warden *w);
void socket_watch(Warden *w);
void socket_accept(Warden *w);
void socket_step(Warden *w);
void socket_flush(Warden *w);
int64_t socket_next(const Warden *w);
void client_drop(Warden *w, const char *why); // why NULL: it left
size_t client_room(const Warden *w);          // for children's output
// A frame for the agent, if one is attached: begin, put the body, end. What does not fit any more
// means that it does not read: it is dropped.
WireWriter client_begin(Warden *w, WireType type, uint32_t tag);
void client_end(Warden *w, WireWriter *frame);

// requests.c: what the agent says.
void request_handle(Warden *w, const WireHead *head, const uint8_t *body);
bool request_hello_replaced(const Warden *w, const uint8_t *body, size_t size);
void tell_state(Warden *w, uint32_t tag);
void tell_done(Warden *w, uint32_t tag);
void tell_error(Warden *w, uint32_t tag, WardenError code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

// stop.c: being told to stop.
void stop_begin(Warden *w, int signal);
void stop_step(Warden *w);
int64_t stop_next(const Warden *w);

// respawn.c
void program_step(Warden *w);
bool program_reaped(Warden *w, pid_t pid, int status);
void program_signal(Warden *w, int signal);
int64_t program_next(const Warden *w);

// install.c: --install. The exit code.
int install(const char *dir);

// warden.c
int64_t time_boot(void);
void time_take(Warden *w);                     // what this round calls now
int poll_add(Warden *w, int fd, short events); // fd -1: -1
short poll_result(const Warden *w, int place);
