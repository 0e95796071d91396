#include "cmd/run_options.h"

#include <stdlib.h>
#include <string.h>

static const Opt pass_options[] = {
    RUN_TEXT("data", data, "calibration data: an .npz, a folder of .npz or of input_k.pb, or a .json data section"),
    RUN_TEXT("evaluation", evaluation, "labelled data to measure accuracy on, in the same forms"),
    RUN_TEXT("layer", layer, "a rule for single layers: 'PATTERN:skip' or 'PATTERN:option=value,...'; may be given several times"),
    RUN_OPTIONS,
    COMMON_OPTIONS(RunCommand),
    OPT_END,
};

/* The value of a rule as JSON of the option's own type, so that the recipe's reader can check it. */
static cJSON *rule_value(const Opt *o, const char *text)
{
    char *end;
    double number = strtod(text, &end);
    if (o != NULL && o->type == OPT_FLAG && strcmp(text, "true") == 0) return cJSON_CreateTrue();
    if (o != NULL && o->type == OPT_FLAG && strcmp(text, "false") == 0) return cJSON_CreateFalse();
    if (o != NULL && (o->type == OPT_INT || o->type == OPT_FLOAT) && end != text && *end == '\0') return cJSON_CreateNumber(number);
    return cJSON_CreateString(text);
}

/* 'PATTERN:skip' or 'PATTERN:name=value,name=value'. The last colon parts them: names of layers may hold colons. */
static Status add_rule(const Pass *pass, const char *text, cJSON *rules, Err *err)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        return err_set(err, ERR_USAGE, "pass: --layer '%s' is not 'PATTERN:skip' or 'PATTERN:option=value,...'", text);
    }
    cJSON *rule = cJSON_CreateObject();
    char *pattern = strndup(text, (size_t)(colon - text)), *rest = strdup(colon + 1), *save = NULL;
    Status status = OK;
    if (rule == NULL || pattern == NULL || rest == NULL || !cJSON_AddItemToArray(rules, rule)) {
        cJSON_Delete(rule);
        status = err_no_memory(err, "the command line");
        goto out;
    }
    cJSON_AddStringToObject(rule, "match", pattern);
    for (char *part = strtok_r(rest, ",", &save); part != NULL; part = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(part, '=');
        if (equals == NULL && strcmp(part, "skip") == 0) {
            cJSON_AddTrueToObject(rule, "skip");
            continue;
        }
        if (equals == NULL) {
            status = err_set(err, ERR_USAGE, "pass: --layer '%s': '%s' is not 'skip' or 'option=value'", text, part);
            goto out;
        }
        *equals = '\0';
        cJSON *value = rule_value(opts_find(pass->options, part, NULL), equals + 1);
        if (value == NULL || !cJSON_AddItemToObject(rule, part, value)) {
            cJSON_Delete(value);
            status = err_no_memory(err, "the command line");
            goto out;
        }
    }
out:
    free(pattern);
    free(rest);
    return status;
}

/* A goal that the pass has an option for is also its aim, where it has data to judge by. */
static Status hand_goals_down(Call *c, Err *err)
{
    const RunCommand *o = c->options;
    for (int i = 0; i < GOAL_COUNT; i++) {
        const Opt *aim = opts_find(c->pass->options, goal_options[i].name, NULL);
        if (o->goals[i] == NULL || aim == NULL) continue;
        if (o->data == NULL) {
            log_warn(c->log, "%s: without --data '%s' cannot aim at it; the result is judged by it, no more", goal_options[i].name,
                     c->pass->name);
            continue;
        }
        cJSON *value = rule_value(aim, o->goals[i]);
        if (value == NULL || !cJSON_AddItemToObject(c->pass_json, aim->name, value)) {
            cJSON_Delete(value);
            return err_no_memory(err, "the command line");
        }
    }
    return OK;
}

/* A path to a .json data section is read by the recipe's reader as any other path. */
static Status build_recipe(Call *c, Recipe **out, Err *err)
{
    const RunCommand *o = c->options;
    cJSON *root = cJSON_CreateObject();
    cJSON *data = cJSON_CreateObject(), *passes = cJSON_CreateArray(), *rules = cJSON_CreateArray();
    Status status = OK;
    *out = NULL;
    if (root == NULL || data == NULL || passes == NULL || rules == NULL) status = err_no_memory(err, "the command line");
    for (int i = 0; status == OK && i < c->layers.count; i++) status = add_rule(c->pass, c->layers.texts[i], rules, err);
    if (status == OK) status = hand_goals_down(c, err);
    if (status != OK) {
        cJSON_Delete(root);
        cJSON_Delete(data);
        cJSON_Delete(passes);
        cJSON_Delete(rules);
        return status;
    }
    if (o->data != NULL) cJSON_AddStringToObject(data, "calibration", o->data);
    if (o->evaluation != NULL) cJSON_AddStringToObject(data, "evaluation", o->evaluation);
    if (data->child != NULL) cJSON_AddItemToObject(root, "data", data);
    else cJSON_Delete(data);
    if (rules->child != NULL) cJSON_AddItemToObject(c->pass_json, "layers", rules);
    else cJSON_Delete(rules);
    cJSON_AddItemToArray(passes, c->pass_json);
    c->pass_json = NULL;
    cJSON_AddItemToObject(root, "passes", passes);
    return recipe_from_json(root, "pass", NULL, out, err);
}

static Status run(Call *c, Err *err)
{
    Recipe *recipe;
    TRY(build_recipe(c, &recipe, err));
    Status status = run_for_command(c, recipe, c->args[0], err);
    recipe_free(recipe);
    return status;
}

const Command command_pass = {
    .name = "pass",
    .args = "PASS [--OPTION=VALUE ...] MODEL",
    .summary = "run one pass with options from the command line",
    .details = "  pare pass prune --sparsity=0.6 model.onnx -o pruned.onnx\n"
               "  pare pass prune --sparsity=0.6 --layer 'head*:skip' --layer 'conv1:sparsity=0.3' model.onnx -o pruned.onnx\n"
               "  pare pass quantize --data calib.npz --evaluation test.npz model.onnx -o int8.onnx\n\n"
               "The options of a pass are those of a recipe (pare help PASS); a flag is turned off with --no-FLAG.\n"
               "'pare list passes' names the passes. Goals that a pass has an option for "
               "(quantize: max-accuracy-drop, max-size) are what it\n"
               "aims at on the calibration data, and are judged on the result.\n",
    .options = pass_options,
    .options_size = sizeof(RunCommand),
    .min_args = 1,
    .max_args = 1,
    .takes_pass = true,
    .run = run,
};
