/* A dataset that is one file of arrays (.npz, .npy), with or without a section that says what is done to them. */
#include "data/dataset_internal.h"

#include "base/bytes.h"

#include <stdlib.h>

#define HASH_BLOCK ((size_t)1 << 20)

bool feed_dims_fit(const Feed *f, const Shape *s, int sample_axis)
{
    if (f->shape.rank < 0) return true;
    if (f->shape.rank != s->rank) return false;
    for (int a = 0; a < s->rank; a++) {
        if (a != sample_axis && f->shape.dims[a] >= 0 && f->shape.dims[a] != s->dims[a]) return false;
    }
    return true;
}

bool feed_takes(const Feed *f, const NpzArray *a)
{
    bool type = f->type == DT_NONE || f->type == a->type || ((f->type == DT_INT4 || f->type == DT_INT2) && a->type == DT_INT8) ||
                ((f->type == DT_UINT4 || f->type == DT_UINT2) && a->type == DT_UINT8);
    return type && feed_dims_fit(f, &a->shape, 0);
}

/* The array for each input; -1 in *out only with an error. */
static Status find_array(Dataset *d, const Graph *g, int feed, const ArraySpec *given, int *out, Err *err)
{
    const char *wanted = given != NULL && given->array != NULL ? given->array : d->feeds[feed].name;
    *out = npz_find(d->file, wanted);
    bool lone = npz_count(d->file) == 1 && d->feed_count == 1 && memcmp(npz_mapping(d->file)->data, "\x93NUMPY", 6) == 0;
    if (*out < 0 && lone && (given == NULL || given->array == NULL)) *out = 0;
    if (*out < 0 && given != NULL && given->array != NULL)
        return npz_missing(d->file, err, "%s: no array '%s', which the data section names for input '%s'", d->file_path, wanted,
                           given->input);
    if (*out < 0 || (given == NULL && !feed_takes(&d->feeds[feed], npz_array(d->file, *out))))
        return suggest_section(d, g, feed, *out, err);
    return OK;
}

static Status find_arrays(Dataset *d, const Graph *g, int *arrays, Err *err)
{
    for (int i = 0; i < d->section.input_count; i++) {
        const char *name = d->section.inputs[i].input, *nearest = NULL;
        bool found = false;
        for (int k = 0; k < d->feed_count; k++) {
            found |= strcmp(d->feeds[k].name, name) == 0;
            if (nearest == NULL || str_unlike(d->feeds[k].name, name) < str_unlike(nearest, name)) nearest = d->feeds[k].name;
        }
        if (!found && nearest != NULL)
            return err_set(err, ERR_USAGE, "data section: the network has no input '%s'; did you mean '%s'?", name, nearest);
        if (!found) return err_set(err, ERR_USAGE, "data section: the network has no input '%s', nor any other", name);
    }
    for (int k = 0; k < d->feed_count; k++) {
        const ArraySpec *given = section_input(&d->section, d->feeds[k].name);
        TRY(find_array(d, g, k, given, &arrays[k], err));
        d->specs[k] = given != NULL ? *given : (ArraySpec){ .sampling = d->section.sampling, .channel_axis = -1 };
        d->specs[k].input = d->feeds[k].name;
        d->specs[k].array = npz_array(d->file, arrays[k])->name.data;
    }
    return OK;
}

/* Whether the network can only take the arrays whole, in one call: nobody says which axis counts the samples, they fit as they are,
 * and axis 0 cannot count them, because an input has none, or has a fixed one beside others of another length, or its symbol also
 * stands for another axis (a graph's adjacency matrix [N,N]). */
