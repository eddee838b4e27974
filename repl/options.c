/*
 * The parser: argv -> options.  Long options take "--name value" or
 * "--name=value", letters "-e CODE" or "-eCODE" and may be bundled (-qv).
 * Options may stand before or after the subcommand; "--" ends them.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int command_find(const char *word) {
    for (int c = 0; c < CMD_COUNT; c++)
        if (strcmp(command_rows[c].word, word) == 0) return c;
    return -1;
}

/* Insertions, deletions, substitutions and swaps of neighbours that make b of a
 * (optimal string alignment); cut off at 60 characters. */
static int distance(const char *a, const char *b) {
    enum { MOST = 60 };
    size_t n = strlen(a), m = strlen(b);
    int rows[3][MOST + 1], *before = rows[0], *last = rows[1], *now = rows[2];
    if (n > MOST || m > MOST) return MOST;
    for (size_t j = 0; j <= m; j++) last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        int *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[m];
}

/* A word that begins with what was typed counts as one mistake. */
const char *nearest_word(const char *word, const char *const *words, int n) {
    const char *best = NULL;
    int least = 1000, closest = 1000;
    for (int i = 0; i < n; i++) {
        int exact = distance(word, words[i]), d = exact;
        if (strncmp(words[i], word, strlen(word)) == 0 && strlen(word) >= 2) d = d < 1 ? d : 1;
        if (d < least || (d == least && exact < closest))
            least = d, closest = exact, best = words[i];
    }
    int allowed = (int)strlen(word) / 3 + 1;
    return least <= allowed ? best : NULL;
}

static const option_row *find_option(const char *name, size_t len, unsigned commands) {
    for (int i = 0; i < option_row_count; i++) {
        const option_row *row = &option_rows[i];
        if ((row->commands & commands) && row->name && strlen(row->name) == len &&
            memcmp(row->name, name, len) == 0)
            return row;
    }
    return NULL;
}

static const option_row *find_letter(char letter, unsigned commands) {
    for (int i = 0; i < option_row_count; i++)
        if ((option_rows[i].commands & commands) && option_rows[i].letter == letter)
            return &option_rows[i];
    return NULL;
}

/* "hwb run: " or "hwb: " in front of every message. */
static void complain(const options *o) {
    fprintf(stderr, "hwb%s%s: ", o->command_given ? " " : "",
            o->command_given ? command_rows[o->command].word : "");
}

static int unknown_option(const options *o, const char *text) {
    const char *names[64];
    int n = 0;
    for (int i = 0; i < option_row_count && n < 64; i++)
        if (option_rows[i].name && (option_rows[i].commands & (1u << o->command)))
            names[n++] = option_rows[i].name;
    char word[61] = {0};
    strncpy(word, text + strspn(text, "-"), 60);
    word[strcspn(word, "=")] = '\0';
    const char *near = text[1] == '-' ? nearest_word(word, names, n) : NULL;
    complain(o);
    fprintf(stderr, "unknown option '%s'", text);
    if (near) fprintf(stderr, "; did you mean '--%s'?", near);
    fprintf(stderr, "\nTry 'hwb%s%s --help'.\n", o->command_given ? " " : "",
            o->command_given ? command_rows[o->command].word : "");
    return 2;
}

static int unknown_command(const char *word) {
    size_t n = strlen(word);
    struct stat info;
    const char *words[CMD_COUNT];
    for (int c = 0; c < CMD_COUNT; c++) words[c] = command_rows[c].word;
    const char *near = nearest_word(word, words, CMD_COUNT);
    if ((n > 4 && strcmp(word + n - 4, ".lua") == 0) || (!near && stat(word, &info) == 0))
        fprintf(stderr, "hwb: '%s' is not a subcommand; to run a file: hwb run %s\n", word, word);
    else if (near)
        fprintf(stderr, "hwb: unknown subcommand '%s'; did you mean '%s'?\n", word, near);
    else fprintf(stderr, "hwb: unknown subcommand '%s'\n", word);
    fprintf(stderr, "Try 'hwb help'.\n");
    return 2;
}

static void use(options *o, const option_row *row, const char *value) {
    o->uses[o->use_count++] = (option_use){row, value};
}

/* Options that some subcommand takes are known before the subcommand is. */
static unsigned known_commands(const options *o) {
    return o->command_given ? 1u << o->command : ~0u;
}

