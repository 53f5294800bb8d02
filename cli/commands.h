/* commands.h - every command's description, each in its cmd_<verb>.c. */
#ifndef BOUGH_CLI_COMMANDS_H
#define BOUGH_CLI_COMMANDS_H

#include "cli.h"

extern const struct cli_command cmd_init, cmd_import, cmd_export;
extern const struct cli_command cmd_branch, cmd_switch, cmd_rename, cmd_delete, cmd_protect, cmd_unprotect;
extern const struct cli_command cmd_reset, cmd_promote;
extern const struct cli_command cmd_status, cmd_tree, cmd_commit, cmd_log, cmd_tag;
extern const struct cli_command cmd_compare, cmd_try;
extern const struct cli_command cmd_diff, cmd_sql, cmd_url, cmd_verify, cmd_du, cmd_gc, cmd_run, cmd_help;
extern const struct cli_command cmd_migrate, cmd_git;

#endif
