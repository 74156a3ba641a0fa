// How the last leader went: docs/store.md, "A leader key that is not there". Deletes by hand, by
// expiry and by release look alike in the key itself; what else happened in the same revision tells
// them apart.
#include "dcs/etcd_cache.h"

#include <stdlib.h>
#include <string.h>

static void keep_text(char **to, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    ASSERT(text == NULL || copy != NULL); // out of memory
    free(*to);
    *to = copy;
}

void vacancy_done(VacancyTracker *tracker)
{
    free(tracker->holder);
    free(tracker->session);
    *tracker = (VacancyTracker){0};
}

static void set_kind(VacancyTracker *tracker, VacancyKind kind, Instant now)
{
    tracker->kind = kind;
    tracker->since = kind == VACANCY_NONE ? (Instant){0} : now;
}

// Reserved from the first time on: the holder cannot have proven anything since.
static void set_tampered(VacancyTracker *tracker, Instant now)
{
    if (tracker->kind != VACANCY_TAMPERED)
        set_kind(tracker, VACANCY_TAMPERED, now);
}

// The key names somebody and dies with a lease.
static bool somebody_leads(const ClusterView *view)
{
    return view->leader.name != NULL && view->leader.session != NULL;
}

static bool key_is_there(const ClusterView *view)
{
    return view->leader.mod_revision != 0;
}

static bool is_one_of_ours(const ClusterView *view)
{
    const MemberView *member = cluster_leader_member(view);
    return term_record_valid(&view->term, &view->leader) ||
           (member != NULL && member->howdah != NULL);
}

static void adopt(VacancyTracker *tracker, const ClusterView *view, Instant now)
{
    keep_text(&tracker->holder, view->leader.name);
    keep_text(&tracker->session, view->leader.session);
    tracker->create_revision = view->leader.create_revision;
    tracker->fenced = is_one_of_ours(view);
    tracker->led = true;
    set_kind(tracker, VACANCY_NONE, now);
}

static bool is_known_holder(const VacancyTracker *tracker, const LeaderView *leader)
{
    return tracker->create_revision == leader->create_revision &&
           str_eq(tracker->holder, leader->name);
}

// The very key we know, or a Patroni leader that put its key under a new lease.
static bool goes_on(const VacancyTracker *tracker, const LeaderView *leader)
{
    return is_known_holder(tracker, leader) &&
           (str_eq(tracker->session, leader->session) || !tracker->fenced);
}

static bool has_traces(const ClusterView *view)
{
    return view->initialize != NULL || view->term.mod_revision != 0 ||
           view->history_revision != 0 || view->optime != LSN_NONE;
}

static void settle_without_leader(VacancyTracker *tracker, const ClusterView *view, Instant now)
{
    const TermRecord *term = &view->term;
    const MemberView *holder = term->present ? cluster_member(view, term->holder) : NULL;
    if (!has_traces(view)) {
        set_kind(tracker, VACANCY_NEVER, now);
        return;
    }
    if (term->present)
        keep_text(&tracker->holder, term->holder);
    if (term->present && term->released)
        set_kind(tracker, VACANCY_RELEASED, now);
    else if (holder != NULL && holder->session != NULL)
        set_tampered(tracker, now); // its lease lives, so its key did not expire
    else
        set_kind(tracker, VACANCY_FOUND, now);
}

void vacancy_first(VacancyTracker *tracker, const ClusterView *after, Instant now)
{
    if (somebody_leads(after)) {
        adopt(tracker, after, now);
    } else if (key_is_there(after)) {
        if (after->term.present)
            keep_text(&tracker->holder, after->term.holder);
        set_tampered(tracker, now);
    } else {
        settle_without_leader(tracker, after, now);
    }
}

// No leader before, none now: only whether there are any traces may have changed.
static void stay_vacant(VacancyTracker *tracker, const ClusterView *after, Instant now)
{
    if (tracker->kind == VACANCY_NEVER && has_traces(after))
        settle_without_leader(tracker, after, now);
    else if (tracker->kind == VACANCY_FOUND && !tracker->led && !has_traces(after))
        set_kind(tracker, VACANCY_NEVER, now); // a bootstrap that was called off
}

static void lose_leader(VacancyTracker *tracker, const ClusterView *before,
                        const ClusterView *after, const RevisionChange *change, Instant now)
{
    const TermRecord *term = &after->term;
    const bool marked = term->present && term->released &&
                        str_eq(term->holder, before->leader.name) &&
                        (change->term_put || term->term == before->leader.create_revision);
    if (tracker->kind == VACANCY_TAMPERED)
        return; // the key that went was not the holder's
    if (marked)
        set_kind(tracker, VACANCY_RELEASED, now);
    else if (change->foreign_deleted > 0)
        set_tampered(tracker, now); // a lease takes only its own keys along: this was a wipe
    else if (change->bound_deleted > 0)
        set_kind(tracker, VACANCY_EXPIRED, now);
    else if (!tracker->fenced)
        set_kind(tracker, VACANCY_RELEASED, now); // Patroni deletes its key and leaves no marker
    else
        set_tampered(tracker, now);
}

void vacancy_step(VacancyTracker *tracker, const ClusterView *before, const ClusterView *after,
                  const RevisionChange *change, Instant now)
{
    if (somebody_leads(after)) {
        const bool acquired = !key_is_there(before) ||
                              (change->term_put && term_record_valid(&after->term, &after->leader));
        if (acquired || goes_on(tracker, &after->leader))
            adopt(tracker, after, now);
        else
            set_tampered(tracker, now);
    } else if (key_is_there(after)) {
        set_tampered(tracker, now);
    } else if (key_is_there(before)) {
        lose_leader(tracker, before, after, change, now);
    } else {
        stay_vacant(tracker, after, now);
    }
}

static void lose_leader_unseen(VacancyTracker *tracker, const ClusterView *before,
                               const ClusterView *after, Instant now)
{
    const TermRecord *was = &before->term, *is = &after->term;
    if (is->present && is->mod_revision > was->mod_revision)
        settle_without_leader(tracker, after, now); // others led meanwhile, or it was released
    else if (tracker->kind == VACANCY_TAMPERED)
        return;
    else if (was->present && !is->present)
        set_tampered(tracker, now);
    else if (!tracker->fenced)
        set_kind(tracker, VACANCY_RELEASED, now);
    else
        settle_without_leader(tracker, after, now);
}

void vacancy_leap(VacancyTracker *tracker, const ClusterView *before, const ClusterView *after,
                  bool replaced, Instant now)
{
    if (replaced) {
        if (somebody_leads(after) || !tracker->led)
            vacancy_first(tracker, after, now);
        else if (!key_is_there(after) && after->term.present && after->term.released)
            settle_without_leader(tracker, after, now);
        else
            set_tampered(tracker, now);
        return;
    }
    // Somebody may have led in between: what was reserved before is reserved from now on.
    if (tracker->kind == VACANCY_TAMPERED &&
        (after->term.mod_revision != before->term.mod_revision ||
         after->leader.mod_revision != before->leader.mod_revision))
        tracker->since = now;
    if (somebody_leads(after)) {
        const bool acquired = after->leader.create_revision > before->revision ||
                              term_record_valid(&after->term, &after->leader);
        if (acquired || goes_on(tracker, &after->leader))
            adopt(tracker, after, now);
        else
            set_tampered(tracker, now);
    } else if (key_is_there(after)) {
        set_tampered(tracker, now);
    } else if (key_is_there(before) || after->term.mod_revision > before->term.mod_revision) {
        lose_leader_unseen(tracker, before, after, now);
    } else {
        stay_vacant(tracker, after, now);
    }
}
