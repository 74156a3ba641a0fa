// GET /metrics: Prometheus text. Patroni's metrics in its order, ours after them. Pure.
#pragma once
#include "api/status_document.h"

char *metrics_text(Arena *arena, const StatusInput *input, Instant now);
