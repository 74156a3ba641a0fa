// What the agent and its warden say to each other over the unix socket. Both sides include this
// file; it needs nothing but libc.
//
// A frame, all numbers little-endian:
//
//   offset 0  u16  0x5748 ("HW"); anything else is garbage and drops the connection
//          2  u16  type
//          4  u32  tag: chosen by the asker, repeated in the answer; 0 in what is told unasked
//          8  u32  length of the body, at most 65524
//         12       body
//
// A text is u32 length, the bytes, and one NUL that the length does not count. Points in time are
// CLOCK_BOOTTIME in nanoseconds. Bodies only ever grow at their end: whoever reads one ignores what
// it does not know there. HELLO, STATE, FENCE, UNFENCE and SIGNAL never change otherwise, so that
// an old warden, whose Postgres nobody wants to restart, obeys a new agent and the other way round.
//
//   the agent asks                                            the warden answers
//   HELLO    u16 version, i64 warden, u64 epoch               STATE, or REPLACED and the end
//   FENCE    i64 quit_at, i64 kill_at, i64 ttl_ms, text note  STATE and DONE, or ERROR
//   UNFENCE  u16 flags (UNFENCE_*), text note                 STATE and DONE, or ERROR
//   SIGNAL   text id, i32 signal                              DONE, or ERROR
//   SPAWN    u16 flags (SPAWN_*), text id, text cwd, text     STATE, and DONE once exec has
//   happened,
//            stdin, u16 count and texts argv, the same env    or ERROR
//   ADOPT    text id, i32 pid, u64 start time                 STATE and DONE, or ERROR
//
// HELLO names the warden (`started` of its STATE) and the epoch its sender was last attached to, 0
// for none. If somebody else has attached to that warden since, the sender has been replaced.
//
//   the warden says
//   STATE       u16 version, u16 flags (STATE_*), u64 epoch, i64 started, i64 now, i64 quit_at,
//               i64 kill_at, i64 fenced_at, u32 fenced_total, text note, u16 count, and for each
//               child: u16 length of the rest, u16 flags (CHILD_*), i32 pid, i32 status,
//               i64 started_at, i64 exited_at, text id
//               Sent on every change, always before the event that goes with it
//   DONE        nothing
//   ERROR       u16 WardenError, text
//   OUTPUT      text id, u32 bytes lost before these, text bytes (which may hold any byte)
//   EXITED      text id, i32 wait status (STATUS_UNKNOWN: adopted, and somebody else's child)
//   FENCED      i64 when, i64 took: ns until no process of the data directory was left
//   TERMINATING nothing
//   REPLACED    nothing; a newer agent is attached, and the connection ends
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WARDEN_PROTOCOL  1
#define WIRE_MAGIC       0x5748U
#define WIRE_HEAD        12U
#define WIRE_FRAME_MAX   65536U
#define WIRE_BODY_MAX    (WIRE_FRAME_MAX - WIRE_HEAD)
#define WARDEN_CHILDREN  16 // at the same time
#define WARDEN_ID_SIZE   32 // with NUL; letters, digits, '.', '_' and '-'
#define WARDEN_NOTE_SIZE 257
#define WARDEN_ARGS_MAX  1024 // of argv, and of env

// Neither exited nor killed, by the macros of <sys/wait.h>.
#define STATUS_UNKNOWN (-1)

typedef enum {
    WIRE_HELLO = 1,
    WIRE_FENCE,
    WIRE_UNFENCE,
    WIRE_SIGNAL,
    WIRE_SPAWN,
    WIRE_ADOPT,
    WIRE_STATE = 64,
    WIRE_DONE,
    WIRE_ERROR,
    WIRE_OUTPUT,
    WIRE_EXITED,
    WIRE_FENCED,
    WIRE_TERMINATING,
    WIRE_REPLACED,
} WireType;

typedef enum {
    WARDEN_REFUSED = 1, // not done, and would be refused again: the text says why
    WARDEN_FAILED,      // not done: the system would not
    WARDEN_UNKNOWN,     // no such message in this version
} WardenError;

enum { SPAWN_POSTMASTER = 1, SPAWN_STDIN = 2 }; // without SPAWN_STDIN: /dev/null
enum { UNFENCE_SURE = 1 };                      // see Processes.unfence
enum {
    STATE_ARMED = 1,       // a deadline stands; passed, if STATE_STRUCK
    STATE_STRUCK = 2,      // it struck; stands until FENCE moves it or UNFENCE lifts it
    STATE_WEAK = 4,        // the postmaster is adopted: our death would not end it
    STATE_TERMINATING = 8, // told to stop
    STATE_REMAINS = 16,    // processes of the data directory exist
};
enum { CHILD_FLAG_RUNNING = 1, CHILD_FLAG_POSTMASTER = 2, CHILD_FLAG_ADOPTED = 4 };

typedef struct {
    uint16_t magic, type;
    uint32_t tag, length;
} WireHead;

// Writes into a buffer of fixed size; what does not fit sets overflow and writes nothing.
typedef struct {
    uint8_t *data;
    size_t size, used;
    bool overflow;
} WireWriter;

// Reads from a body; past its end everything is zero and bad is set.
typedef struct {
    const uint8_t *data;
    size_t size, at;
    bool bad;
} WireReader;

