// Which settings are in force: the local document and the store's dynamic configuration, merged
// anew when either changes. What cannot be applied is said once, and the old settings stay.
#include "agent/state.h"

#include "common/base/text.h"
#include "common/os/log.h"

#include <stdlib.h>

static void box_free(SettingsBox *box)
{
    if (!box)
        return;
    arena_free(box->arena);
    free(box);
}

void configure_done(Agent *agent)
{
    box_free(agent->box);
}

static bool every_member_is_ours(const Agent *agent)
{
    return !agent->view_known || cluster_is_all_howdah(&agent->view);
}

static bool asked_for(const Tree *value)
{
    if (!value || value->kind == TREE_NULL)
        return false;
    if (value->kind == TREE_MAP)
        return value->count > 0;
    return value->kind != TREE_BOOL || value->boolean;
}

// What this version does not do yet must not pass in silence: somebody counts on it.
static void warn_of_unsupported(const Settings *s)
{
    static const char *const keys[] = {"synchronous_mode", "pause", "standby_cluster",
                                       "failsafe_mode", "slots"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const Tree *value = tree_get(s->dynamic, keys[i]);
        if (asked_for(value))
            log_warn("settings: %s is set, but this version does not support it: it has no effect",
                     keys[i]);
    }
}

bool configure(Agent *agent, const Tree *local, const Tree *dynamic, int64_t revision, Error *err)
{
    SettingsBox *box = calloc(1, sizeof *box);
    ASSERT(box);
    box->arena = arena_new(ARENA_CAP_DEFAULT);
    SettingsNotes notes = {0};
    const bool all_howdah = every_member_is_ours(agent);
    const int major = agent->server.control.known ? agent->server.control.major : 0;
    const Tree *own_local = tree_copy(box->arena, local);
    const Tree *own_dynamic = dynamic ? tree_copy(box->arena, dynamic) : NULL;
    const bool ok = settings_build(box->arena, own_local, own_dynamic, revision, all_howdah, major,
                                   false, &box->settings, &notes, err);
    for (size_t i = 0; i < notes.warnings.count; i++)
        log_warn("settings: %s", notes.warnings.items[i]);
    if (!ok) {
        box_free(box);
        return false;
    }
    warn_of_unsupported(&box->settings);
    box->settings.standby_cluster = asked_for(tree_get(box->settings.dynamic, "standby_cluster"));
    box->settings.sync_mode = asked_for(tree_get(box->settings.dynamic, "synchronous_mode"));
    SettingsBox *old_box = agent->box;
    agent->box = box;
    agent->all_howdah = all_howdah;
    agent->settings_changed = true;
    agent->reload_files = agent->turns > 0;
    const Settings *s = &box->settings;
    if (agent->world.dcs)
        agent->world.dcs->ops->set_ttl(agent->world.dcs, s->ttl_ms, s->loop_wait_ms,
                                       s->retry_timeout_ms);
    if (agent->world.server)
        agent->world.server->ops->configure(agent->world.server, s);
    box_free(old_box); // everybody has taken a copy of what they need
    if (agent->local != local) {
        Arena *old = agent->local_arena;
        agent->local_arena = arena_new(ARENA_CAP_DEFAULT);
        agent->local = tree_copy(agent->local_arena, local);
        arena_free(old);
    }
    return true;
}

void configure_from_store(Agent *agent)
{
    const ClusterView *v = &agent->view;
    if (!agent->view_known)
        return;
    const bool changed = v->config && v->config_revision != settings_of(agent)->dynamic_revision &&
                         v->config_revision != agent->config_revision_tried;
    if (!changed && every_member_is_ours(agent) == agent->all_howdah)
        return;
    Error err = {0};
    // Absent or garbage: the last good one stays, or pause would vanish with it.
    const Tree *dynamic = v->config ? v->config : settings_of(agent)->dynamic;
    const int64_t revision = v->config ? v->config_revision : settings_of(agent)->dynamic_revision;
    if (!configure(agent, agent->local, dynamic, revision, &err)) {
        agent->config_revision_tried = v->config_revision;
        agent->all_howdah = every_member_is_ours(agent);
        log_error("dynamic configuration not applied, the old one stays error='%s'", err.text);
    }
}

bool agent_reload(Agent *agent, const Tree *local, Error *err)
{
    const Settings *s = settings_of(agent);
    Arena *scratch = arena_new(ARENA_CAP_DEFAULT);
    const Tree *dynamic = s->dynamic_revision != 0 ? tree_copy(scratch, s->dynamic) : NULL;
    const bool ok = configure(agent, local, dynamic, s->dynamic_revision, err);
    arena_free(scratch);
    if (ok)
        agent->reload_files = true;
    return ok;
}
