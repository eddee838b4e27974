/*
 * options: the one table of subcommands and options of the program.  It feeds
 * the parser, --help, the completion scripts and the man page.
 */
#ifndef HWB_REPL_OPTIONS_H
#define HWB_REPL_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

/* enum name, word on the command line */
#define COMMAND_MAP(XX)                                                                            \
    XX(REPL, "repl")                                                                               \
    XX(RUN, "run")                                                                                 \
    XX(CHECK, "check")                                                                             \
    XX(TEST, "test")                                                                               \
    XX(BENCH, "bench")                                                                             \
    XX(DATA, "data")                                                                               \
    XX(MODEL, "model")                                                                             \
    XX(RUNS, "runs")                                                                               \
    XX(REPORT, "report")                                                                           \
    XX(DOCTOR, "doctor")                                                                           \
    XX(INIT, "init")                                                                               \
    XX(HELP, "help")                                                                               \
    XX(COMPLETION, "completion")                                                                   \
    XX(VERSION, "version")

typedef enum command {
#define XX(name, word) CMD_##name,
    COMMAND_MAP(XX)
#undef XX
        CMD_COUNT
} command;

/* What follows a subcommand on the command line. */
typedef enum rest_rule {
    REST_NONE,    /* nothing */
    REST_WORDS,   /* plain words only */
    REST_FORWARD, /* words, and options unknown to hwb, in order (recipe or busted arguments) */
} rest_rule;

typedef struct command_row {
    const char *word, *usage, *summary;
    const char *examples[2][2]; /* command line, what it does */
    const char *more;           /* a paragraph after the options, or NULL */
    const char *words;          /* fixed words after the subcommand, for completion */
    rest_rule rest;
} command_row;

extern const command_row command_rows[CMD_COUNT];

typedef struct option_row {
    const char *name; /* NULL: only a letter */
    char letter;      /* 0: only a name */
    const char *arg;  /* NULL: a flag */
    const char *help;
    unsigned commands; /* bit 1 << CMD_x for each subcommand that takes it */
    const char *words; /* the values that exist, for completion; "FILE"/"DIR" for paths */
} option_row;

extern const option_row option_rows[];
extern const int option_row_count;

typedef struct option_use {
    const option_row *row;
    const char *value; /* NULL for a flag */
} option_use;

/* The command line, taken apart.  Strings are borrowed from argv. */
typedef struct options {
    command command;
    bool command_given;
    int use_count, rest_count;
    option_use *uses;
    const char **rest;
} options;

/* Exit status 0, or 2 after a message on stderr. */
int options_parse(options *out, int argc, char **argv);
void options_free(options *o);
/* The last value of an option ("" for a flag that was given), or NULL. */
const char *options_value(const options *o, const char *name);
int options_count(const options *o, const char *name);

/* The nearest of `n` words within a third of its length, or NULL. */
const char *nearest_word(const char *word, const char *const *words, int n);

void usage_program(FILE *out);
void usage_command(FILE *out, command c);
void usage_man(FILE *out, const char *version);
int usage_completion(FILE *out, const char *shell); /* 0, or 2 for an unknown shell */
int command_find(const char *word);                 /* -1 when there is none */

#endif
