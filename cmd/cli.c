#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "pipeline/goals.h"
#include "pipeline/json_write.h"

const Command *const *commands_all(void)
{
    static const Command *const list[] = {
#define X(command) &command,
        COMMAND_LIST(X)
#undef X
        NULL,
    };
    return list;
}

const Command *command_find(const char *name)
{
    for (const Command *const *c = commands_all(); *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0) return *c;
    }
    return NULL;
}

const char *command_nearest(const char *name)
{
    const char *best = NULL;
    int distance = 1 << 20;
    for (const Command *const *c = commands_all(); *c != NULL; c++) {
        if (!(*c)->hidden && str_unlike((*c)->name, name) < distance) {
            distance = str_unlike((*c)->name, name);
            best = (*c)->name;
        }
    }
    for (const Pass *const *p = passes_all(); *p != NULL; p++) {
        if (str_unlike((*p)->name, name) < distance) {
            distance = str_unlike((*p)->name, name);
            best = (*p)->name;
        }
    }
    return best != NULL && str_resembles(best, name) ? best : NULL;
}

/* One option as it stands on the command line, before its table is known. */
typedef struct Token {
    char name[64];
    const char *value; /* NULL: no "=value" */
} Token;

static Status unknown_option(const Call *c, const char *name, Err *err)
{
    const char *nearest = NULL, *pass_nearest = NULL;
    opts_find(c->command->options, name, &nearest);
    if (c->pass != NULL) opts_find(c->pass->options, name, &pass_nearest);
    if (pass_nearest != NULL && (nearest == NULL || str_unlike(pass_nearest, name) < str_unlike(nearest, name))) {
        nearest = pass_nearest;
    }
    if (c->command->takes_pass && c->pass == NULL) {
        return err_set(err, ERR_USAGE, "%s: unknown option '--%s'; the pass's name comes before its options", c->command->name, name);
    }
    return err_set(err, ERR_USAGE, "%s: unknown option '--%s'; did you mean '--%s'?", c->command->name, name, nearest);
}

/* "--name=value", "--name", "-o", "-oFILE" */
static Status read_token(const Call *c, const char *arg, Token *t, Err *err)
{
    static const struct {
        char letter;
        const char *name;
    } letters[] = { { 'o', "output" }, { 'q', "quiet" }, { 'h', "help" } };
    *t = (Token){ .value = NULL };
    if (arg[1] != '-') {
        for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
            if (letters[i].letter == arg[1] && opts_find(c->command->options, letters[i].name, NULL) != NULL) {
                snprintf(t->name, sizeof t->name, "%s", letters[i].name);
                if (arg[2] != '\0') t->value = arg + 2;
                return OK;
            }
        }
        return err_set(err, ERR_USAGE, "%s: unknown option '%.40s'; 'pare help %s' lists them", c->command->name, arg, c->command->name);
    }
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg - 2) : strlen(arg + 2);
    if (len >= sizeof t->name) return err_set(err, ERR_USAGE, "%s: unknown option '%.60s...'", c->command->name, arg);
    memcpy(t->name, arg + 2, len);
    t->value = equals != NULL ? equals + 1 : NULL;
    return OK;
}

/* "no-fold" turns the flag "fold" off. */
static const Opt *find_option(const Opt *table, const char *name, const char **value)
{
    const Opt *o = opts_find(table, name, NULL);
    if (o != NULL || strncmp(name, "no-", 3) != 0) return o;
    o = opts_find(table, name + 3, NULL);
    if (o == NULL || o->type != OPT_FLAG || *value != NULL) return NULL;
    *value = "false";
    return o;
}

/* A word for a shell. */
static void add_word(StrBuf *b, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    strbuf_add(b, " ");
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        strbuf_add(b, word);
        return;
    }
    strbuf_add(b, "'");
    for (; *word != '\0'; word++) {
        if (*word == '\'') strbuf_add(b, "'\\''");
        else strbuf_add_n(b, word, 1);
    }
    strbuf_add(b, "'");
}

/* What changes no result is left out. */
static Status add_again(Call *c, const Opt *o, const char *value, Err *err)
{
    static const char *const beside[] = { "quiet", "help", "json", "report", "history", "emissions", "boamps", "junit", "cache-dir",
                                          "no-cache" };
    StrBuf word = { 0 };
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (strcmp(o->name, beside[i]) == 0) return OK;
    strbuf_printf(&word, "--%s", o->name);
    if (o->type != OPT_FLAG || strcmp(value, "true") != 0) strbuf_printf(&word, "=%s", value);
    if (word.failed) c->again.failed = true;
    else add_word(&c->again, word.data);
    strbuf_release(&word);
    return c->again.failed ? err_no_memory(err, "the command line") : OK;
}

static Status add_repeated(Repeated *r, const char *text, Err *err)
{
    void *texts = r->texts;
    if (!array_grow(&texts, &r->capacity, (size_t)r->count + 1, sizeof *r->texts)) return err_no_memory(err, "the command line");
    r->texts = texts;
    r->texts[r->count++] = text;
    return OK;
}

