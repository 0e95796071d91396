#include "cmd/cmd.h"

#include <string.h>

#include "greenness/profile.h"
#include "pipeline/comparison.h"
#include "pipeline/docs.h"
#include "pipeline/report.h"

typedef struct DocsCommand {
    CommonOptions common;
} DocsCommand;

static const Opt docs_options[] = {
    COMMON_OPTIONS(DocsCommand),
    OPT_END,
};

static Status run(Call *c, Err *err)
{
    const char *kind = c->args[0];
    if (strcmp(kind, "passes") == 0) docs_passes(&c->out);
    else if (strcmp(kind, "ops") == 0) docs_ops(&c->out);
    else if (strcmp(kind, "formats") == 0) docs_formats(&c->out);
    else if (strcmp(kind, "man") == 0) man_page(&c->out);
    else if (strcmp(kind, "recipe-schema") == 0) return cli_print_json(recipe_schema(), &c->out, err);
    else if (strcmp(kind, "report-schema") == 0) return cli_print_json(report_schema(), &c->out, err);
    else if (strcmp(kind, "measure-schema") == 0) return cli_print_json(comparison_schema(), &c->out, err);
    else if (strcmp(kind, "profile-schema") == 0) return cli_print_json(profile_schema(), &c->out, err);
    else
        return err_set(err, ERR_USAGE, "docs: '%s' is none of passes, ops, formats, man, recipe-schema, report-schema, measure-schema, "
                                       "profile-schema",
                       kind);
    return OK;
}

const Command command_docs = {
    .name = "docs",
    .args = "passes|ops|formats|man|recipe-schema|report-schema|measure-schema|profile-schema",
    .summary = "print a generated page of docs/ (for 'make docs')",
    .details = "  pare docs passes > docs/passes.md\n",
    .options = docs_options,
    .options_size = sizeof(DocsCommand),
    .min_args = 1,
    .max_args = 1,
    .hidden = true,
    .run = run,
};
