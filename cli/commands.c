/* commands: the commands there are, in the order in which the help shows them. Each is described
 * beside its code; whoever adds one adds it here and in cli.h. */
#include "cli.h"

#include <string.h>

/* clang-format off */
static const cli_command *const commands[] = {
    /* store */
    &cli_init,
    &cli_status,
    /* documents */
    &cli_write,
    &cli_add,
    &cli_mv,
    &cli_rm,
    &cli_restore,
    &cli_replace,
    &cli_show,
    &cli_ls,
    &cli_info,
    /* history */
    &cli_log,
    &cli_diff,
    &cli_trace,
    &cli_git,
    /* permissions */
    &cli_violations,
    &cli_unlock,
    &cli_reclassify,
    &cli_untrack,
    /* upkeep */
    &cli_doctor,
    &cli_repair,
    &cli_gc,
    &cli_upgrade,
    /* more */
    &cli_import,
    &cli_lock,
    &cli_completion,
};
/* clang-format on */
#define COMMANDS (sizeof commands / sizeof commands[0])

const cli_command *command_at(size_t n) {
    return n < COMMANDS ? commands[n] : NULL;
}

const cli_command *command_find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

uint64_t command_options(const cli_command *command) {
    uint64_t all = OPTS_ALWAYS;
    if (command->raw) return 0;
    for (const cli_takes *takes = command->takes; takes->option != OPT_NONE; takes++)
        all |= UINT64_C(1) << takes->option;
    return all;
}
