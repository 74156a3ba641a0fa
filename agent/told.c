#include "agent/told.h"

ToldTo told_to(const ToldFacts *f)
{
    if (!f->sidecar || f->warden_terminating || f->pod == POD_GOES)
        return TOLD_HAND_OVER;
    return instant_ms_between(f->told_at, f->now) < TOLD_WAIT_MS ? TOLD_WAIT : TOLD_LEAVE;
}
