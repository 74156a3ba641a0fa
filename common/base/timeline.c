#include "common/base/timeline.h"

#include "common/base/text.h"

#include <string.h>

typedef struct {
    const char *start;
    size_t length;
} Span;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

// Takes the next run of non-blank bytes off the front of *line; empty when there is none.
static Span take_word(Span *line)
{
    while (line->length > 0 && is_blank(*line->start)) {
        line->start++;
        line->length--;
    }
    Span word = {line->start, 0};
    while (word.length < line->length && !is_blank(word.start[word.length]))
        word.length++;
    line->start += word.length;
    line->length -= word.length;
    return word;
}

static Span take_line(const char **text)
{
    const Span line = {*text, strcspn(*text, "\n")};
    *text += line.length + (line.start[line.length] == '\n' ? 1 : 0);
    return line;
}

// Words longer than any number or position come out empty, which no parser accepts.
static void word_text(Span word, char to[32])
{
    const size_t length = word.length < 32 ? word.length : 0;
    memcpy(to, word.start, length);
    to[length] = '\0';
}

static bool parse_line(Span line, int number, TimelineSwitch *out, Error *err)
{
    char word[32];
    uint64_t timeline;
    word_text(take_word(&line), word);
    if (!parse_uint64(word, &timeline) || timeline == 0 || timeline > UINT32_MAX)
        return error_set(err, ERR_INVALID,
                         "timeline history line %d: expected a timeline number, found '%s'", number,
                         word);
    Lsn lsn;
    word_text(take_word(&line), word);
    if (!lsn_parse(word, &lsn))
        return error_set(err, ERR_INVALID,
                         "timeline history line %d: expected a position like 0/3000148, found '%s'",
                         number, word);
    *out = (TimelineSwitch){.timeline = (uint32_t)timeline, .switch_lsn = lsn};
    return true;
}

static size_t count_lines(const char *text)
{
    size_t lines = 1;
    for (; *text != '\0'; text++)
        lines += *text == '\n' ? 1 : 0;
    return lines;
}

// The checks are those of readTimeLineHistory() in PostgreSQL's timeline.c, and one more: every
// timeline but the first has a parent, so an empty file (torn by a crash) is not "no ancestors".
bool timeline_parse_history(Arena *arena, uint32_t timeline, const char *text, TimelineHistory *out,
                            Error *err)
{
    if (timeline == 0)
        return error_set(err, ERR_INVALID, "timeline history of timeline 0, which cannot exist");

    const char *rest = text == NULL ? "" : text;
    TimelineSwitch *parents = ARENA_ARRAY(arena, TimelineSwitch, count_lines(rest));
    size_t count = 0;
    for (int number = 1; *rest != '\0'; number++) {
        const Span line = take_line(&rest);
        Span copy = line;
        const Span first = take_word(&copy);
        if (first.length == 0 || *first.start == '#')
            continue;

        TimelineSwitch *parent = &parents[count];
        if (!parse_line(line, number, parent, err))
            return false;
        if (count > 0 && parent->timeline <= parents[count - 1].timeline)
            return error_set(err, ERR_INVALID,
                             "timeline history line %d: timeline %u does not follow %u", number,
                             parent->timeline, parents[count - 1].timeline);
        if (parent->timeline >= timeline)
            return error_set(err, ERR_INVALID,
                             "timeline history line %d: %u cannot be a parent of timeline %u",
                             number, parent->timeline, timeline);
        count++;
    }
    if (count == 0 && timeline > 1)
        return error_set(err, ERR_INVALID, "timeline history of timeline %u names no parent",
                         timeline);
    *out = (TimelineHistory){.timeline = timeline, .parents = parents, .parent_count = count};
    return true;
}

// A timeline's WAL belongs to the history up to where it was left, and up to where any later one
// was left: a standby that aims at timeline 2 but is promoted before the fork 1 -> 2 writes "1 500,
// 2 300" (StartupXLOG() names its target as the parent), and then 1 counts up to 300 only.
Ancestry timeline_ancestry(WalPosition position, const TimelineHistory *history)
{
    if (position.timeline == 0 || history->timeline == 0)
        return ANCESTRY_UNKNOWN;
    if (position.timeline == history->timeline)
        return ANCESTRY_ON_PATH;

    Lsn end = UINT64_MAX;
    for (size_t i = history->parent_count; i-- > 0;) {
        const TimelineSwitch *parent = &history->parents[i];
        if (parent->switch_lsn < end)
            end = parent->switch_lsn;
        if (parent->timeline != position.timeline)
            continue;
        if (position.lsn == LSN_NONE)
            return ANCESTRY_UNKNOWN;
        return position.lsn <= end ? ANCESTRY_ON_PATH : ANCESTRY_DIVERGED;
    }
    return ANCESTRY_DIVERGED;
}

int wal_position_compare(WalPosition a, WalPosition b)
{
    if (a.timeline != b.timeline)
        return a.timeline < b.timeline ? -1 : 1;
    return (a.lsn > b.lsn) - (a.lsn < b.lsn);
}