/* An option of the pass becomes a key of its recipe entry; the recipe's reader checks it. */
static Status add_pass_option(Call *c, const Opt *o, const char *value, Err *err)
{
    cJSON *item;
    char *end;
    double number = strtod(value, &end);
    bool numeric = (o->type == OPT_INT || o->type == OPT_FLOAT) && end != value && *end == '\0';
    if (o->type == OPT_FLAG) {
        bool flag;
        const Opt one[] = { { .name = o->name, .type = OPT_FLAG }, OPT_END };
        TRY(opts_set(one, &flag, o->name, value, c->pass->name, c->arena, err));
        item = cJSON_CreateBool(flag);
    } else if (numeric) {
        item = cJSON_CreateNumber(number);
    } else if (o->type == OPT_INT || o->type == OPT_FLOAT) {
        return err_set(err, ERR_USAGE, "%s: %s is '%s', expected a number", c->pass->name, o->name, value);
    } else {
        item = cJSON_CreateString(value);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(c->pass_json, o->name); /* given twice: the last one holds */
    if (item == NULL || !cJSON_AddItemToObject(c->pass_json, o->name, item)) return err_no_memory(err, "the command line");
    return OK;
}

static Status take_option(Call *c, Token *t, int argc, char **argv, int *at, Err *err)
{
    const Opt *o = find_option(c->command->options, t->name, &t->value);
    bool of_pass = o == NULL && c->pass != NULL;
    if (of_pass) o = find_option(c->pass->options, t->name, &t->value);
    if (o == NULL) return unknown_option(c, t->name, err);
    if (t->value == NULL) {
        if (o->type == OPT_FLAG) t->value = "true";
        else if (*at + 1 < argc) t->value = argv[++*at];
        else return err_set(err, ERR_USAGE, "%s: option '--%s' needs a value", c->command->name, o->name);
    }
    TRY(add_again(c, o, t->value, err));
    if (of_pass) return add_pass_option(c, o, t->value, err);
    if (strcmp(o->name, "layer") == 0) TRY(add_repeated(&c->layers, t->value, err));
    return opts_set(c->command->options, c->options, o->name, t->value, c->command->name, c->arena, err);
}

static Status take_argument(Call *c, const char *arg, Err *err)
{
    if (c->command->takes_pass && c->pass == NULL) {
        c->pass = pass_find(arg);
        if (c->pass == NULL) {
            const char *nearest = NULL;
            int distance = 1 << 20;
            for (const Pass *const *p = passes_all(); *p != NULL; p++) {
                if (str_unlike((*p)->name, arg) < distance) {
                    distance = str_unlike((*p)->name, arg);
                    nearest = (*p)->name;
                }
            }
            if (nearest == NULL || !str_resembles(nearest, arg))
                return err_set(err, ERR_USAGE, "pass: unknown pass '%s'; 'pare list passes' names them", arg);
            return err_set(err, ERR_USAGE, "pass: unknown pass '%s'; did you mean '%s'?", arg, nearest);
        }
        c->pass_json = cJSON_CreateObject();
        bool made = c->pass_json != NULL && cJSON_AddStringToObject(c->pass_json, "pass", arg) != NULL;
        return made ? OK : err_no_memory(err, "the command line");
    }
    if (c->arg_count == c->command->max_args) {
        return err_set(err, ERR_USAGE, "%s: '%s' is one argument too many; usage: pare %s %s", c->command->name, arg, c->command->name,
                       c->command->args);
    }
    c->args[c->arg_count++] = arg;
    return OK;
}

static Status finish(Call *c, Err *err)
{
    const CommonOptions *common = c->options;
    if (common->help) return OK;
    if (common->max_mem != NULL) {
        double bytes;
        if (!size_parse(common->max_mem, NULL, &bytes) || bytes < 1) {
            return err_set(err, ERR_USAGE, "%s: max-mem is '%s', expected a size such as 500M or 2G", c->command->name, common->max_mem);
        }
        c->max_mem = (uint64_t)bytes;
    }
    if (c->command->takes_pass && c->pass == NULL) return err_set(err, ERR_USAGE, "pass: which one? 'pare list passes' lists them");
    if (c->arg_count < c->command->min_args) {
        return err_set(err, ERR_USAGE, "%s: too few arguments; usage: pare %s %s", c->command->name, c->command->name, c->command->args);
    }
    return OK;
}

Status cli_parse(Call *c, int argc, char **argv, Err *err)
{
    c->options = arena_alloc(c->arena, c->command->options_size);
    c->args = arena_array(c->arena, (size_t)argc + 1, sizeof *c->args);
    if (c->options == NULL || c->args == NULL) return err_no_memory(err, "the command line");
    TRY(opts_defaults(c->command->options, c->options, c->arena, err));
    strbuf_printf(&c->again, "pare %s", c->command->name);
    bool options_over = false;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (!options_over && strcmp(arg, "--") == 0) {
            options_over = true;
            strbuf_add(&c->again, " --");
        } else if (!options_over && arg[0] == '-' && arg[1] != '\0') {
            Token t;
            TRY(read_token(c, arg, &t, err));
            TRY(take_option(c, &t, argc, argv, &i, err));
        } else {
            TRY(take_argument(c, arg, err));
            add_word(&c->again, arg);
        }
    }
    if (c->again.failed) return err_no_memory(err, "the command line");
    return finish(c, err);
}

Status cli_print_json(cJSON *json, StrBuf *out, Err *err)
{
    json_print(json, out);
    strbuf_add(out, "\n");
    cJSON_Delete(json);
    return out->failed ? err_no_memory(err, "the JSON text") : OK;
}

void call_release(Call *c)
{
    free(c->layers.texts);
    cJSON_Delete(c->pass_json);
    strbuf_release(&c->again);
    strbuf_release(&c->out);
    arena_unref(c->arena);
}
