/*
 * What the option table says to people and shells: --help, completion
 * scripts, the man page.
 */
#include "options.h"

#include <string.h>

#include "base/base.h"

enum { HELP_COLUMN = 28, WIDTH = 100 };

/* Text wrapped at WIDTH, every line after the first indented. */
static void put_wrapped(FILE *out, const char *text, int column, int indent) {
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > indent && column + 1 + (int)n > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, n, out);
        column += (int)n;
        text += n + strspn(text + n, " ");
    }
    fputc('\n', out);
}

static void option_text(const option_row *row, char *buf, size_t size) {
    char letter[4] = {'-', row->letter, '\0', '\0'};
    snprintf(buf, size, "%s%s%s%s%s%s", row->letter ? letter : "    ",
             row->letter && row->name ? ", " : "", row->name ? "--" : "",
             row->name ? row->name : "", row->arg ? " " : "", row->arg ? row->arg : "");
}

static void put_options(FILE *out, command c) {
    for (int i = 0; i < option_row_count; i++) {
        const option_row *row = &option_rows[i];
        if (!(row->commands & (1u << c))) continue;
        char text[80];
        option_text(row, text, sizeof text);
        int column = fprintf(out, "  %-*s ", HELP_COLUMN - 3, text);
        if (column > HELP_COLUMN) column = fprintf(out, "\n%*s", HELP_COLUMN, "") - 1;
        put_wrapped(out, row->help, HELP_COLUMN, HELP_COLUMN);
    }
}

void usage_command(FILE *out, command c) {
    const command_row *row = &command_rows[c];
    fprintf(out, "Usage: %s\n%s.\n\nExamples:\n", row->usage, row->summary);
    for (int i = 0; i < 2; i++)
        fprintf(out, "  %-*s  # %s\n", 48, row->examples[i][0], row->examples[i][1]);
    fprintf(out, "\nOptions:\n");
    put_options(out, c);
    if (row->more) {
        fputc('\n', out);
        put_wrapped(out, row->more, 0, 0);
    }
}

