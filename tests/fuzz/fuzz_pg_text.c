// Any bytes as what programs print and what stands in files: nothing is read beyond its end, and
// what we write again is what we would write of that.
#include "agent/postgres/command_line.h"
#include "agent/postgres/conf_text.h"
#include "agent/postgres/control_data.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_release) Arena *arena = arena_new(ARENA_CAP_DEFAULT);
    const char *text = arena_strndup(arena, (const char *)data, size);
    ControlFile control;
    Error err = {0};
    if (control_data_parse(text, &control, &err))
        ASSERT(control.data.known && control.data.system_identifier[0] != '\0');
    else
        ASSERT(err.kind == ERR_INVALID && err.text[0] != '\0');

    const char *sane = conf_auto_sanitized(arena, text);
    ASSERT(strcmp(conf_auto_sanitized(arena, sane), sane) == 0);
    const char *block = conf_recovery_block(text);
    ASSERT(block == NULL || (block > text && block <= text + strlen(text)));
    (void)conf_upstream_of(arena, text);

    // A quoted value stays on its line and inside its quotes.
    const char *quoted = conf_quote(arena, text);
    const size_t length = strlen(quoted);
    ASSERT(quoted[0] == '\'' && quoted[length - 1] == '\'' && strchr(quoted, '\n') == NULL);
    size_t quotes = 0;
    for (size_t i = 1; i + 1 < length; i++)
        quotes += quoted[i] == '\'' ? 1 : 0;
    ASSERT(quotes % 2 == 0);

    StringList words;
    if (shell_split(arena, text, &words, &err))
        ASSERT(words.count > 0);
    uint32_t timeline;
    uint64_t segment;
    (void)wal_file_parse(text, 16777216, &timeline, &segment);
    return 0;
}
