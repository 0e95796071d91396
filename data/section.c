#include "data/section.h"

#include "base/bytes.h"
#include "data/dataset.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

const DataKey data_keys[] = {
    { "file", "string", NULL, DATA_TOP,
      "the .npz or .npy file, or a folder of .npz or of input_k.pb, relative to the section's own folder" },
    { "inputs", "object", "{}", DATA_TOP,
      "one object for each input that needs one, by the input's name; the others take the array of their name as it is" },
    { "label", "string|object|null", "\"label\"", DATA_TOP,
      "the array with the labels, or an object with its array and samples; null: none" },
    { "class-axis", "integer", "-1", DATA_TOP, "axis of the network's output along which the classes lie; negative from the end" },
    { "ignore-label", "integer|null", "null", DATA_TOP, "label of positions that do not count" },
    { "array", "string", NULL, DATA_INPUT | DATA_LABEL, "name of the array in the file; the input's name by default" },
    { "rows", "string|null", "null", DATA_TOP | DATA_INPUT | DATA_LABEL, "array of the same file with the indices of the samples to take" },
    { "first", "integer|null", "null", DATA_TOP | DATA_INPUT | DATA_LABEL,
      "how many samples to take; the first ones, with shuffle a seeded choice of all" },
    { "every", "integer", "1", DATA_TOP | DATA_INPUT | DATA_LABEL, "takes one sample in so many of those left by first" },
    { "shuffle", "boolean", "false", DATA_TOP | DATA_INPUT | DATA_LABEL,
      "makes what first and every leave a seeded choice; samples are delivered in the file's order all the same" },
    { "seed", "integer", "0", DATA_TOP | DATA_INPUT | DATA_LABEL, "seed of shuffle" },
    { "sample-axis", "integer|null", "0", DATA_TOP | DATA_INPUT | DATA_LABEL,
      "axis of the stored array that counts the samples; null: the whole array is one sample (labels: their axis 0 counts positions, "
      "those not taken are ignored)" },
    { "scale", "number|number[]", "1", DATA_INPUT, "multiplies, after the cast to the input's type; float inputs only" },
    { "mean", "number|number[]", "0", DATA_INPUT, "is subtracted next" },
    { "std", "number|number[]", "1", DATA_INPUT, "divides next; not zero" },
    { "channel-axis", "integer", "-1", DATA_INPUT, "axis of the stored array that lists in scale, mean and std run along" },
    { "transpose", "integer[]", NULL, DATA_INPUT, "permutation of the stored axes, the sample axis among them" },
    { "expand", "integer[]", "[]", DATA_INPUT, "axes of length one added, by their positions in the result" },
    { .name = NULL },
};

/* Where in the section a message points: "data section, input 'x'". */
typedef struct Place {
    Arena *arena;
    const char *text;
    unsigned where;
} Place;

static const char *json_kind(const cJSON *v)
{
    if (cJSON_IsNull(v)) return "null";
    if (cJSON_IsBool(v)) return cJSON_IsTrue(v) ? "true" : "false";
    if (cJSON_IsNumber(v)) return "a number";
    if (cJSON_IsString(v)) return "a string";
    return cJSON_IsArray(v) ? "a list" : "an object";
}

static Status wrong(const Place *p, const cJSON *v, const char *expected, Err *err)
{
    if (cJSON_IsNumber(v)) return err_set(err, ERR_USAGE, "%s: '%s' is %.15g, expected %s", p->text, v->string, v->valuedouble, expected);
    return err_set(err, ERR_USAGE, "%s: '%s' is %s, expected %s", p->text, v->string, json_kind(v), expected);
}

