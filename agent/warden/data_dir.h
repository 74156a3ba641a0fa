// Which data directory a postmaster's command line means. Pure.
#pragma once

// By PostgreSQL's own order: the last data_directory option, else the last -D, else PGDATA. argv
// and env end with NULL; the result points into them. NULL: none is named.
const char *data_dir_of(char *const *argv, char *const *env);
