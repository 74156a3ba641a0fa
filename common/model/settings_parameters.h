// Inside the settings files: postgresql.conf's settings, and those the agent controls.
#pragma once
#include "common/model/settings_check.h"

// local and dynamic: the two postgresql.parameters maps, or NULL.
void settings_parameters(Findings *findings, const Tree *local, const Tree *dynamic,
                         int server_major, const char *cluster_name, PostgresSettings *out);