/* Keys must be known here and unique. */
static Status check_keys(const Place *p, const cJSON *object, Err *err)
{
    for (const cJSON *v = object->child; v != NULL; v = v->next) {
        const DataKey *found = NULL, *nearest = NULL;
        for (const DataKey *k = data_keys; k->name != NULL; k++) {
            if (!(k->where & p->where)) continue;
            if (strcmp(k->name, v->string) == 0) found = k;
            if (nearest == NULL || str_unlike(k->name, v->string) < str_unlike(nearest->name, v->string)) nearest = k;
        }
        if (found == NULL && nearest != NULL)
            return err_set(err, ERR_USAGE, "%s: unknown key '%s'; did you mean '%s'?", p->text, v->string, nearest->name);
        for (const cJSON *w = v->next; w != NULL; w = w->next) {
            if (strcmp(w->string, v->string) == 0) return err_set(err, ERR_USAGE, "%s: key '%s' is there twice", p->text, v->string);
        }
    }
    return OK;
}

static const cJSON *get(const cJSON *object, const char *key) { return cJSON_GetObjectItemCaseSensitive(object, key); }

static bool whole_number(const cJSON *v, int64_t low, int64_t high, int64_t *out)
{
    if (!cJSON_IsNumber(v) || v->valuedouble != floor(v->valuedouble) || fabs(v->valuedouble) > 9007199254740992.0) return false;
    *out = (int64_t)v->valuedouble;
    return *out >= low && *out <= high;
}

static Status read_string(const Place *p, const cJSON *v, const char **out, Err *err)
{
    if (!cJSON_IsString(v) || v->valuestring[0] == '\0') return wrong(p, v, "a name", err);
    *out = arena_str(p->arena, str_of(v->valuestring)).data;
    return *out != NULL ? OK : err_no_memory(err, "a data section");
}

static Status read_axis(const Place *p, const cJSON *v, int *out, Err *err)
{
    int64_t axis;
    if (!whole_number(v, -MAX_RANK, MAX_RANK - 1, &axis)) return wrong(p, v, "an axis (-16 to 15)", err);
    *out = (int)axis;
    return OK;
}

static Status read_axes(const Place *p, const cJSON *v, int *out, int *count, Err *err)
{
    if (!cJSON_IsArray(v)) return wrong(p, v, "a list of axes", err);
    *count = 0;
    for (const cJSON *e = v->child; e != NULL; e = e->next) {
        int64_t axis;
        if (*count == MAX_RANK || !whole_number(e, -MAX_RANK, MAX_RANK - 1, &axis))
            return err_set(err, ERR_USAGE, "%s: '%s' must be a list of at most %d axes (-16 to 15)", p->text, v->string, MAX_RANK);
        out[(*count)++] = (int)axis;
    }
    return OK;
}

static Status read_numbers(const Place *p, const cJSON *v, bool divides, Numbers *out, Err *err)
{
    int count = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 1;
    double *at = arena_array(p->arena, (size_t)count, sizeof *at);
    if (at == NULL) return err_no_memory(err, "a data section");
    *out = (Numbers){ .at = at, .count = count, .list = cJSON_IsArray(v) };
    const cJSON *e = cJSON_IsArray(v) ? v->child : v;
    for (int i = 0; i < count; i++, e = e->next) {
        if (!cJSON_IsNumber(e) || !isfinite(e->valuedouble)) return wrong(p, v, "a number or a list of numbers", err);
        if (divides && e->valuedouble == 0) return err_set(err, ERR_USAGE, "%s: '%s' divides by 0", p->text, v->string);
        at[i] = e->valuedouble;
    }
    return count > 0 ? OK : wrong(p, v, "a number or a list of numbers, not an empty one", err);
}

