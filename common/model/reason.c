#include "common/model/reason.h"

#include "common/base/attributes.h"

static const struct {
    const char *name, *text;
} reasons[] = {
#define REASON_ROW(name, text) [REASON_##name] = {#name, text},
    REASON_TABLE(REASON_ROW)
#undef REASON_ROW
};

const char *reason_name(Reason reason)
{
    ASSERT(reason < REASON_COUNT);
    return reasons[reason].name;
}

const char *reason_text(Reason reason)
{
    ASSERT(reason < REASON_COUNT);
    return reasons[reason].text;
}
