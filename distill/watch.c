#include "distill/distill.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static bool is_pattern(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

/* Activations only: what is fed or computed, of a type that has whole bytes. */
static bool watchable(const Value *v)
{
    return v->tensor == NULL && v->type != DT_STRING && (v->producer != 0 || (v->flags & VALUE_INPUT) != 0) && v->name.len > 0;
}

/* "tensor:NAME", or "tensor:TEACHER:NAME" when there are several; bytes that no array's name should hold become '_'. */
static const char *array_name(Arena *arena, Str name, int teacher, int teacher_count)
{
    Str clean = arena_str(arena, name);
    if (clean.data == NULL) return NULL;
    char *text = (char *)(uintptr_t)clean.data; /* our own copy, not yet shared */
    for (size_t i = 0; i < clean.len; i++) {
        if ((unsigned char)text[i] < 32 || text[i] == 127 || text[i] == '\\') text[i] = '_';
    }
    return (teacher_count > 1 ? arena_printf(arena, "tensor:%d:%s", teacher, text) : arena_printf(arena, "tensor:%s", text)).data;
}

typedef struct WatchList {
    Watch *items;
    size_t used, capacity;
} WatchList;

/* Adds the values of one teacher that match; a value is watched once, whatever names it. */
static Status match_teacher(const PassContext *c, const Teacher *t, int teacher, int teacher_count, const char *pattern, WatchList *list,
                            int *matched, Str *nearest, Err *err)
{
    int best = INT_MAX;
    for (ValueId v = 1; v <= t->graph->value_count; v++) {
        const Value *value = graph_value(t->graph, v);
        if (!watchable(value)) continue;
        int distance = str_unlike(value->name.data, pattern);
        if (distance < best) {
            best = distance;
            *nearest = value->name;
        }
        if (!str_is(value->name, pattern) && !str_match(value->name, pattern)) continue;
        (*matched)++;
        bool known = false;
        for (size_t i = 0; i < list->used; i++) known = known || (list->items[i].teacher == teacher && list->items[i].value == v);
        if (known) continue;
        const char *array = array_name(c->scratch, value->name, teacher, teacher_count);
        if (array == NULL || !array_grow((void **)&list->items, &list->capacity, list->used + 1, sizeof *list->items))
            return err_no_memory(err, "the tensors to record");
        list->items[list->used++] = (Watch){ .teacher = teacher, .value = v, .array = array, .exact = !is_pattern(pattern) };
    }
    return OK;
}

Status watches_choose(const PassContext *c, const Teacher *teachers, int teacher_count, Watch **out, int *count, Err *err)
{
    const DistillOptions *o = c->options;
    WatchList list = { 0 };
    Status status = OK;
    for (int i = 0; i < o->tensors.count; i++) {
        int matched = 0;
        Str nearest = STR("");
        for (int k = 0; k < teacher_count; k++)
            TRY_OUT(match_teacher(c, &teachers[k], k, teacher_count, o->tensors.items[i], &list, &matched, &nearest, err));
        if (matched == 0)
            TRY_OUT(err_set(err, ERR_USAGE, "tensors: '%s' names no tensor of a teacher; the nearest is '%.*s'", o->tensors.items[i],
                            STR_ARG(nearest)));
    }
    *count = (int)list.used;
    *out = list.used > 0 ? arena_copy(c->scratch, list.items, list.used * sizeof *list.items) : NULL;
    if (list.used > 0 && *out == NULL) status = err_no_memory(err, "the tensors to record");
out:
    free(list.items);
    return status;
}

/* What the observer of one teacher is handed. */
typedef struct Observer {
    Distill *distill;
    int teacher;
} Observer;

static Status keep(void *user, ValueId value, const Tensor *tensor, Err *err)
{
    Observer *o = user;
    for (int i = 0; i < o->distill->watch_count; i++) {
        Watch *w = &o->distill->watches[i];
        if (w->teacher != o->teacher || w->value != value || w->dropped) continue;
        tensor_release(&w->got);
        TRY(tensor_clone(tensor, &w->got, err));
    }
    return OK;
}

Status watches_start(Distill *d, Err *err)
{
    Arena *scratch = d->c->scratch;
    for (int k = 0; k < d->teacher_count; k++) {
        ValueId *values = arena_array(scratch, (size_t)d->watch_count + 1, sizeof *values);
        Observer *observer = arena_alloc(scratch, sizeof *observer);
        if (values == NULL || observer == NULL) return err_no_memory(err, "the tensors to record");
        *observer = (Observer){ d, k };
        int count = 0;
        for (int i = 0; i < d->watch_count; i++) {
            if (d->watches[i].teacher == k) values[count++] = d->watches[i].value;
        }
        if (count > 0) TRY(session_observe(d->teachers[k].session, values, count, keep, observer, err));
    }
    return OK;
}

/* A named tensor without a row for each sample is an error; one that only a pattern met is left out. */
static Status unfit(Distill *d, Watch *w, const char *what, Err *err)
{
    const Graph *g = d->teachers[w->teacher].graph;
    Str name = graph_value(g, w->value)->name;
    if (w->exact) return err_set(err, ERR_DATA, "tensor '%.*s' %s: it cannot be a target", STR_ARG(name), what);
    w->dropped = true;
    record_add(d->c->record, RECORD_SKIPPED, name, "%s", what);
    return OK;
}

static Status write_one(Distill *d, Watch *w, const Batch *batch, Err *err)
{
    char what[256], shape[160];
    if (w->dropped) return OK;
    if (w->got.type == DT_NONE) return unfit(d, w, "is never computed", err);
    shape_print(&w->got.shape, shape, sizeof shape);
    bool rows = w->got.shape.rank > 0 && (batch->whole || w->got.shape.dims[0] == batch->count);
    if (!rows || dtype_bits(w->got.type) < 8) {
        snprintf(what, sizeof what, "has shape %s, not one row for each of %lld samples", shape, (long long)batch->count);
        return unfit(d, w, what, err);
    }
    TRY(targets_append(d->c->targets, w->array, &w->got, err));
    tensor_release(&w->got);
    return OK;
}

Status watches_write(Distill *d, const Batch *batch, Err *err)
{
    for (int i = 0; i < d->watch_count; i++) TRY(write_one(d, &d->watches[i], batch, err));
    return OK;
}

void watches_release(Distill *d)
{
    for (int i = 0; i < d->watch_count; i++) tensor_release(&d->watches[i].got);
}