static bool must_be_whole(const Dataset *d, const int *arrays)
{
    int64_t bound[64], symbols[64], lead = -1;
    int count = 0;
    bool free0 = true, equal0 = true, square = false;
    for (int k = 0; k < d->feed_count; k++) {
        const Feed *f = &d->feeds[k];
        const Shape *s = &npz_array(d->file, arrays[k])->shape;
        if (d->specs[k].sampling.given != 0 || section_input(&d->section, f->name) != NULL) return false;
        if (!feed_dims_fit(f, s, -1) || f->shape.rank < 0) return false;
        free0 &= f->shape.rank > 0;
        for (int a = 0; a < s->rank; a++) {
            int64_t symbol = f->shape.dims[a];
            if (a == 0) {
                free0 &= symbol < 0;
                equal0 &= lead < 0 || lead == s->dims[0];
                lead = s->dims[0];
            }
            if (symbol >= DIM_UNKNOWN) continue;
            for (int o = 0; o < d->feed_count; o++) {
                for (int b = 1; b < d->feeds[o].shape.rank; b++) square |= a == 0 && d->feeds[o].shape.dims[b] == symbol;
            }
            int i = 0;
            while (i < count && symbols[i] != symbol) i++;
            if (i == 64 || (i < count && bound[i] != s->dims[a])) return false;
            symbols[i] = symbol;
            bound[i] = s->dims[a];
            if (i == count) count++;
        }
    }
    bool ranked = true;
    for (int k = 0; k < d->feed_count; k++) ranked &= npz_array(d->file, arrays[k])->shape.rank > 0;
    return !ranked || square || (!free0 && !equal0);
}

/* The result's dimensions against the network's, and the number of samples that it fixes. */
static Status check_fit(Dataset *d, const Graph *g, int feed, Err *err)
{
    const Source *s = &d->inputs[feed];
    const Feed *f = &d->feeds[feed];
    Shape shape;
    source_shape(s, s->picks.count, &shape);
    if (!feed_dims_fit(f, &shape, s->out_axis)) {
        char made[160], wanted[256];
        shape_print(&shape, made, sizeof made);
        feed_print(g, feed, wanted, sizeof wanted);
        return err_set(err, ERR_DATA, "%s becomes %s, the input wants %s", s->what, made, wanted);
    }
    int64_t fixed = s->out_axis >= 0 && f->shape.rank >= 0 ? f->shape.dims[s->out_axis] : -1;
    if (fixed < 0) return OK;
    if (fixed == 0) return err_set(err, ERR_DATA, "input '%s' of the network takes 0 samples", f->name);
    if (d->fixed > 0 && d->fixed != fixed)
        return err_set(err, ERR_DATA, "input '%s' takes %lld samples in a call, another takes %lld: give each a "
                       "\"sample-axis\", or null", f->name, (long long)fixed, (long long)d->fixed);
    d->fixed = fixed;
    return OK;
}

static Status same_samples(const Source *lead, const Source *s, Err *err)
{
    if ((lead->axis < 0) != (s->axis < 0))
        return err_set(err, ERR_USAGE, "%s is one sample as a whole, %s is not: \"sample-axis\" must be null for all inputs or for none",
                       (lead->axis < 0 ? lead : s)->what, (lead->axis < 0 ? s : lead)->what);
    if (lead->axis < 0) return OK;
    if (lead->picks.candidates != s->picks.candidates || lead->picks.count != s->picks.count)
        return err_set(err, ERR_DATA, "%s has %lld samples, %s has %lld", lead->what,
                       (long long)(lead->picks.candidates != s->picks.candidates ? lead->picks.candidates : lead->picks.count), s->what,
                       (long long)(lead->picks.candidates != s->picks.candidates ? s->picks.candidates : s->picks.count));
    return OK;
}

static Status open_inputs(Dataset *d, const Graph *g, const DataOptions *options, Err *err)
{
    int arrays[MAX_FEEDS];
    TRY(find_arrays(d, g, arrays, err));
    bool whole = must_be_whole(d, arrays);
    for (int k = 0; k < d->feed_count; k++) {
        d->specs[k].sampling.whole |= whole;
        const Sampling *sampling = &d->specs[k].sampling;
        if (sampling->whole && (sampling->given & SAMPLE_SELECTS))
            return err_set(err, ERR_USAGE, "data section, input '%s': samples cannot be chosen where \"sample-axis\" is null (of "
                           "labels they can, in the object \"label\")", d->feeds[k].name);
        TRY(source_init(&d->inputs[k], d->file, arrays[k], &d->specs[k], d->feeds[k].type, sampling->whole, err));
        d->inputs[k].expect_nonfinite = options->expect_nonfinite;
        d->inputs[k].max_mem = options->max_mem;
        TRY(check_fit(d, g, k, err));
        TRY(same_samples(&d->inputs[0], &d->inputs[k], err));
    }
    if (d->feed_count == 0) return err_set(err, ERR_DATA, "the network has no inputs to feed");
    d->batched = d->inputs[0].axis >= 0;
    d->samples = d->inputs[0].picks.count;
    if (d->fixed > 1 && d->samples % d->fixed != 0)
        return err_set(err, ERR_DATA, "%lld samples do not fill calls of %lld, which the network fixes; take \"first\": %lld",
                       (long long)d->samples, (long long)d->fixed, (long long)(d->samples / d->fixed * d->fixed));
    return OK;
}

