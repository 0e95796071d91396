#include "data/source.h"

#include "base/bytes.h"
#include "data/convert.h"

#include <stdlib.h>

static Status wrong_axis(const Source *s, const char *key, int axis, Err *err)
{
    char shape[128];
    shape_print(&s->shape, shape, sizeof shape);
    return err_set(err, ERR_USAGE, "%s: '%s' %d does not fit an array of %s", s->what, key, axis, shape);
}

static Status resolve(const Source *s, const char *key, int axis, int rank, int *out, Err *err)
{
    *out = axis < 0 ? axis + rank : axis;
    return *out >= 0 && *out < rank ? OK : wrong_axis(s, key, axis, err);
}

static Status init_layout(Source *s, const ArraySpec *spec, Err *err)
{
    int rank = s->shape.rank;
    bool used[MAX_RANK] = { false }, added[MAX_RANK] = { false };
    if (spec->transpose_count > 0 && spec->transpose_count != rank)
        return err_set(err, ERR_USAGE, "%s: 'transpose' lists %d axes, the array has %d", s->what, spec->transpose_count, rank);
    for (int i = 0; i < rank; i++) {
        s->perm[i] = i;
        if (spec->transpose_count > 0) TRY(resolve(s, "transpose", spec->transpose[i], rank, &s->perm[i], err));
        if (used[s->perm[i]]) return err_set(err, ERR_USAGE, "%s: 'transpose' has axis %d twice", s->what, s->perm[i]);
        used[s->perm[i]] = true;
        s->moved |= s->perm[i] != i;
    }
    s->rank = rank + spec->expand_count;
    if (s->rank > MAX_RANK) return err_set(err, ERR_USAGE, "%s: 'expand' makes %d axes, at most %d", s->what, s->rank, MAX_RANK);
    for (int i = 0; i < spec->expand_count; i++) {
        int at;
        TRY(resolve(s, "expand", spec->expand[i], s->rank, &at, err));
        if (added[at]) return err_set(err, ERR_USAGE, "%s: 'expand' adds axis %d twice", s->what, at);
        added[at] = true;
    }
    for (int i = 0, at = 0; i < rank; i++, at++) {
        while (added[at]) at++;
        s->place[i] = at;
        if (s->perm[i] == s->axis) s->out_axis = at;
    }
    return OK;
}

static Status check_numbers(const Source *s, const char *key, const Numbers *n, Err *err)
{
    if (n->count == 0) return OK;
    if (!dtype_is_float(s->type))
        return err_set(err, ERR_USAGE, "%s: '%s' applies to float inputs, this one is %s", s->what, key, dtype_name(s->type));
    if (!n->list) return OK;
    if (s->channel_axis < 0) return wrong_axis(s, "channel-axis", s->spec->channel_axis, err);
    if (s->channel_axis == s->axis)
        return err_set(err, ERR_USAGE, "%s: '%s' is a list along axis %d, which counts the samples", s->what, key, s->axis);
    if (n->count != s->shape.dims[s->channel_axis])
        return err_set(err, ERR_USAGE, "%s: '%s' lists %d numbers, channel axis %d has %lld", s->what, key, n->count, s->channel_axis,
                       (long long)s->shape.dims[s->channel_axis]);
    return OK;
}

static Status init_source(Source *s, bool whole, Err *err)
{
    const ArraySpec *spec = s->spec;
    int rank = s->shape.rank;
    if (s->stored == DT_NONE)
        return err_set(err, ERR_UNSUPPORTED, "%s: element type '%s' is none that pare reads", s->what, npz_descr(s->file, s->array));
    if (!whole) TRY(resolve(s, "sample-axis", spec->sampling.axis, rank, &s->axis, err));
    int channel = spec->channel_axis < 0 ? spec->channel_axis + rank : spec->channel_axis;
    s->channel_axis = channel >= 0 && channel < rank ? channel : -1;
    TRY(check_numbers(s, "scale", &spec->scale, err));
    TRY(check_numbers(s, "mean", &spec->mean, err));
    TRY(check_numbers(s, "std", &spec->std, err));
    TRY(init_layout(s, spec, err));
    TRY(convert_check(s->stored, s->type, s->what, err));
    if (!whole) return picks_make(&spec->sampling, s->shape.dims[s->axis], s->file, s->what, &s->picks, err);
    s->picks = (Picks){ .every = 1, .count = 1, .candidates = 1 };
    return OK;
}

