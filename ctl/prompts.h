// Questions on the terminal, worded and rendered as patronictl's. All fail at the end of input,
// with ctl->aborted set.
#pragma once
#include "ctl/ctl.h"

// "question [fallback]: "; an empty answer is the fallback, which is shown even when empty. With a
// fallback of NULL nothing is shown in brackets and the question is repeated until answered.
bool prompt_text(Ctl *ctl, const char *question, const char *fallback, const char **out, Error *err)
    MUST_CHECK;
// "question [y/N]: "
bool prompt_confirm(Ctl *ctl, const char *question, bool *out, Error *err) MUST_CHECK;
// As prompt_text without a fallback, and without echo if standard input is a terminal.
bool prompt_password(Ctl *ctl, const char *question, const char **out, Error *err) MUST_CHECK;
