// The dynamic configuration. The agent merges and writes: it knows the revision it decided from.
#include "api/actions.h"

enum { OK = 200, BAD_GATEWAY = 502, CONFIG_MS = 30 * 1000 };

void route_get_config(Exchange *x)
{
    ClusterView view = {0};
    if (!exchange_cluster(x, &view))
        return;
    if (view.config == NULL || view.config_invalid)
        exchange_page(x, BAD_GATEWAY);
    else
        exchange_json(x, OK, tree_to_json(x->arena, view.config, JSON_SPACED));
}

void route_patch_config(Exchange *x)
{
    exchange_submit(x, API_PATCH_CONFIG, x->request.body, "Configuration change", CONFIG_MS);
}

void route_put_config(Exchange *x)
{
    exchange_submit(x, API_PUT_CONFIG, x->request.body, "Configuration change", CONFIG_MS);
}