/* One line a status that leads to an exit code of its own. */
static void put_exit_codes(FILE *out) {
    static const struct {
        int code;
        const char *text;
    } codes[] = {{0, "ok"},
                 {1, "the run, a test or the code failed"},
                 {2, "wrong usage"},
                 {3, "an input file is missing or damaged"},
                 {4, "no such device"},
                 {5, "out of memory"},
                 {6, "numerical failure (NaN, no convergence)"},
                 {7, "refused by the recipe's permissions"},
                 {8, "another of several processes (mpirun) failed"},
                 {130, "interrupted (143 by SIGTERM)"}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        fprintf(out, "  %3d  %s\n", codes[i].code, codes[i].text);
}

void usage_program(FILE *out) {
    fprintf(out, "hwb: a workbench for Hessians, quantization and large-batch training, scripted "
                 "in Lua.\n\nUsage: hwb [SUBCOMMAND] [options]\n\nExamples:\n"
                 "  hwb                                     # open the interactive session\n"
                 "  hwb run recipes/hawq_resnet20.lua       # run an experiment\n\nSubcommands:\n");
    for (int c = 0; c < CMD_COUNT; c++)
        fprintf(out, "  %-12s %s\n", command_rows[c].word, command_rows[c].summary);
    fprintf(out, "\nOptions of most subcommands ('hwb SUBCOMMAND --help' lists all):\n");
    static const char *const common[] = {"device", "threads", "seed",  "data",
                                         "set",    "json",    "quiet", "verbose"};
    for (size_t k = 0; k < sizeof common / sizeof common[0]; k++)
        for (int i = 0; i < option_row_count; i++) {
            const option_row *row = &option_rows[i];
            if (!row->name || strcmp(row->name, common[k]) != 0) continue;
            char text[80];
            option_text(row, text, sizeof text);
            fprintf(out, "  %-*s %s\n", HELP_COLUMN - 3, text, row->help);
        }
    fprintf(out, "\nExit codes:\n");
    put_exit_codes(out);
}

/* ---- man page ------------------------------------------------------------------------ */

/* Hyphens and leading dots mean something to roff. */
static void put_roff(FILE *out, const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
}

static void man_option(FILE *out, const option_row *row) {
    char text[80];
    option_text(row, text, sizeof text);
    fprintf(out, ".TP\n.B ");
    put_roff(out, text + strspn(text, " "));
    fputc('\n', out);
    put_roff(out, row->help);
    fputc('\n', out);
}

void usage_man(FILE *out, const char *version) {
    fprintf(out,
            ".TH HWB 1 \"\" \"hwb %s\" \"User Commands\"\n.SH NAME\nhwb \\- Hessian workbench\n"
            ".SH SYNOPSIS\n.B hwb\n[SUBCOMMAND] [options]\n.SH SUBCOMMANDS\n",
            version);
    for (int c = 0; c < CMD_COUNT; c++) {
        const command_row *row = &command_rows[c];
        fprintf(out, ".SS ");
        put_roff(out, row->usage);
        fprintf(out, "\n");
        put_roff(out, row->summary);
        fprintf(out, ".\n");
        if (row->more) {
            fprintf(out, ".PP\n");
            put_roff(out, row->more);
            fputc('\n', out);
        }
        for (int i = 0; i < 2; i++) {
            fprintf(out, ".TP\n.I ");
            put_roff(out, row->examples[i][0]);
            fputc('\n', out);
            put_roff(out, row->examples[i][1]);
            fputc('\n', out);
        }
        for (int i = 0; i < option_row_count; i++)
            if ((option_rows[i].commands & (1u << c)) && option_rows[i].commands != ~0u)
                man_option(out, &option_rows[i]);
    }
    fprintf(out, ".SH OPTIONS OF EVERY SUBCOMMAND\n");
    for (int i = 0; i < option_row_count; i++)
        if (option_rows[i].commands == ~0u) man_option(out, &option_rows[i]);
    fprintf(out, ".SH EXIT STATUS\n.nf\n");
    put_exit_codes(out);
    fprintf(out, ".fi\n.SH ENVIRONMENT\n.TP\n.B HWB_DATA\ndata folder\n.TP\n.B HWB_DEVICE, "
                 "HWB_THREADS, HWB_SEED\nas the options of these names\n.TP\n.B HWB_HOME\nfolder "
                 "that holds lua/hwb\n.TP\n.B HWB_HISTORY\nhistory file of the session; empty: "
                 "none\n.TP\n.B HWB_WINOGRAD\n0: the CPU computes every convolution by the direct "
                 "method\n.TP\n.B NO_COLOR\nno colours\n");
}

/* ---- completion scripts ----------------------------------------------------------------- */

static void put_option_words(FILE *out, unsigned commands) {
    for (int i = 0; i < option_row_count; i++) {
        const option_row *row = &option_rows[i];
        if (!(row->commands & commands)) continue;
        if (row->name) fprintf(out, "--%s ", row->name);
        else fprintf(out, "-%c ", row->letter);
    }
}

static void put_command_words(FILE *out) {
    for (int c = 0; c < CMD_COUNT; c++) fprintf(out, "%s ", command_rows[c].word);
}

static void bash_completion(FILE *out) {
    fprintf(out, "# bash completion for hwb\n_hwb() {\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} sub= w\n"
                 "    COMPREPLY=()\n"
                 "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                 "        case $w in -*) ;; *) sub=$w; break;; esac\n    done\n"
                 "    case $prev in\n");
    for (int i = 0; i < option_row_count; i++) {
        const option_row *row = &option_rows[i];
        if (!row->arg || !row->name || !row->words) continue;
        if (strcmp(row->words, "FILE") == 0)
            fprintf(out, "    --%s) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n", row->name);
        else if (strcmp(row->words, "DIR") == 0)
            fprintf(out, "    --%s) COMPREPLY=($(compgen -d -- \"$cur\")); return;;\n", row->name);
        else
            fprintf(out, "    --%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n",
                    row->name, row->words);
    }
    fprintf(out, "    esac\n    case $sub in\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "    %s) w='", command_rows[c].word);
        put_option_words(out, 1u << c);
        fprintf(out, "%s';;\n", command_rows[c].words ? command_rows[c].words : "");
    }
    fprintf(out, "    *) w='");
    put_command_words(out);
    put_option_words(out, 1u << CMD_REPL);
    fprintf(out, "';;\n    esac\n"
                 "    COMPREPLY=($(compgen -W \"$w\" -- \"$cur\"))\n"
                 "    case $cur in -*) ;; *) [ -n \"$sub\" ] && "
                 "COMPREPLY+=($(compgen -f -- \"$cur\"));; esac\n}\n"
                 "complete -o filenames -F _hwb hwb ./hwb\n");
}

