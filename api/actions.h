// What a route does: checks the request as far as it can be checked without the store, then hands
// it to the agent (docs/rest.md, "Changing").
#pragma once
#include "api/exchange.h"

// config.c
void route_get_config(Exchange *exchange);
void route_patch_config(Exchange *exchange);
void route_put_config(Exchange *exchange);

// pages.c
void route_get_patroni(Exchange *exchange);
void route_get_metrics(Exchange *exchange);
void route_get_cluster(Exchange *exchange);
void route_get_history(Exchange *exchange);
void route_get_failsafe(Exchange *exchange);
void route_get_decisions(Exchange *exchange);
void route_get_why(Exchange *exchange);

// actions.c
void route_post_failover(Exchange *exchange);
void route_post_switchover(Exchange *exchange);
void route_delete_switchover(Exchange *exchange);
void route_post_restart(Exchange *exchange);
void route_delete_restart(Exchange *exchange);
void route_post_reload(Exchange *exchange);
void route_post_reinitialize(Exchange *exchange);
void route_post_failsafe(Exchange *exchange);
void route_post_sigterm(Exchange *exchange);
void route_post_mpp(Exchange *exchange);
