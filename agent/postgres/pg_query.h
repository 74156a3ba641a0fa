// The one monitoring query of a turn, for PostgreSQL 13 to 18: three statements in one message, one
// round trip.
#pragma once
#include "agent/postgres/pg_conn.h"
#include "common/model/server_view.h"

// Scalars only, so that the last answer can be kept by assignment.
typedef struct {
    bool in_recovery;
    uint32_t timeline;           // primary: of its WAL. 0 on a standby, which SQL cannot ask
    Lsn flush_lsn;               // primary
    Lsn receive_lsn, replay_lsn; // standby; receive is max(received and flushed, written)
    bool replay_paused;
    bool receiver; // there is a WAL receiver
    bool streaming;
    uint32_t received_timeline; // of the WAL receiver; may be ahead of what is replayed
    Lsn latest_end_lsn;
    char receiver_host[128];
    int receiver_port;
    bool restores; // there is a restore_command
    int64_t start_us, replayed_us;
    char start_text[48], replayed_text[48];
    uint32_t control_timeline; // of the last checkpoint; 0: not asked
    int server_version;
} Monitored;

typedef struct {
    const WalSenderView *senders;
    size_t sender_count;
    const SlotView *slots;
    size_t slot_count;
} MonitoredRows;

// with_control also reads the control file, which is on the data volume: only while it matters.
bool monitor_query(PgConn *pg, Arena *arena, bool with_control, Deadline deadline, Monitored *out,
                   MonitoredRows *rows, Error *err) MUST_CHECK;

// The timeline on which the WAL position lies, by the history of the timeline that is followed; 0
// when the history is not known. lsn is the end of the last record, so a switch point itself still
// belongs to the parent.
uint32_t timeline_of_position(const TimelineHistory *history, Lsn lsn);
