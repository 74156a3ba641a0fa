// Kubernetes does not show who wrote an object. So what a Howdah member would never do to its own
// record, and a winner would do otherwise, is somebody's hand.
#include "dcs/kubernetes/vacancy.h"

#include <stdlib.h>
#include <string.h>

static void set_kind(KubeVacancy *vacancy, VacancyKind kind, Instant since)
{
    vacancy->kind = kind;
    vacancy->since = kind == VACANCY_NONE ? (Instant){0} : since;
}

// Reserved from the first time on: the holder cannot have proven anything since.
static void set_tampered(KubeVacancy *vacancy, Instant now)
{
    if (vacancy->kind != VACANCY_TAMPERED)
        set_kind(vacancy, VACANCY_TAMPERED, now);
}

static void keep_holder(KubeVacancy *vacancy, const char *holder)
{
    char *copy = holder != NULL ? strdup(holder) : NULL;
    ASSERT(holder == NULL || copy != NULL); // out of memory
    free(vacancy->holder);
    vacancy->holder = copy;
}

void kube_vacancy_done(KubeVacancy *vacancy)
{
    free(vacancy->holder);
    *vacancy = (KubeVacancy){0};
}

Instant kube_vacancy_over_at(const KubeVacancy *vacancy)
{
    if (vacancy->kind != VACANCY_NONE || !vacancy->led)
        return (Instant){0};
    return instant_plus_ms(vacancy->renewed_at, vacancy->ttl_ms);
}

bool kube_vacancy_leads(const KubeVacancy *vacancy, Instant now)
{
    const Instant over_at = kube_vacancy_over_at(vacancy);
    return instant_is_set(over_at) && !instant_before(over_at, now);
}

Vacancy kube_vacancy_at(const KubeVacancy *vacancy, Instant now)
{
    if (kube_vacancy_leads(vacancy, now))
        return (Vacancy){.kind = VACANCY_NONE};
    Vacancy at = {.kind = vacancy->kind, .since = vacancy->since, .holder = vacancy->holder};
    if (vacancy->kind == VACANCY_NONE) {
        at.kind = VACANCY_EXPIRED;
        at.since = kube_vacancy_over_at(vacancy);
    }
    if (at.kind == VACANCY_NEVER)
        at.holder = NULL;
    return at;
}

static void adopt(KubeVacancy *vacancy, const LeaderState *state, Instant now,
                  int64_t default_ttl_ms)
{
    keep_holder(vacancy, state->record.leader);
    vacancy->renewed_at = now;
    vacancy->ttl_ms = state->ttl_s > 0 ? state->ttl_s * MS_PER_S : default_ttl_ms;
    vacancy->held_until = state->ours ? instant_plus_ms(now, vacancy->ttl_ms) : (Instant){0};
    vacancy->led = true;
    set_kind(vacancy, VACANCY_NONE, now);
}

// The marker of the last acquisition: nobody has led since.
static bool is_released(const LeaderState *state)
{
    return state->exists && state->term.present && state->term.released &&
           state->term.term == kube_term_of(state);
}

void kube_vacancy_first(KubeVacancy *vacancy, const LeaderState *state, bool traces, Instant now,
                        int64_t default_ttl_ms)
{
    if (state->record.leader != NULL) {
        adopt(vacancy, state, now, default_ttl_ms);
        return;
    }
    if (state->term.present)
        keep_holder(vacancy, state->term.holder);
    if (is_released(state))
        set_kind(vacancy, VACANCY_RELEASED, now);
    else
        set_kind(vacancy, traces ? VACANCY_FOUND : VACANCY_NEVER, now);
}

void kube_vacancy_traces(KubeVacancy *vacancy, bool traces, Instant now)
{
    if (vacancy->kind == VACANCY_NEVER && traces)
        set_kind(vacancy, VACANCY_FOUND, now);
    else if (vacancy->kind == VACANCY_FOUND && !vacancy->led && !traces)
        set_kind(vacancy, VACANCY_NEVER, now); // a bootstrap that was called off
}

