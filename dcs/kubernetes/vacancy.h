// The leader record as one observer follows it: whether it still holds, and how the last one went.
// docs/store.md, "On Kubernetes". Nothing in the store ends a leader's time but the observer's
// clock: a record counts for its ttl from when it was last seen to change. Pure but for malloc.
#pragma once
#include "dcs/kubernetes/object.h"

typedef struct {
    VacancyKind kind; // VACANCY_NONE: the record's leader holds, until its time is over
    Instant since;
    char *holder;       // the last one that led by right; NULL: none known
    Instant renewed_at; // when its record was last seen to change
    int64_t ttl_ms;     // that it claims
    // A Howdah member may count on until then, by the last renewal that was its own, whatever
    // others have written since; and it leaves a marker when it releases. 0: the holder is none.
    Instant held_until;
    bool led; // a leader was seen at all
} KubeVacancy;

// The first look. traces: there is more to show that a cluster existed.
void kube_vacancy_first(KubeVacancy *vacancy, const LeaderState *state, bool traces, Instant now,
                        int64_t default_ttl_ms);
// The object was written, appeared or vanished. What lies between may have been missed.
void kube_vacancy_step(KubeVacancy *vacancy, const LeaderState *before, const LeaderState *after,
                       Instant now, int64_t default_ttl_ms);
// Some other object has changed: are there traces of a cluster?
void kube_vacancy_traces(KubeVacancy *vacancy, bool traces, Instant now);
void kube_vacancy_done(KubeVacancy *vacancy);

bool kube_vacancy_leads(const KubeVacancy *vacancy, Instant now);
Instant kube_vacancy_over_at(const KubeVacancy *vacancy); // 0: nobody leads
// holder points into the tracker.
Vacancy kube_vacancy_at(const KubeVacancy *vacancy, Instant now);
