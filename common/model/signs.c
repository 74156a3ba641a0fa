#include "common/model/signs.h"

#include "common/base/attributes.h"

const char *sign_state_name(SignState state)
{
    static const char *const names[] = {
        [SIGN_NO_LEADER] = "no-leader", [SIGN_FAILING_OVER] = "failing-over",
        [SIGN_DEGRADED] = "degraded",   [SIGN_HEALTHY] = "healthy",
        [SIGN_PAUSED] = "paused",       [SIGN_NOT_KNOWN] = NULL};
    ASSERT(state < SIGN_STATE_COUNT);
    return names[state];
}

const char *sign_sync_name(SignSync sync)
{
    static const char *const names[] = {[SIGN_SYNC_OFF] = "off",
                                        [SIGN_SYNC_ON] = "on",
                                        [SIGN_SYNC_STRICT] = "strict",
                                        [SIGN_SYNC_QUORUM] = "quorum"};
    ASSERT(sync < SIGN_SYNC_COUNT);
    return names[sync];
}
