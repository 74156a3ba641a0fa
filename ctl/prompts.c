#include "ctl/prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void free_line(char **line)
{
    free(*line);
}

static bool read_answer(Ctl *ctl, const char *question, char **out, Error *err)
{
    fputs(question, stdout);
    fflush(stdout);
    AUTO(free_line) char *line = NULL;
    size_t size = 0;
    const ssize_t length = getline(&line, &size, stdin);
    if (length < 0) {
        ctl->aborted = true;
        return error_set(err, ERR_INVALID, "no answer");
    }
    *out = arena_strndup(ctl->arena, line, strcspn(line, "\r\n"));
    return true;
}

static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = '\0';
    return text;
}

bool prompt_text(Ctl *ctl, const char *question, const char *fallback, const char **out, Error *err)
{
    const char *shown = fallback != NULL ? arena_printf(ctl->arena, "%s [%s]: ", question, fallback)
                                         : arena_printf(ctl->arena, "%s: ", question);
    for (;;) {
        char *answer;
        if (!read_answer(ctl, shown, &answer, err))
            return false;
        answer = trimmed(answer);
        if (answer[0] != '\0' || fallback != NULL) {
            *out = answer[0] != '\0' ? answer : fallback;
            return true;
        }
    }
}

bool prompt_confirm(Ctl *ctl, const char *question, bool *out, Error *err)
{
    const char *shown = arena_printf(ctl->arena, "%s [y/N]: ", question);
    for (;;) {
        char *answer;
        if (!read_answer(ctl, shown, &answer, err))
            return false;
        answer = trimmed(answer);
        if (str_ieq(answer, "y") || str_ieq(answer, "yes")) {
            *out = true;
            return true;
        }
        if (answer[0] == '\0' || str_ieq(answer, "n") || str_ieq(answer, "no")) {
            *out = false;
            return true;
        }
        puts("Error: invalid input");
    }
}

bool prompt_password(Ctl *ctl, const char *question, const char **out, Error *err)
{
    struct termios was;
    const bool terminal = tcgetattr(STDIN_FILENO, &was) == 0;
    if (terminal) {
        struct termios silent = was;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent); // it is then shown; nothing else breaks
    }
    char *answer;
    const bool ok = read_answer(ctl, arena_printf(ctl->arena, "%s: ", question), &answer, err);
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &was); // the shell sets it anew in any case
        puts("");
    }
    if (ok)
        *out = answer;
    return ok;
}
