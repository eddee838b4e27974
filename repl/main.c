/*
 * hwb: the program.  Takes the command line apart and hands it to a
 * subcommand; stdout is the result, stderr the rest.
 */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#ifndef HWB_VERSION
#define HWB_VERSION "unknown"
#endif

static int show_version(const program *p) {
    if (p->json) printf("{\"schema\":1,\"version\":\"%s\"}\n", HWB_VERSION);
    else printf("hwb %s\n", HWB_VERSION);
    return 0;
}

/* hwb help [COMMAND|NAME]: names that are no subcommand are looked up in Lua. */
static int show_help(program *p) {
    if (options_value(&p->options, "man")) {
        usage_man(stdout, HWB_VERSION);
        return 0;
    }
    if (p->options.rest_count == 0) {
        usage_program(stdout);
        return 0;
    }
    int c = command_find(p->options.rest[0]);
    if (c >= 0) {
        usage_command(stdout, (command)c);
        return 0;
    }
    return state_run_command(p, "hwb.cmd.help");
}

static int show_completion(const program *p) {
    if (p->options.rest_count != 1 || usage_completion(stdout, p->options.rest[0]) != 0) {
        fprintf(stderr, "hwb completion: name a shell: bash, zsh or fish\n");
        return 2;
    }
    return 0;
}

static int dispatch(program *p) {
    static const char *const lua_commands[CMD_COUNT] = {
        [CMD_RUN] = "hwb.cmd.run",       [CMD_CHECK] = "hwb.cmd.check",
        [CMD_TEST] = "hwb.cmd.test",     [CMD_BENCH] = "hwb.cmd.bench",
        [CMD_DATA] = "hwb.cmd.data",     [CMD_MODEL] = "hwb.cmd.model",
        [CMD_RUNS] = "hwb.cmd.runs",     [CMD_REPORT] = "hwb.cmd.report",
        [CMD_DOCTOR] = "hwb.cmd.doctor", [CMD_INIT] = "hwb.cmd.init",
    };
    command c = p->options.command;
    /* hwb run FILE --help is the recipe's own help; hwb test --help PATH busted's */
    if (options_value(&p->options, "help") && !(c == CMD_RUN && p->options.rest_count > 0)) {
        if (p->options.command_given) usage_command(stdout, c);
        else usage_program(stdout);
        return 0;
    }
    switch (c) {
    case CMD_VERSION: return show_version(p);
    case CMD_HELP: return show_help(p);
    case CMD_COMPLETION: return show_completion(p);
    case CMD_REPL: return repl_main(p);
    default: return state_run_command(p, lua_commands[c]);
    }
}

int main(int argc, char **argv) {
    program p = {.name = argv[0], .argc = argc, .argv = argv};
    if (argc == 2 && strcmp(argv[1], "--version") == 0) return show_version(&p);
    int status = options_parse(&p.options, argc, argv);
    if (status == 0) {
        p.quiet = options_value(&p.options, "quiet") != NULL;
        p.json = options_value(&p.options, "json") != NULL;
        p.verbose = options_count(&p.options, "verbose");
        if (options_value(&p.options, "no-color")) setenv("NO_COLOR", "1", 1);
        status = dispatch(&p);
    }
    status = ranks_close(&p, status);
    state_close(&p);
    options_free(&p.options);
    if (fflush(stdout) != 0 && status == 0) {
        fprintf(stderr, "hwb: cannot write to stdout\n");
        status = 1;
    }
    return status;
}