static void put_quoted(FILE *out, const char *text) {
    for (; *text; text++)
        if (*text == '\'') fputs("'\\''", out);
        else if (*text == '[' || *text == ']' || *text == ':') fprintf(out, "\\%c", *text);
        else fputc(*text, out);
}

static void zsh_completion(FILE *out) {
    fprintf(out, "#compdef hwb\n_hwb() {\n    local sub=${words[2]}\n"
                 "    if (( CURRENT == 2 )); then\n        local -a subs=(\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "            '%s:", command_rows[c].word);
        put_quoted(out, command_rows[c].summary);
        fprintf(out, "'\n");
    }
    fprintf(out, "        )\n        _describe subcommand subs\n        return\n    fi\n"
                 "    shift words; (( CURRENT-- ))\n    case $sub in\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "    %s) _arguments", command_rows[c].word);
        for (int i = 0; i < option_row_count; i++) {
            const option_row *row = &option_rows[i];
            if (!(row->commands & (1u << c)) || !row->name) continue;
            fprintf(out, " \\\n        '--%s[", row->name);
            put_quoted(out, row->help);
            fprintf(out, "]");
            if (row->arg) {
                bool path =
                    row->words && (!strcmp(row->words, "FILE") || !strcmp(row->words, "DIR"));
                fprintf(out, ":%s:", row->arg);
                if (path) fprintf(out, "_files%s", row->words[0] == 'D' ? " -/" : "");
                else if (row->words) fprintf(out, "(%s)", row->words);
            }
            fprintf(out, "'");
        }
        if (command_rows[c].words)
            fprintf(out, " \\\n        '1:what:(%s)'", command_rows[c].words);
        fprintf(out, " \\\n        '*:file:_files';;\n");
    }
    fprintf(out, "    esac\n}\n_hwb \"$@\"\n");
}

static void fish_completion(FILE *out) {
    fprintf(out, "# fish completion for hwb\n");
    for (int c = 0; c < CMD_COUNT; c++) {
        fprintf(out, "complete -c hwb -n __fish_use_subcommand -f -a %s -d '%s'\n",
                command_rows[c].word, command_rows[c].summary);
        if (command_rows[c].words)
            fprintf(out, "complete -c hwb -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                    command_rows[c].word, command_rows[c].words);
        for (int i = 0; i < option_row_count; i++) {
            const option_row *row = &option_rows[i];
            if (!(row->commands & (1u << c)) || !row->name) continue;
            fprintf(out, "complete -c hwb -n '__fish_seen_subcommand_from %s' -l %s",
                    command_rows[c].word, row->name);
            if (row->letter) fprintf(out, " -s %c", row->letter);
            bool path = row->words && (!strcmp(row->words, "FILE") || !strcmp(row->words, "DIR"));
            if (row->arg) fprintf(out, path ? " -r" : " -x");
            if (row->words && !path) fprintf(out, " -a '%s'", row->words);
            fprintf(out, " -d '");
            for (const char *p = row->help; *p; p++) fprintf(out, *p == '\'' ? "\\'" : "%c", *p);
            fprintf(out, "'\n");
        }
    }
}

int usage_completion(FILE *out, const char *shell) {
    if (strcmp(shell, "bash") == 0) bash_completion(out);
    else if (strcmp(shell, "zsh") == 0) zsh_completion(out);
    else if (strcmp(shell, "fish") == 0) fish_completion(out);
    else return 2;
    return 0;
}
