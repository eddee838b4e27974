/*
 * editor_edit.c: line_editor.h on libedit (BSD), for builds that may not carry
 * readline's licence.
 */
#ifdef HWB_EDITOR_LIBEDIT

#include "line_editor.h"

#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static EditLine *el;
static History *history_list;
static HistEvent event;
static editor_complete_fn complete_fn;
static void *complete_user;
static bool (*was_interrupted)(void);
static char prompt_text[256];

static char *give_prompt(EditLine *e) {
    (void)e;
    return prompt_text;
}

/* How many bytes all matches share. */
static size_t common_prefix(char **list) {
    size_t n = strlen(list[0]);
    for (int i = 1; list[i]; i++)
        for (size_t k = 0; k < n; k++)
            if (list[i][k] != list[0][k]) n = k;
    return n;
}

static unsigned char on_tab(EditLine *e, int key) {
    (void)key;
    const LineInfo *info = el_line(e);
    int cursor = (int)(info->cursor - info->buffer), begin = cursor;
    char *line = strndup(info->buffer, (size_t)(info->lastchar - info->buffer)), suffix[2] = "";
    static const char breaks[] = " \t\n\"'`;=()<>{}[],+-*/%^#~|&!?";
    while (line && begin > 0 && !strchr(breaks, line[begin - 1])) begin--;
    char **list = line ? complete_fn(complete_user, line, cursor, &begin, suffix) : NULL;
    unsigned char result = CC_ERROR;
    if (list && list[0]) {
        size_t typed = (size_t)(cursor - begin), n = common_prefix(list);
        if (n > typed) {
            char *more = strndup(list[0] + typed, n - typed);
            if (more && el_insertstr(e, more) == 0) result = CC_REFRESH;
            free(more);
        }
        if (!list[1]) {
            if (suffix[0]) el_insertstr(e, suffix);
            result = CC_REFRESH;
        } else if (n <= typed) {
            fputc('\n', stdout);
            for (int i = 0; list[i]; i++) printf("%s  ", list[i]);
            fputc('\n', stdout);
            result = CC_REDISPLAY;
        }
    }
    for (int i = 0; list && list[i]; i++) free(list[i]);
    free(list);
    free(line);
    return result;
}

void editor_open(editor_complete_fn fn, void *user, bool (*interrupted)(void),
                 bool (*forward_signal)(int)) {
    complete_fn = fn;
    complete_user = user;
    (void)forward_signal; /* no handlers of its own */
    was_interrupted = interrupted;
    el = el_init("hwb", stdin, stdout, stderr);
    history_list = history_init();
    if (!el || !history_list) return;
    history(history_list, &event, H_SETSIZE, 10000);
    el_set(el, EL_PROMPT_ESC, give_prompt, '\1');
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_SIGNAL, 0);
    el_set(el, EL_HIST, history, history_list);
    el_set(el, EL_ADDFN, "hwb-complete", "complete a name", on_tab);
    el_set(el, EL_BIND, "^I", "hwb-complete", NULL);
    el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(el, NULL);
}

void editor_close(void) {
    if (history_list) history_end(history_list);
    if (el) el_end(el);
    el = NULL;
    history_list = NULL;
}

editor_event editor_read(const char *prompt, char **line) {
    int n = 0;
    /* what takes no room stands between \1 and \2 for readline, between two \1 here */
    snprintf(prompt_text, sizeof prompt_text, "%s", prompt);
    for (char *p = prompt_text; *p; p++)
        if (*p == '\2') *p = '\1';
    const char *text = el ? el_gets(el, &n) : NULL;
    if (was_interrupted()) {
        if (el) el_reset(el);
        fputs("^C\n", stdout);
        return EDITOR_INTERRUPT;
    }
    if (!text || n <= 0) {
        fputc('\n', stdout);
        return EDITOR_END;
    }
    *line = strndup(text, text[n - 1] == '\n' ? (size_t)n - 1 : (size_t)n);
    return *line ? EDITOR_LINE : EDITOR_END;
}

void editor_history_add(const char *line) {
    if (history_list) history(history_list, &event, H_ENTER, line);
}

const char *editor_history_get(int i) {
    if (!history_list || history(history_list, &event, H_LAST) < 0) return NULL; /* the oldest */
    while (i-- > 0)
        if (history(history_list, &event, H_PREV) < 0) return NULL;
    return event.str;
}

const char *editor_name(void) {
    return "libedit";
}

#endif