/* Integers, one entry of axis 0 for each sample that the first input's array holds. */
static bool may_be_labels(const Dataset *d, int array)
{
    const NpzArray *a = npz_array(d->file, array);
    const Source *lead = &d->inputs[0];
    if (!dtype_is_integer(a->type) && a->type != DT_BOOL) return false;
    return !d->batched || (a->shape.rank > 0 && a->shape.dims[0] == lead->shape.dims[lead->axis]);
}

static Status open_label(Dataset *d, const DataOptions *options, Err *err)
{
    ArraySpec *spec = &d->section.label;
    bool is_input = false, looked_for = options->want_labels || options->labels_if_fit;
    for (int k = 0; k < d->feed_count; k++) is_input |= strcmp(d->feeds[k].name, "label") == 0;
    if (d->section.no_label || (!d->section.has_label && (!looked_for || is_input))) return OK;
    int array = npz_find(d->file, spec->array);
    if (array >= 0 && !d->section.has_label && options->labels_if_fit && !may_be_labels(d, array)) return OK;
    if (array < 0 && !d->section.has_label) return OK;
    if (array < 0) return npz_missing(d->file, err, "no array '%s', which the data section names as labels", spec->array);
    const NpzArray *a = npz_array(d->file, array);
    if (!dtype_is_integer(a->type) && a->type != DT_BOOL) {
        char shape[128];
        shape_print(&a->shape, shape, sizeof shape);
        return err_set(err, ERR_DATA, "label array '%s' is %s %s, expected integers", spec->array,
                       a->type != DT_NONE ? dtype_name(a->type) : npz_descr(d->file, array), shape);
    }
    TRY(source_init(&d->label, d->file, array, spec, a->type, !d->batched, err));
    d->has_label = true;
    d->label.max_mem = options->max_mem;
    if (d->batched) return same_samples(&d->inputs[0], &d->label, err);
    if ((spec->sampling.given & SAMPLE_SELECTS) && !d->has_ignore) {
        d->has_ignore = true;
        d->ignore = -1;
    }
    return OK;
}

/* Arrays named as the network's outputs say what it should answer; one that is also an input or counts otherwise says nothing. */
static Status open_expected(Dataset *d, Err *err)
{
    for (int i = 0; i < d->output_count; i++) {
        int array = npz_find(d->file, d->outputs[i]);
        bool is_input = false;
        for (int k = 0; k < d->feed_count; k++) is_input |= array == d->inputs[k].array;
        if (array < 0 || is_input || npz_array(d->file, array)->type == DT_NONE) continue;
        ArraySpec *spec = &d->expected_specs[i];
        *spec = (ArraySpec){ .sampling = d->section.sampling, .channel_axis = -1, .input = d->outputs[i] };
        int64_t rows = npz_array(d->file, array)->shape.rank > 0 ? npz_array(d->file, array)->shape.dims[0] : -1;
        if (d->batched && (d->inputs[0].axis != 0 || rows != d->inputs[0].shape.dims[0])) continue;
        TRY(source_init(&d->expected[i], d->file, array, spec, DT_NONE, !d->batched, err));
        d->expected[i].expect_nonfinite = true;
        if (d->expected[i].picks.count != d->samples) source_release(&d->expected[i]);
    }
    return OK;
}

static Status sort_samples(Dataset *d, Err *err)
{
    Picks *all[MAX_FEEDS + 1];
    int count = 0;
    if (!d->batched) return OK;
    for (int k = 0; k < d->feed_count; k++) all[count++] = &d->inputs[k].picks;
    if (d->has_label) all[count++] = &d->label.picks;
    TRY(picks_sort(all, count, err));
    for (int i = 0; i < d->output_count; i++) {
        Picks *one[1] = { &d->expected[i].picks };
        if (d->expected[i].what != NULL) TRY(picks_sort(one, 1, err));
    }
    return OK;
}

static Status arrays_read(Dataset *d, int64_t first, int64_t count, Tensor *inputs, Err *err)
{
    for (int k = 0; k < d->feed_count; k++) TRY(source_read(&d->inputs[k], first, count, &inputs[k], err));
    return OK;
}