static int parse_long(options *o, int argc, char **argv, int *at) {
    const char *text = argv[*at], *name = text + 2;
    size_t len = strcspn(name, "=");
    const option_row *row = find_option(name, len, known_commands(o));
    if (!row) return -1;
    if (!row->arg) {
        if (name[len] == '=') {
            complain(o);
            fprintf(stderr, "--%s takes no value\n", row->name);
            return 2;
        }
        use(o, row, NULL);
        return 0;
    }
    if (name[len] == '=') use(o, row, name + len + 1);
    else if (*at + 1 < argc) use(o, row, argv[++*at]);
    else {
        complain(o);
        fprintf(stderr, "--%s needs a value: --%s %s\n", row->name, row->name, row->arg);
        return 2;
    }
    return 0;
}

static int parse_letters(options *o, int argc, char **argv, int *at) {
    const char *p = argv[*at] + 1;
    for (const char *q = p; *q; q++) { /* nothing is used unless all letters are known */
        const option_row *row = find_letter(*q, known_commands(o));
        if (!row) return -1;
        if (row->arg) break;
    }
    for (; *p; p++) {
        const option_row *row = find_letter(*p, known_commands(o));
        if (!row->arg) {
            use(o, row, NULL);
            continue;
        }
        if (p[1]) use(o, row, p + 1);
        else if (*at + 1 < argc) use(o, row, argv[++*at]);
        else {
            complain(o);
            fprintf(stderr, "-%c needs a value: -%c %s\n", *p, *p, row->arg);
            return 2;
        }
        return 0;
    }
    return 0;
}

/* -e, -i and -l belong to the session: words after them are the script's. */
static bool session_option_used(const options *o) {
    for (int i = 0; i < o->use_count; i++)
        if (o->uses[i].row->commands == 1u << CMD_REPL) return true;
    return false;
}

static int take_word(options *o, const char *word) {
    if (!o->command_given && o->rest_count == 0 && !session_option_used(o) &&
        strcmp(word, "-") != 0) {
        int c = command_find(word);
        if (c < 0) return unknown_command(word);
        o->command = (command)c;
        o->command_given = true;
        return 0;
    }
    if (command_rows[o->command].rest == REST_NONE) {
        complain(o);
        fprintf(stderr, "unexpected argument '%s'\nTry 'hwb %s --help'.\n", word,
                command_rows[o->command].word);
        return 2;
    }
    o->rest[o->rest_count++] = word;
    return 0;
}

/* Options given before the subcommand must be among those it takes. */
static int check_early(const options *o) {
    for (int i = 0; i < o->use_count; i++) {
        const option_row *row = o->uses[i].row;
        if (row->commands & (1u << o->command)) continue;
        char text[64];
        if (row->name) snprintf(text, sizeof text, "--%s", row->name);
        else snprintf(text, sizeof text, "-%c", row->letter);
        return unknown_option(o, text);
    }
    return 0;
}

int options_parse(options *o, int argc, char **argv) {
    *o = (options){.command = CMD_REPL};
    size_t letters = (size_t)argc; /* -qv is two options */
    for (int i = 1; i < argc; i++) letters += argv[i][0] == '-' ? strlen(argv[i]) : 0;
    o->uses = calloc(letters + 1, sizeof *o->uses);
    o->rest = calloc((size_t)argc + 1, sizeof *o->rest);
    if (!o->rest || !o->uses) return 5;
    bool ended = false;
    for (int at = 1, status = 0; at < argc; at++) {
        char *text = argv[at];
        bool forward = command_rows[o->command].rest == REST_FORWARD && o->rest_count > 0;
        if (ended || text[0] != '-' || text[1] == '\0') status = take_word(o, text);
        else if (strcmp(text, "--") == 0) {
            ended = true;
            if (forward) status = take_word(o, text);
        } else {
            /* A script read by -e, -i or "-" owns every word after its name. */
            bool script = o->command == CMD_REPL && o->rest_count > 0;
            status = script           ? -1
                     : text[1] == '-' ? parse_long(o, argc, argv, &at)
                                      : parse_letters(o, argc, argv, &at);
            if (status == -1 && (forward || o->command == CMD_TEST))
                o->rest[o->rest_count++] = text, status = 0;
            else if (status == -1) return unknown_option(o, text);
        }
        if (status != 0) return status;
    }
    return check_early(o);
}

void options_free(options *o) {
    free(o->uses);
    free(o->rest);
    *o = (options){0};
}

static bool is_option(const option_row *row, const char *name) {
    return row->name ? strcmp(row->name, name) == 0 : (name[0] == row->letter && !name[1]);
}

const char *options_value(const options *o, const char *name) {
    const char *found = NULL;
    for (int i = 0; i < o->use_count; i++)
        if (is_option(o->uses[i].row, name)) found = o->uses[i].value ? o->uses[i].value : "";
    return found;
}

int options_count(const options *o, const char *name) {
    int n = 0;
    for (int i = 0; i < o->use_count; i++) n += is_option(o->uses[i].row, name);
    return n;
}