static inline void wire_put_bytes(WireWriter *out, const void *bytes, size_t size)
{
    if (out->overflow || out->size - out->used < size) {
        out->overflow = true;
        return;
    }
    memcpy(out->data + out->used, bytes, size);
    out->used += size;
}

static inline void wire_put_number(WireWriter *out, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    wire_put_bytes(out, bytes, size);
}

static inline void wire_put_u16(WireWriter *out, unsigned value)
{
    wire_put_number(out, value, 2);
}

static inline void wire_put_u32(WireWriter *out, uint32_t value)
{
    wire_put_number(out, value, 4);
}

static inline void wire_put_i32(WireWriter *out, int32_t value)
{
    wire_put_number(out, (uint32_t)value, 4);
}

static inline void wire_put_u64(WireWriter *out, uint64_t value)
{
    wire_put_number(out, value, 8);
}

static inline void wire_put_i64(WireWriter *out, int64_t value)
{
    wire_put_number(out, (uint64_t)value, 8);
}

static inline void wire_put_sized(WireWriter *out, const void *bytes, size_t size)
{
    if (size > WIRE_BODY_MAX) {
        out->overflow = true;
        return;
    }
    wire_put_u32(out, (uint32_t)size);
    wire_put_bytes(out, bytes, size);
    wire_put_bytes(out, "", 1);
}

static inline void wire_put_text(WireWriter *out, const char *text)
{
    wire_put_sized(out, text, strlen(text));
}

static inline void wire_put_head(WireWriter *out, unsigned type, uint32_t tag)
{
    wire_put_u16(out, WIRE_MAGIC);
    wire_put_u16(out, type);
    wire_put_u32(out, tag);
    wire_put_u32(out, 0);
}

// Fills in the length of the frame whose head was put at `start`. False if it did not fit.
static inline bool wire_finish(WireWriter *out, size_t start)
{
    if (out->overflow || out->used - start > WIRE_FRAME_MAX)
        return false;
    WireWriter length = {out->data + start + 8, 4, 0, false};
    wire_put_u32(&length, (uint32_t)(out->used - start - WIRE_HEAD));
    return true;
}

// Puts a u16 aside for the length of what follows; wire_end_block fills it in.
static inline size_t wire_begin_block(WireWriter *out)
{
    wire_put_u16(out, 0);
    return out->used;
}

static inline void wire_end_block(WireWriter *out, size_t start)
{
    if (out->overflow)
        return;
    WireWriter length = {out->data + start - 2, 2, 0, false};
    wire_put_u16(&length, (unsigned)(out->used - start));
}

static inline const uint8_t *wire_get_bytes(WireReader *in, size_t size)
{
    if (in->bad || in->size - in->at < size) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *bytes = in->data + in->at;
    in->at += size;
    return bytes;
}

static inline uint64_t wire_get_number(WireReader *in, size_t size)
{
    const uint8_t *bytes = wire_get_bytes(in, size);
    uint64_t value = 0;
    for (size_t i = 0; bytes && i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static inline uint16_t wire_get_u16(WireReader *in)
{
    return (uint16_t)wire_get_number(in, 2);
}

static inline uint32_t wire_get_u32(WireReader *in)
{
    return (uint32_t)wire_get_number(in, 4);
}

static inline int32_t wire_get_i32(WireReader *in)
{
    return (int32_t)wire_get_number(in, 4);
}

static inline uint64_t wire_get_u64(WireReader *in)
{
    return wire_get_number(in, 8);
}

static inline int64_t wire_get_i64(WireReader *in)
{
    return (int64_t)wire_get_number(in, 8);
}

// The bytes stay where they are, NUL-terminated. Never NULL.
static inline const char *wire_get_sized(WireReader *in, size_t *size)
{
    const size_t length = wire_get_u32(in);
    const uint8_t *bytes = length < WIRE_BODY_MAX ? wire_get_bytes(in, length + 1) : NULL;
    *size = 0;
    if (!bytes || bytes[length] != 0) {
        in->bad = true;
        return "";
    }
    *size = length;
    return (const char *)bytes;
}

static inline const char *wire_get_text(WireReader *in)
{
    size_t size = 0;
    const char *text = wire_get_sized(in, &size);
    if (memchr(text, 0, size)) {
        in->bad = true;
        return "";
    }
    return text;
}

// A part of the body whose length stands in front of it as u16.
static inline WireReader wire_get_block(WireReader *in)
{
    const size_t size = wire_get_u16(in);
    const uint8_t *bytes = wire_get_bytes(in, size);
    return (WireReader){bytes, bytes ? size : 0, 0, !bytes};
}

// The head of the frame at the start of size bytes. False: not all of it is here yet.
static inline bool wire_peek(const uint8_t *data, size_t size, WireHead *out)
{
    if (size < WIRE_HEAD)
        return false;
    WireReader in = {data, size, 0, false};
    out->magic = wire_get_u16(&in);
    out->type = wire_get_u16(&in);
    out->tag = wire_get_u32(&in);
    out->length = wire_get_u32(&in);
    return true;
}

static inline bool wire_head_ok(const WireHead *head)
{
    return head->magic == WIRE_MAGIC && head->length <= WIRE_BODY_MAX;
}
