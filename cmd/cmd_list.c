#include "cmd/cmd.h"

#include <string.h>

#include "pipeline/docs.h"

typedef struct ListCommand {
    CommonOptions common;
} ListCommand;

static const Opt list_options[] = {
    COMMON_OPTIONS(ListCommand),
    OPT_END,
};

static Status run(Call *c, Err *err)
{
    static const struct {
        const char *name;
        void (*print)(StrBuf *b);
    } lists[] = { { "passes", list_passes }, { "formats", list_formats }, { "ops", list_ops }, { "grids", list_grids } };
    const char *nearest = NULL;
    int distance = 1 << 20;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (strcmp(c->args[0], lists[i].name) == 0) {
            lists[i].print(&c->out);
            return OK;
        }
        if (str_unlike(lists[i].name, c->args[0]) < distance) {
            distance = str_unlike(lists[i].name, c->args[0]);
            nearest = lists[i].name;
        }
    }
    return err_set(err, ERR_USAGE, "list: '%s' is none of passes, formats, ops, grids; did you mean '%s'?", c->args[0], nearest);
}

const Command command_list = {
    .name = "list",
    .args = "passes|formats|ops|grids",
    .summary = "list what there is",
    .details = "  pare list passes      what a recipe can do\n"
               "  pare list formats     files that can be read and written\n"
               "  pare list ops         operators, the opsets they are known for, which hold weights\n"
               "  pare list grids       carbon intensity of electricity by country, with year, basis and source\n",
    .options = list_options,
    .options_size = sizeof(ListCommand),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
