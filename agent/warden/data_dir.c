#include "agent/warden/data_dir.h"

#include <stddef.h>
#include <string.h>

// PostgreSQL takes '-' for '_' in the name of an option.
static const char *setting_value(const char *option)
{
    static const char name[] = "data_directory=";
    for (size_t i = 0; name[i]; i++) {
        if (option[i] != name[i] && !(option[i] == '-' && name[i] == '_'))
            return NULL;
    }
    return option + sizeof name - 1;
}

const char *data_dir_of(char *const *argv, char *const *env)
{
    static const char variable[] = "PGDATA=";
    const char *setting = NULL, *option = NULL, *pgdata = NULL;
    for (size_t i = 1; argv[0] && argv[i]; i++) {
        const char *word = argv[i], *value = NULL;
        const char letter = word[0] == '-' ? word[1] : '\0';
        if (letter == '-')
            value = setting_value(word + 2);
        else if (letter == 'c' || letter == 'D') // the rest of this word, or the next one
            value = word[2] || !argv[i + 1] ? word + 2 : argv[++i];
        if (letter == 'D')
            option = value;
        else if (letter == 'c')
            value = setting_value(value);
        if (letter != 'D' && value)
            setting = value;
    }
    for (size_t i = 0; env[i]; i++) {
        if (strncmp(env[i], variable, sizeof variable - 1) == 0 && !pgdata)
            pgdata = env[i] + sizeof variable - 1;
    }
    const char *found = setting ? setting : option ? option : pgdata;
    return found && *found ? found : NULL;
}
