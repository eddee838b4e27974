/*
 * editor_none.c: line_editor.h on plain reads, for builds without an editor.
 */
#if !defined(HWB_EDITOR_READLINE) && !defined(HWB_EDITOR_LIBEDIT)

#include "line_editor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool (*was_interrupted)(void);

void editor_open(editor_complete_fn fn, void *user, bool (*interrupted)(void),
                 bool (*forward_signal)(int)) {
    (void)fn;
    (void)user;
    (void)forward_signal; /* no handlers of its own */
    was_interrupted = interrupted;
}

void editor_close(void) {}

editor_event editor_read(const char *prompt, char **line) {
    size_t size = 0;
    char *text = NULL;
    fputs(prompt, stdout);
    fflush(stdout);
    ssize_t n = getline(&text, &size, stdin);
    if (n >= 0) {
        if (n > 0 && text[n - 1] == '\n') text[n - 1] = '\0';
        *line = text;
        return EDITOR_LINE;
    }
    free(text);
    fputc('\n', stdout);
    if (!was_interrupted()) return EDITOR_END;
    clearerr(stdin);
    return EDITOR_INTERRUPT;
}

void editor_history_add(const char *line) {
    (void)line;
}

const char *editor_history_get(int i) {
    (void)i;
    return NULL;
}

const char *editor_name(void) {
    return "none";
}

#endif