static Status read_sampling(const Place *p, const cJSON *object, Sampling *s, Err *err)
{
    const cJSON *v;
    int64_t n;
    if ((v = get(object, "rows")) != NULL) {
        s->rows = NULL;
        if (!cJSON_IsNull(v)) TRY(read_string(p, v, &s->rows, err));
        s->given = cJSON_IsNull(v) ? s->given & ~SAMPLE_ROWS : s->given | SAMPLE_ROWS;
    }
    if ((v = get(object, "first")) != NULL) {
        n = 0;
        if (!cJSON_IsNull(v) && !whole_number(v, 1, INT64_MAX, &n)) return wrong(p, v, "a whole number from 1", err);
        s->first = n;
        s->given = n == 0 ? s->given & ~SAMPLE_FIRST : s->given | SAMPLE_FIRST;
    }
    if ((v = get(object, "every")) != NULL) {
        if (!whole_number(v, 1, INT64_MAX, &s->every)) return wrong(p, v, "a whole number from 1", err);
        s->given |= SAMPLE_EVERY;
    }
    if ((v = get(object, "shuffle")) != NULL) {
        if (!cJSON_IsBool(v)) return wrong(p, v, "true or false", err);
        s->shuffle = cJSON_IsTrue(v);
        s->given |= SAMPLE_SHUFFLE;
    }
    if ((v = get(object, "seed")) != NULL) {
        if (!whole_number(v, 0, INT64_MAX, &n)) return wrong(p, v, "a whole number from 0", err);
        s->seed = (uint64_t)n;
        s->given |= SAMPLE_SEED;
    }
    if ((v = get(object, "sample-axis")) != NULL) {
        s->whole = cJSON_IsNull(v);
        s->given |= SAMPLE_AXIS;
        if (!s->whole) TRY(read_axis(p, v, &s->axis, err));
    }
    return OK;
}

static Status read_input(const Place *p, const cJSON *object, ArraySpec *a, Err *err)
{
    const cJSON *v;
    if (!cJSON_IsObject(object)) return err_set(err, ERR_USAGE, "%s is %s, expected an object", p->text, json_kind(object));
    TRY(check_keys(p, object, err));
    TRY(read_sampling(p, object, &a->sampling, err));
    if ((v = get(object, "array")) != NULL) TRY(read_string(p, v, &a->array, err));
    if ((v = get(object, "scale")) != NULL) TRY(read_numbers(p, v, false, &a->scale, err));
    if ((v = get(object, "mean")) != NULL) TRY(read_numbers(p, v, false, &a->mean, err));
    if ((v = get(object, "std")) != NULL) TRY(read_numbers(p, v, true, &a->std, err));
    if ((v = get(object, "channel-axis")) != NULL) TRY(read_axis(p, v, &a->channel_axis, err));
    if ((v = get(object, "transpose")) != NULL) TRY(read_axes(p, v, a->transpose, &a->transpose_count, err));
    if ((v = get(object, "expand")) != NULL) TRY(read_axes(p, v, a->expand, &a->expand_count, err));
    return OK;
}

static Status read_inputs(Section *s, const cJSON *inputs, Err *err)
{
    if (!cJSON_IsObject(inputs)) return err_set(err, ERR_USAGE, "data section: 'inputs' is %s, expected an object", json_kind(inputs));
    s->inputs = arena_array(s->arena, (size_t)cJSON_GetArraySize(inputs) + 1, sizeof *s->inputs);
    if (s->inputs == NULL) return err_no_memory(err, "a data section");
    for (const cJSON *v = inputs->child; v != NULL; v = v->next) {
        ArraySpec *a = &s->inputs[s->input_count];
        *a = (ArraySpec){ .sampling = s->sampling, .channel_axis = -1 };
        a->input = arena_str(s->arena, str_of(v->string)).data;
        Place p = { s->arena, arena_printf(s->arena, "data section, input '%s'", v->string).data, DATA_INPUT };
        if (a->input == NULL || p.text == NULL) return err_no_memory(err, "a data section");
        if (section_input(s, a->input) != NULL) return err_set(err, ERR_USAGE, "data section: input '%s' is there twice", a->input);
        TRY(read_input(&p, v, a, err));
        s->input_count++;
    }
    return OK;
}

static Status read_label(Section *s, const Place *top, const cJSON *v, Err *err)
{
    s->no_label = cJSON_IsNull(v);
    if (s->no_label) return OK;
    s->has_label = true;
    if (cJSON_IsString(v)) return read_string(top, v, &s->label.array, err);
    if (!cJSON_IsObject(v)) return wrong(top, v, "an array's name, an object or null", err);
    Place p = { s->arena, "data section, label", DATA_LABEL };
    return read_input(&p, v, &s->label, err);
}

