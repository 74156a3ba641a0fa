#include "common/model/peer.h"

static Lsn lsn_of(const Tree *xlog, const char *key)
{
    const int64_t value = tree_get_int(xlog, key, 0);
    return value > 0 ? (Lsn)value : LSN_NONE;
}

bool wal_positions_of(const Tree *status, WalPositions *out)
{
    const Tree *xlog = tree_get(status, "xlog");
    if (!xlog || xlog->kind != TREE_MAP)
        return false;
    *out = (WalPositions){.location = lsn_of(xlog, "location"),
                          .received = lsn_of(xlog, "received_location"),
                          .replayed = lsn_of(xlog, "replayed_location")};
    return true;
}

void member_set_positions(MemberView *member, const WalPositions *p)
{
    const Lsn standby = p->received > p->replayed ? p->received : p->replayed;
    member->xlog_location = p->location != LSN_NONE ? p->location : standby;
    member->receive_lsn = p->received;
    member->replay_lsn = p->replayed;
}
