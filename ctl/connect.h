// How howdahctl gets to a cluster: settings, store, and HTTP client.
#pragma once
#include "ctl/ctl.h"

// Reads the settings (docs/howdahctl.md, "How it reaches a cluster") and applies --dcs-url,
// --insecure and --api. Nothing is contacted.
bool ctl_open(Ctl *ctl, const Args *args, Error *err) MUST_CHECK;
void ctl_close(Ctl *ctl);
// The store of one cluster; ctl keeps it. ERR_INVALID: no store is configured.
bool ctl_store(Ctl *ctl, const char *scope, Dcs **out, Error *err) MUST_CHECK;
Deadline ctl_store_deadline(const Ctl *ctl);
// The cluster that is meant when none is named; NULL over --api, where the member knows.
bool ctl_default_scope(const Ctl *ctl, const char **out, Error *err) MUST_CHECK;

// "[scheme://]host[:port][/namespace]", put into a copy of the settings document.
bool dcs_url_apply(Arena *arena, const Tree *local, const char *url, const Tree **out, Error *err)
    MUST_CHECK;