Status section_init(Section *s, const char *file, Err *err)
{
    *s = (Section){ .arena = arena_new(), .sampling = { .every = 1 }, .class_axis = -1 };
    if (s->arena == NULL || (file != NULL && (s->file = arena_str(s->arena, str_of(file)).data) == NULL)) {
        section_release(s);
        return err_no_memory(err, "a data section");
    }
    s->label = (ArraySpec){ .sampling = s->sampling, .channel_axis = -1, .array = "label" };
    return OK;
}

static Status read_section(Section *s, const cJSON *json, Err *err)
{
    Place p = { s->arena, "data section", DATA_TOP };
    const cJSON *v;
    if (!cJSON_IsObject(json)) return err_set(err, ERR_USAGE, "data section is %s, expected an object", json_kind(json));
    TRY(check_keys(&p, json, err));
    if ((v = get(json, "file")) == NULL) return err_set(err, ERR_USAGE, "data section: 'file' is missing");
    TRY(read_string(&p, v, &s->file, err));
    TRY(read_sampling(&p, json, &s->sampling, err));
    s->label.sampling = s->sampling;
    if ((v = get(json, "inputs")) != NULL) TRY(read_inputs(s, v, err));
    if ((v = get(json, "label")) != NULL) TRY(read_label(s, &p, v, err));
    if ((v = get(json, "class-axis")) != NULL) TRY(read_axis(&p, v, &s->class_axis, err));
    if ((v = get(json, "ignore-label")) != NULL && !cJSON_IsNull(v)) {
        s->has_ignore = true;
        if (!whole_number(v, INT64_MIN, INT64_MAX, &s->ignore)) return wrong(&p, v, "a whole number", err);
    }
    return OK;
}

Status section_parse(const cJSON *json, Section *out, Err *err)
{
    TRY(section_init(out, NULL, err));
    Status status = read_section(out, json, err);
    if (status != OK) section_release(out);
    return status;
}

void section_release(Section *s)
{
    arena_unref(s->arena);
    *s = (Section){ 0 };
}

const ArraySpec *section_input(const Section *s, const char *input)
{
    for (int i = 0; i < s->input_count; i++) {
        if (strcmp(s->inputs[i].input, input) == 0) return &s->inputs[i];
    }
    return NULL;
}

static void print_numbers(const char *name, const Numbers *n, StrBuf *b)
{
    if (n->count == 0) return;
    strbuf_printf(b, " %s%s", name, n->list ? "=[" : "=");
    for (int i = 0; i < n->count; i++) strbuf_printf(b, "%s%.17g", i > 0 ? "," : "", n->at[i]);
    if (n->list) strbuf_add(b, "]");
}

void section_print_spec(const ArraySpec *a, StrBuf *b)
{
    const Sampling *s = &a->sampling;
    strbuf_printf(b, "%s: array=%s", a->input != NULL ? a->input : "label", a->array != NULL ? a->array : a->input);
    if (s->rows != NULL) strbuf_printf(b, " rows=%s", s->rows);
    strbuf_printf(b, " first=%lld every=%lld", (long long)s->first, (long long)s->every);
    if (s->shuffle) strbuf_printf(b, " seed=%llu", (unsigned long long)s->seed);
    if (s->whole) strbuf_add(b, " whole");
    else strbuf_printf(b, " axis=%d", s->axis);
    print_numbers("scale", &a->scale, b);
    print_numbers("mean", &a->mean, b);
    print_numbers("std", &a->std, b);
    if (a->scale.list || a->mean.list || a->std.list) strbuf_printf(b, " channel-axis=%d", a->channel_axis);
    for (int i = 0; i < a->transpose_count; i++) strbuf_printf(b, i == 0 ? " transpose=%d" : ",%d", a->transpose[i]);
    for (int i = 0; i < a->expand_count; i++) strbuf_printf(b, i == 0 ? " expand=%d" : ",%d", a->expand[i]);
    strbuf_add(b, "\n");
}