static Status arrays_expected(Dataset *d, int output, int64_t first, int64_t count, Tensor *out, Err *err)
{
    return source_read(&d->expected[output], first, count, out, err);
}

static Status arrays_hash(Dataset *d, Hash *h, Err *err)
{
    const Mapping *m = npz_mapping(d->file);
    for (size_t at = 0; at < m->size; at += HASH_BLOCK) {
        size_t n = m->size - at < HASH_BLOCK ? m->size - at : HASH_BLOCK;
        hash_add(h, m->data + at, n);
        mapping_drop(m, m->data + at, n);
    }
    StrBuf b = { 0 };
    for (int k = 0; k < d->feed_count; k++) section_print_spec(&d->specs[k], &b);
    if (d->has_label) section_print_spec(&d->section.label, &b);
    strbuf_printf(&b, "class-axis=%d", d->class_axis);
    if (d->has_ignore) strbuf_printf(&b, " ignore=%lld", (long long)d->ignore);
    bool failed = b.failed;
    if (!failed) hash_add(h, b.data, b.len);
    strbuf_release(&b);
    return failed ? err_no_memory(err, "a data section") : OK;
}

static void arrays_release(Dataset *d)
{
    for (int k = 0; d->inputs != NULL && k < d->feed_count; k++) source_release(&d->inputs[k]);
    for (int i = 0; d->expected != NULL && i < d->output_count; i++) source_release(&d->expected[i]);
    source_release(&d->label);
    free(d->inputs);
    free(d->expected);
    free(d->expected_specs);
    free(d->specs);
    npz_close(d->file);
    free(d->file_path);
    section_release(&d->section);
}

static const DatasetKind arrays_kind = { arrays_read, arrays_expected, arrays_hash, arrays_release, NULL };

static Status open_sources(Dataset *d, const Graph *g, const DataOptions *options, Err *err)
{
    TRY(open_inputs(d, g, options, err));
    TRY(open_label(d, options, err));
    TRY(open_expected(d, err));
    return sort_samples(d, err);
}

/* "first" is a limit: fewer samples are no error, but whoever counts on them should know. */
static void warn_of_first(const Dataset *d, Log *log)
{
    const Source *const sources[] = { d->feed_count > 0 ? &d->inputs[0] : NULL, d->has_label ? &d->label : NULL };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const Source *s = sources[i];
        if (s == NULL || s->axis < 0 || s->spec->sampling.first <= s->picks.candidates) continue;
        log_warn(log, "%s: first is %lld, and there are %lld samples: all of them are taken", d->file_path,
                 (long long)s->spec->sampling.first, (long long)s->picks.candidates);
        return;
    }
}

Status dataset_open_section(Section *section, const char *path, Mapping *file, const Graph *g, const DataOptions *options, Dataset **out,
                            Err *err)
{
    Dataset *d = NULL;
    Status status = dataset_new(g, &arrays_kind, &d, err);
    if (status != OK) {
        section_release(section);
        return status;
    }
    d->section = *section;
    *section = (Section){ 0 };
    d->class_axis = d->section.class_axis;
    d->has_ignore = d->section.has_ignore;
    d->ignore = d->section.ignore;
    d->file_path = strdup(path);
    d->specs = alloc_zeroed((size_t)d->feed_count + 1, sizeof *d->specs);
    d->inputs = alloc_zeroed((size_t)d->feed_count + 1, sizeof *d->inputs);
    d->expected = alloc_zeroed((size_t)d->output_count + 1, sizeof *d->expected);
    d->expected_specs = alloc_zeroed((size_t)d->output_count + 1, sizeof *d->expected_specs);
    if (d->file_path == NULL || d->specs == NULL || d->inputs == NULL || d->expected == NULL || d->expected_specs == NULL) {
        status = err_no_memory(err, "a data set");
    } else {
        status = file != NULL ? npz_open_mapping(file, path, options->max_mem, &d->file, err)
                              : npz_open(path, options->max_mem, &d->file, err);
    }
    if (status == OK) {
        status = open_sources(d, g, options, err);
        if (status != OK && status != ERR_MEMORY && strncmp(err->text, path, strlen(path)) != 0) err_prefix(err, "%s", path);
    }
    if (status == OK) warn_of_first(d, options->log);
    if (status != OK) dataset_free(d);
    else *out = d;
    return status;
}
