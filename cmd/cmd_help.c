#include "cmd/cmd.h"

#include <string.h>

typedef struct HelpCommand {
    CommonOptions common;
} HelpCommand;

static const Opt help_options[] = {
    COMMON_OPTIONS(HelpCommand),
    OPT_END,
};

static const struct {
    const char *name;
    void (*print)(StrBuf *b);
} topics[] = { { "exit-codes", help_exit_codes }, { "recipe", help_recipe } };

static Status nothing_about(const char *name, Err *err)
{
    const char *nearest = command_nearest(name);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        bool closer = nearest == NULL || str_unlike(topics[i].name, name) < str_unlike(nearest, name);
        if (closer && str_resembles(topics[i].name, name)) nearest = topics[i].name;
    }
    if (strcmp(name, "data") == 0 || strcmp(name, "goals") == 0) nearest = "recipe";
    if (nearest == NULL) return err_set(err, ERR_USAGE, "help: nothing about '%s'; 'pare help' lists what there is", name);
    return err_set(err, ERR_USAGE, "help: nothing about '%s'; did you mean '%s'?", name, nearest);
}

static Status run(Call *c, Err *err)
{
    if (c->arg_count == 0) {
        help_program(&c->out);
        return OK;
    }
    const char *name = c->args[0];
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        if (strcmp(name, topics[i].name) == 0) {
            topics[i].print(&c->out);
            return OK;
        }
    }
    if (command_find(name) != NULL) help_command(command_find(name), &c->out);
    else if (pass_find(name) != NULL) help_pass(pass_find(name), &c->out);
    else return nothing_about(name, err);
    return OK;
}

const Command command_help = {
    .name = "help",
    .args = "[COMMAND|PASS|recipe|exit-codes]",
    .summary = "explain a command, a pass, recipes or exit codes",
    .details = "  pare help\n"
               "  pare help run\n"
               "  pare help quantize\n"
               "  pare help recipe\n"
               "  pare help exit-codes\n",
    .options = help_options,
    .options_size = sizeof(HelpCommand),
    .max_args = 1,
    .run = run,
};
