/*
 * repl.c: the session, and -e, -l, - and piped input.
 */
#include "program.h"

#include <string.h>
#include <unistd.h>

int repl_main(program *p) {
    return state_run_command(p, "hwb.cmd.repl");
}
