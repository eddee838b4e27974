/*
 * line_editor: what the session needs of a line editor.  editor_readline.c is
 * the usual one; readline is GPL, so -DHWB_EDITOR=libedit or none builds
 * against another with the same six functions.
 */
#ifndef HWB_REPL_LINE_EDITOR_H
#define HWB_REPL_LINE_EDITOR_H

#include <stdbool.h>

typedef enum editor_event { EDITOR_LINE, EDITOR_END, EDITOR_INTERRUPT } editor_event;

/* Called at Tab: the line, the cursor's byte position and where the word under
 * it begins.  Returns a NULL-ended malloc'd array of malloc'd replacements of
 * that word, or NULL; *begin may be moved. *suffix is put behind a single match
 * ('\0' for none). */
typedef char **(*editor_complete_fn)(void *user, const char *line, int cursor, int *begin,
                                     char *suffix);

/* `interrupted` is asked when a signal arrives: was it Ctrl-C?  `forward_signal`
 * is for handlers of the editor itself: true when the signal came to another
 * thread and was sent on. */
void editor_open(editor_complete_fn complete, void *user, bool (*interrupted)(void),
                 bool (*forward_signal)(int));
void editor_close(void);
/* A line without its newline in *line (malloc'd) with EDITOR_LINE. */
editor_event editor_read(const char *prompt, char **line);
void editor_history_add(const char *line);
/* The i-th history entry from the oldest, 0-based, borrowed; NULL beyond the end. */
const char *editor_history_get(int i);
const char *editor_name(void);

#endif
