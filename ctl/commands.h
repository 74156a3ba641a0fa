// The table of commands.
#pragma once
#include "ctl/options.h"

// program: how usage lines call us.
CommandLine command_line(const char *program);
