// Between requests.c and the files for one kind of request each; for nobody else.
#pragma once
#include "agent/state.h"

// Plain text. The request is gone after it.
void request_answer(Agent *agent, ApiRequest *request, int status, const char *text);

// What runs and would be in a request's way for longer than a moment; TASK_NONE: nothing.
TaskKind request_obstacle(const Agent *agent);

// True: answered, and the request is gone. Begin is called once and may wait for store and peers
// up to their deadlines; settle follows once a pass until it has answered.

// --- request_handover.c: API_SWITCHOVER, API_FAILOVER
bool handover_begin(Agent *agent, ApiRequest *request);
bool handover_settle(Agent *agent, ApiRequest *request);
void handover_delete(Agent *agent, ApiRequest *request); // API_DELETE_SWITCHOVER; answers

// --- request_restart.c: API_RESTART
bool restart_begin(Agent *agent, ApiRequest *request);
bool restart_settle(Agent *agent, ApiRequest *request);
void restart_delete(Agent *agent, ApiRequest *request); // API_DELETE_RESTART; answers
void restart_settle_scheduled(Agent *agent);            // once a pass
Instant restart_due(const Agent *agent);                // the scheduled one; unset: none