// As winners write it: the term record in the same patch, or as Patroni does, a new point in time
// and one transition more.
static bool was_acquired(const LeaderState *before, const LeaderState *after)
{
    return after->ours || (after->record.acquire_time != NULL &&
                           !str_eq(after->record.acquire_time, before->record.acquire_time) &&
                           (after->transitions > before->transitions || !before->exists));
}

// The holder's own, as far as one can see. Its ttl counts; one that somebody else has lowered does
// not end a time that the holder counts by its own.
static bool was_renewed(const LeaderState *before, const LeaderState *after, bool held)
{
    return !str_eq(before->record.renew_time, after->record.renew_time) &&
           (!held || after->stamped);
}

static bool is_held(const KubeVacancy *vacancy, Instant now)
{
    return instant_before(now, vacancy->held_until);
}

// Until when a Howdah member may still count that was seen to lead, and whose name it is again.
static Instant still_held_until(const KubeVacancy *vacancy, const LeaderState *before,
                                const LeaderState *after, Instant now)
{
    // A renewal of its own that was not seen: somebody's edit came right behind it.
    const bool unseen = instant_is_set(vacancy->held_until) && after->stamp != NULL &&
                        !str_eq(before->stamp, after->stamp);
    return unseen ? instant_plus_ms(now, vacancy->ttl_ms) : vacancy->held_until;
}

static void name_appeared(KubeVacancy *vacancy, const LeaderState *before, const LeaderState *after,
                          Instant now, int64_t default_ttl_ms)
{
    const bool same = str_eq(after->record.leader, vacancy->holder);
    const bool reserved = vacancy->kind == VACANCY_TAMPERED;
    if (!same && (reserved || kube_vacancy_leads(vacancy, now)) && !was_acquired(before, after)) {
        set_tampered(vacancy, now);
        return;
    }
    const bool held = same && is_held(vacancy, now);
    const bool renewed =
        !same || !kube_vacancy_leads(vacancy, now) || was_renewed(before, after, held);
    const int64_t least_ms = renewed ? 0 : vacancy->ttl_ms;
    const Instant held_until = still_held_until(vacancy, before, after, now);
    adopt(vacancy, after, now, default_ttl_ms);
    if (vacancy->ttl_ms < least_ms)
        vacancy->ttl_ms = least_ms;
    if (!held || (renewed && after->ours))
        return;
    vacancy->held_until = held_until;
    if (instant_before(kube_vacancy_over_at(vacancy), held_until))
        vacancy->ttl_ms = instant_ms_between(now, held_until);
}

static void name_went(KubeVacancy *vacancy, const LeaderState *after, Instant now)
{
    const bool over = !kube_vacancy_leads(vacancy, now);
    if (is_released(after)) {
        keep_holder(vacancy, after->term.holder); // perhaps of somebody we have not seen lead
        vacancy->held_until = (Instant){0};
        set_kind(vacancy, VACANCY_RELEASED, now);
    } else if (vacancy->kind != VACANCY_NONE) {
        return; // what went was not a leader's
    } else if (over) {
        set_kind(vacancy, VACANCY_EXPIRED, kube_vacancy_over_at(vacancy));
    } else if (!is_held(vacancy, now) && after->exists) {
        set_kind(vacancy, VACANCY_RELEASED, now); // Patroni takes its name away, nothing else
    } else {
        set_tampered(vacancy, now);
    }
}

void kube_vacancy_step(KubeVacancy *vacancy, const LeaderState *before, const LeaderState *after,
                       Instant now, int64_t default_ttl_ms)
{
    const bool same_record = kube_record_equal(&before->record, &after->record);
    if (before->exists == after->exists && same_record && is_released(before) == is_released(after))
        return; // status, subsets, somebody's own annotations
    if (after->record.leader == NULL)
        name_went(vacancy, after, now);
    else if (!same_record || !before->exists)
        name_appeared(vacancy, before, after, now, default_ttl_ms);
}
