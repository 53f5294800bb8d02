/* program.h - runs a program in the place of bough: its signals, its output and its exit status are the program's. */
#ifndef BOUGH_CLI_PROGRAM_H
#define BOUGH_CLI_PROGRAM_H

#include "cli.h"

#define PROGRAM_FAILED     125 /* bough itself failed */
#define PROGRAM_CANNOT     126 /* the program is there and cannot be started */
#define PROGRAM_NOT_FOUND  127
#define PROGRAM_BY_SIGNAL  128 /* and the number of the signal that killed it */

/* Starts argv[0], looked for in $PATH, and waits for its end. *out_status is what bough exits with; a result other than
 * BOUGH_OK says that the program was not started. in_child, which may be NULL, runs before the program, in its process;
 * it returns 0 or an errno. */
int program_run(struct cli *cli, int *out_status, char *const argv[], int (*in_child)(const void *context),
                const void *context);

/* BOUGH_REFUSED with a message when LD_PRELOAD has no effect on the program: a static one, for example. */
int program_check_preload(struct cli *cli, const char *name);

#endif