Status source_init(Source *s, Npz *file, int array, const ArraySpec *spec, DType type, bool whole, Err *err)
{
    const NpzArray *a = npz_array(file, array);
    *s = (Source){ .file = file, .array = array, .spec = spec, .stored = a->type, .shape = a->shape, .axis = -1, .out_axis = -1,
                   .type = type != DT_NONE ? type : a->type };
    int n = spec->input != NULL ? asprintf(&s->what, "array '%s' for input '%s'", a->name.data, spec->input)
                                : asprintf(&s->what, "label array '%s'", a->name.data);
    if (n < 0) {
        s->what = NULL;
        return err_no_memory(err, "an array's name");
    }
    Status status = init_source(s, whole, err);
    if (status != OK) source_release(s);
    return status;
}

void source_release(Source *s)
{
    picks_release(&s->picks);
    free(s->what);
    *s = (Source){ 0 };
}

void source_shape(const Source *s, int64_t count, Shape *out)
{
    *out = (Shape){ .rank = s->rank };
    for (int i = 0; i < s->rank; i++) out->dims[i] = 1;
    for (int i = 0; i < s->shape.rank; i++) out->dims[s->place[i]] = s->perm[i] == s->axis ? count : s->shape.dims[s->perm[i]];
}

/* The stored elements of the picked samples, packed in the stored layout: native order, one value a byte for 4-bit inputs. */
static Status gather(Source *s, int64_t first, int64_t count, Tensor *out, Err *err)
{
    Shape shape = s->shape;
    if (s->axis < 0) return npz_tensor(s->file, s->array, out, err);
    shape.dims[s->axis] = count;
    int64_t items;
    size_t bytes;
    if (!shape_count(&shape, &items) || !dtype_bytes(s->stored, items, &bytes) || (s->max_mem > 0 && bytes > s->max_mem))
        return err_set(err, ERR_MEMORY, "%s: %lld samples are over --max-mem", s->what, (long long)count);
    TRY(tensor_new(out, s->stored, &shape, err));
    if (bytes == 0) return OK;
    size_t item = (size_t)dtype_bits(s->stored) / 8, outer = 1;
    for (int a = 0; a < s->axis; a++) outer *= (size_t)shape.dims[a];
    size_t inner = bytes / item / outer / (size_t)count * item; /* one sample's run */
    uint8_t *part = outer > 1 ? alloc_array(bytes, 1) : NULL;
    Status status = outer > 1 && part == NULL ? err_no_memory(err, s->what) : OK;
    for (int64_t i = 0, run; i < count && status == OK; i += run) {
        int64_t from = picks_at(&s->picks, first + i);
        for (run = 1; i + run < count && picks_at(&s->picks, first + i + run) == from + run;) run++;
        uint8_t *to = part != NULL ? part : out->data + (size_t)i * inner;
        status = npz_slice(s->file, s->array, s->axis, from, run, to, err);
        for (size_t o = 0; part != NULL && status == OK && o < outer; o++)
            memcpy(out->data + (o * (size_t)count + (size_t)i) * inner, part + o * (size_t)run * inner, (size_t)run * inner);
    }
    free(part);
    if (status != OK) tensor_release(out);
    return status;
}

/* "[12,3,0]": the place of flat element `i` of the gathered tensor, in the file's array. */
static void print_index(const Source *s, int64_t first, const Shape *gathered, int64_t i, char *text, size_t size)
{
    Shape index = { .rank = s->shape.rank };
    for (int a = index.rank - 1; a >= 0; a--) {
        index.dims[a] = i % gathered->dims[a];
        i /= gathered->dims[a];
        if (a == s->axis) index.dims[a] = picks_at(&s->picks, first + index.dims[a]);
    }
    shape_print(&index, text, size);
}

