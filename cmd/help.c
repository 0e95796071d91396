/* Help texts, all from the tables. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "pipeline/goals.h"
#include "pipeline/text.h"

void help_program(StrBuf *b)
{
    strbuf_printf(b, "pare %s: makes trained networks smaller and says what was gained\n\nusage: pare COMMAND ...\n\n", PARE_VERSION);
    for (const Command *const *c = commands_all(); *c != NULL; c++) {
        if (!(*c)->hidden) strbuf_printf(b, "  %-9s %s\n", (*c)->name, (*c)->summary);
    }
    strbuf_add(b, "\n'pare help COMMAND' shows its options, 'pare help PASS' those of a pass.\n"
                  "'pare help recipe' says how a recipe is written, 'pare help exit-codes' what the exit code means.\n\n"
                  "  pare inspect model.onnx\n"
                  "  pare pass prune --sparsity=0.6 model.onnx -o pruned.onnx\n"
                  "  pare run recipe.json model.onnx -o small.onnx --report out/\n");
}

void help_command(const Command *c, StrBuf *b)
{
    strbuf_printf(b, "pare %s: %s\n\nusage: pare %s [OPTIONS] %s\n\n%s\noptions\n", c->name, c->summary, c->name, c->args, c->details);
    opts_help(c->options, b);
}

void help_pass(const Pass *p, StrBuf *b)
{
    size_t len = strlen(p->details);
    strbuf_printf(b, "%s: %s\n\n%s%s\n", p->name, p->summary, p->details, len > 0 && p->details[len - 1] == '\n' ? "" : "\n");
    strbuf_add(b, p->options[0].name != NULL ? "options (in a recipe: keys of the pass's entry)\n" : "It has no options.\n");
    opts_help(p->options, b);
    bool any = false;
    for (const Opt *o = p->options; o->name != NULL; o++) {
        if (!o->per_layer) continue;
        strbuf_printf(b, "%s%s", any ? ", " : "\nper layer: skip, ", o->name);
        any = true;
    }
    if (any) strbuf_add(b, "\n");
    if ((p->flags & PASS_NEEDS_DATA) != 0) strbuf_add(b, "\nNeeds calibration data.\n");
    else if ((p->flags & PASS_USES_DATA) != 0) strbuf_add(b, "\nUses calibration data when given.\n");
    if ((p->flags & PASS_KEEPS_MODEL) != 0) strbuf_add(b, "Leaves the network as it was.\n");
}

void help_exit_codes(StrBuf *b)
{
    static const struct {
        int code;
        const char *text;
    } codes[] = {
#define X(name, number, meaning) { number, meaning },
        STATUS_LIST(X)
#undef X
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) strbuf_printf(b, "%4d  %s\n", codes[i].code, codes[i].text);
    strbuf_add(b,
               "\nThe output is replaced in one step once all passes are done and the network is verified to be sound: a run that fails\n"
               "before leaves every existing file as it was. Then the file is loaded again and measured: a run that is interrupted or\n"
               "fails there leaves the new file.\n");
}

void help_recipe(StrBuf *b)
{
    strbuf_add(b,
               "A recipe is one JSON object; paths in it are relative to it.\n\n"
               "  { \"data\": { \"calibration\": \"calib.npz\",\n"
               "              \"evaluation\": { \"file\": \"test.npz\", \"label\": \"y\", \"first\": 2000,\n"
               "                \"inputs\": { \"image\": { \"array\": \"x\", \"scale\": 0.003921569, \"expand\": [1] } } } },\n"
               "    \"passes\": [ { \"pass\": \"fold\" },\n"
               "                { \"pass\": \"prune\", \"sparsity\": 0.8, \"layers\": [ { \"match\": \"head*\", \"skip\": true } ] },\n"
               "                { \"pass\": \"quantize\" } ],\n"
               "    \"goals\": { \"max-accuracy-drop\": 1.0, \"max-size\": \"30%\" },\n"
               "    \"seed\": 0 }\n\n"
               "data      a path (.npz, folder of .npz or input_k.pb, .json section) or a section as above. Per input, in this order:\n"
               "          array; rows (an array of row numbers), first (how many), every, shuffle with seed, which beside \"file\" hold\n"
               "          for inputs and labels alike; cast to the input's type; scale (times), mean (minus), std (divided by), each one\n"
               "          number or one per entry of channel-axis (as stored); transpose; expand (axes added). Then label,\n"
               "          class-axis, ignore-label. Samples of various shapes: a folder of .npz, which go through one by one in the order\n"
               "          of their names; a section about it holds for each.\n"
               "passes    run in this order; 'pare help PASS' lists the keys of each. \"layers\" holds rules for single layers: \"match\"\n"
               "          is tried on the layer's name and its weight's name (* ? [...], * also matches /), later rules override\n"
               "          earlier ones, \"skip\" leaves the layers alone (quantize: float). A pattern that matches nothing is an error.\n"
               "goals     judged on the result; when one is missed the file is written all the same and the exit code is 5:\n");
    opts_help(goal_options, b);
    strbuf_add(b, "seed      of everything random; 0 when not given\n\n"
                  "An unknown key is an error that names the nearest known one. docs/recipe.schema.json is the schema.\n");
}