static Status bad_value(const Source *s, int64_t first, const Tensor *gathered, int64_t i, const char *expected, Err *err)
{
    char index[256];
    print_index(s, first, &gathered->shape, i, index, sizeof index);
    if (dtype_is_integer(gathered->type))
        return err_set(err, ERR_DATA, "%s: element %s is %lld, expected %s", s->what, index, (long long)tensor_get_int(gathered, i),
                       expected);
    return err_set(err, ERR_DATA, "%s: element %s is %g, expected %s", s->what, index, tensor_get(gathered, i), expected);
}

/* As tensor_has_nonfinite; float32, the common case, without a call for each element. */
static bool find_nonfinite(const Tensor *t, int64_t *index)
{
    if (t->type == DT_FLOAT) {
        int64_t n = tensor_count(t);
        bool found = false;
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, t->data + 4 * i, 4);
            found |= (bits & 0x7F800000u) == 0x7F800000u;
        }
        if (!found) return false;
    }
    return tensor_has_nonfinite(t, index);
}

Status source_read(Source *s, int64_t first, int64_t count, Tensor *out, Err *err)
{
    Tensor raw = { 0 }, values = { 0 };
    Shape shape;
    TRY(gather(s, first, count, &raw, err));
    Affine affine = { .scale = &s->spec->scale, .mean = &s->spec->mean, .std = &s->spec->std, .axis = s->channel_axis };
    int64_t bad = -1;
    Status status = convert_values(&raw, s->type, &affine, s->max_mem, &values, &bad, err);
    if (status == OK && bad >= 0) status = bad_value(s, first, &raw, bad, dtype_name(s->type), err);
    if (status == OK && !s->expect_nonfinite && find_nonfinite(&values, &bad)) {
        int64_t ignored;
        bool in_file = find_nonfinite(&raw, &ignored); /* else the cast or the scaling overflowed */
        status = bad_value(s, first, in_file ? &raw : &values, bad, "a finite number", err);
    }
    tensor_release(&raw);
    if (status == OK && s->moved) {
        Tensor laid = { 0 };
        status = convert_transpose(&values, s->perm, &laid, err);
        tensor_release(&values);
        values = laid;
    }
    if (status == OK) status = convert_pack(&values, s->type, err);
    if (status == OK) status = tensor_align(&values, err);
    if (status != OK) {
        tensor_release(&values);
        return status;
    }
    source_shape(s, count, &shape);
    values.shape = shape;
    *out = values;
    return OK;
}

/* In a whole array, what was not picked along axis 0 does not count. */
static Status ignore_rest(const Source *s, int64_t ignore, Tensor *t, Err *err)
{
    Picks picks;
    int64_t total = t->shape.rank > 0 ? t->shape.dims[0] : 1, inner = total > 0 ? tensor_count(t) / total : 0;
    TRY(picks_make(&s->spec->sampling, total, s->file, s->what, &picks, err));
    bool *taken = alloc_zeroed((size_t)total, 1);
    if (taken == NULL) {
        picks_release(&picks);
        return err_no_memory(err, "the labels");
    }
    for (int64_t i = 0; i < picks.count; i++) taken[picks_at(&picks, i)] = true;
    int64_t *labels = (int64_t *)(void *)t->data;
    for (int64_t i = 0; i < total * inner; i++) {
        if (!taken[i / inner]) labels[i] = ignore;
    }
    free(taken);
    picks_release(&picks);
    return OK;
}

Status labels_read(Source *s, int64_t first, int64_t count, bool has_ignore, int64_t ignore, Tensor *out, Err *err)
{
    Tensor raw = { 0 }, labels = { 0 };
    TRY(gather(s, first, count, &raw, err));
    Status status = tensor_new(&labels, DT_INT64, &raw.shape, err);
    int64_t n = status == OK ? tensor_count(&raw) : 0;
    for (int64_t i = 0; i < n && status == OK; i++) {
        int64_t label = tensor_get_int(&raw, i);
        if (label < 0 && !(has_ignore && label == ignore))
            status = bad_value(s, first, &raw, i, "a class from 0 (\"ignore-label\" names one that does not count)", err);
        memcpy(labels.data + 8 * i, &label, 8);
    }
    tensor_release(&raw);
    if (status == OK && s->axis < 0 && (s->spec->sampling.given & SAMPLE_SELECTS)) status = ignore_rest(s, ignore, &labels, err);
    if (status != OK) tensor_release(&labels);
    else *out = labels;
    return status;
}
