/* Shape inference through the subgraphs of If, Loop and Scan. */
#include "engine/infer_scope.h"

#include "base/bytes.h"

#include <stdlib.h>

#include "engine/ops/common.h"

#define NOTHING ((TypeInfo){ DT_NONE, SHAPE_UNKNOWN })

static Graph *body_of(const Node *n, const char *name)
{
    const Attr *a = node_attr(n, name);
    return a != NULL && a->type == ATTR_GRAPH ? a->graph : NULL;
}

/* A body in a scope of its own; `reached`: it is known to run as it is described, or may: a branch. */
typedef struct BodyCall {
    Graph *body;
    const TypeInfo *feeds; /* one per body input; NULL: nothing known */
    bool reached;
    TypeInfo *results;
    Ints *ints;            /* contents of the results; NULL: not asked */
    int count;
} BodyCall;

/* What a visitor is told: every value, outer ones too, where the shape is concrete. */
static Status visit_body(Scope *inner)
{
    TypeInfo *types = alloc_array((size_t)inner->g->value_count + 1, sizeof *types);
    if (types == NULL) return err_no_memory(inner->err, "shape inference");
    types[0] = NOTHING;
    for (ValueId v = 1; v <= inner->g->value_count; v++) {
        types[v] = scope_type(inner, v);
        if (!shape_known(&types[v].shape)) types[v].shape.rank = -1;
    }
    inner->visit(inner->user, inner->g, types);
    free(types);
    return OK;
}

/* Where the graph itself is described, a declared shape of a body's input is kept; at concrete shapes only what is fed counts, since a
 * carried value may change its shape. */
static TypeInfo feed_type(const Scope *s, const Value *v, const TypeInfo *fed)
{
    TypeInfo info = { v->type, s->edit != NULL ? v->shape : SHAPE_UNKNOWN };
    if (fed == NULL) return info;
    if (fed->type != DT_NONE) info.type = fed->type;
    if (info.shape.rank < 0) info.shape = fed->shape;
    return info;
}

static Status infer_body(Scope *s, const BodyCall *c)
{
    Scope inner;
    Graph *body = c->body;
    Status status = scope_init(&inner, body, s->edit != NULL ? body : NULL, s, s->next_temp, s->err);
    if (status != OK) goto out;
    inner.visit = c->reached ? s->visit : NULL;
    inner.user = s->user;
    for (int i = 0; i < body->input_count; i++) {
        TypeInfo info = feed_type(s, graph_value(body, body->inputs[i]), c->feeds != NULL ? &c->feeds[i] : NULL);
        scope_name_unknown(&inner, &info.shape);
        inner.types[body->inputs[i]] = info;
    }
    TRY_OUT(scope_infer_nodes(&inner));
    for (int i = 0; i < c->count; i++) {
        c->results[i] = i < body->output_count ? scope_type(&inner, body->outputs[i]) : NOTHING;
        if (c->ints != NULL && i < body->output_count) scope_ints(&inner, body->outputs[i], &c->ints[i]);
    }
    if (inner.visit != NULL) status = visit_body(&inner);
out:
    scope_release(&inner);
    return status;
}

/* A body that may never run: one that cannot run at these shapes is no error, its results are unknown. */
static Status try_body(Scope *s, const BodyCall *c)
{
    Err ignored, *err = s->err;
    s->err = &ignored;
    Status status = infer_body(s, c);
    s->err = err;
    if (status == OK) return OK;
    for (int i = 0; i < c->count; i++) c->results[i] = NOTHING;
    return status == ERR_MEMORY ? err_no_memory(err, "shape inference") : OK;
}

/* --- If */

/* What both branches agree on. */
static TypeInfo meet(TypeInfo a, TypeInfo b)
{
    if (a.type != b.type) a.type = DT_NONE;
    if (a.shape.rank != b.shape.rank) a.shape.rank = -1;
    for (int d = 0; d < a.shape.rank; d++) {
        if (a.shape.dims[d] != b.shape.dims[d]) a.shape.dims[d] = DIM_UNKNOWN;
    }
    return a;
}

static Status infer_if(Scope *s, const Node *n, TypeInfo *out, Ints *ints)
{
    Graph *yes = body_of(n, "then_branch"), *no = body_of(n, "else_branch");
    if (yes == NULL || no == NULL || n->output_count == 0) return OK;
    const Tensor *condition = scope_constant(s, node_input(n, 0));
    bool known = condition != NULL && tensor_count(condition) == 1, truth = known && tensor_get_int(condition, 0) != 0;
    TypeInfo *other = alloc_array((size_t)n->output_count, sizeof *other);
    if (other == NULL) return err_no_memory(s->err, "shape inference");
    BodyCall taken = { .body = truth ? yes : no, .reached = true, .results = out, .ints = known ? ints : NULL, .count = n->output_count };
    BodyCall left = { .body = truth ? no : yes, .reached = !known, .results = other, .count = n->output_count };
    Status status = known ? infer_body(s, &taken) : try_body(s, &taken);
    if (status == OK && (!known || s->edit != NULL)) status = try_body(s, &left);
    for (int i = 0; status == OK && !known && i < n->output_count; i++) out[i] = meet(out[i], other[i]);
    free(other);
    return status;
}

/* --- Loop and Scan */

/* A carried shape holds for every step where the body, given it, gives it back: then by induction it is that of the result. */
static TypeInfo carried(TypeInfo before, TypeInfo after)
{
    TypeInfo out = { after.type != DT_NONE ? after.type : before.type, SHAPE_UNKNOWN };
    if (shape_known(&before.shape) && shape_eq(&before.shape, &after.shape)) out.shape = before.shape;
    return out;
}

static bool all_carried(const TypeInfo *before, const TypeInfo *after, int count)
{
    for (int i = 0; i < count; i++)
        if (carried(before[i], after[i]).shape.rank < 0) return false;
    return true;
}

/* Entries of shape `entry` along a new axis of `length`. Nothing is said unless the entry's shape is known. */
static TypeInfo stacked(TypeInfo entry, int64_t axis, int64_t length)
{
    TypeInfo out = { entry.type, SHAPE_UNKNOWN };
    int at, rank = entry.shape.rank + 1;
    if (!shape_known(&entry.shape) || rank > MAX_RANK || !axis_fix(axis, rank, &at)) return out;
    out.shape.rank = rank;
    for (int d = 0; d < rank; d++) out.shape.dims[d] = d == at ? length : entry.shape.dims[d < at ? d : d - 1];
    return out;
}

static Status infer_loop(Scope *s, const Node *n, TypeInfo *out)
{
    Graph *body = body_of(n, "body");
    if (body == NULL || body->output_count < 1) return OK;
    size_t feeds = (size_t)body->input_count, results = (size_t)body->output_count;
    TypeInfo *info = alloc_zeroed(feeds + results + 1, sizeof *info);
    if (info == NULL) return err_no_memory(s->err, "shape inference");
    for (size_t i = 0; i < feeds; i++) {
        info[i] = i < 2 ? (TypeInfo){ i == 0 ? DT_INT64 : DT_BOOL, { .rank = 0 } } : scope_type(s, node_input(n, (int)i));
        int declared = graph_value(body, body->inputs[i])->shape.rank;
        if (i < 2 && declared == 1) info[i].shape = shape_of(1, (int64_t[]){ 1 });
    }
    BodyCall call = { .body = body, .feeds = info, .results = info + feeds, .count = body->output_count };
    Status status = try_body(s, &call);
    int states = n->input_count > 2 ? n->input_count - 2 : 0;
    bool fits = states + 2 == body->input_count && states < body->output_count;
    bool steady = fits && all_carried(info + 2, info + feeds + 1, states);
    for (int i = 0; status == OK && i < n->output_count && i + 1 < body->output_count; i++) {
        TypeInfo made = info[feeds + 1 + (size_t)i];
        out[i].type = made.type;
        if (!steady) continue;
        out[i] = i < states ? carried(info[2 + i], made) : (TypeInfo){ made.type, stacked(made, 0, DIM_UNKNOWN).shape };
    }
    free(info);
    return status;
}

static int64_t listed(const Node *n, const char *attr, int i)
{
    int64_t count;
    const int64_t *values = node_ints(n, attr, &count);
    return i < count ? values[i] : 0;
}

/* A shape without one of its axes; unknown stays unknown. */
static void drop_axis(Shape *shape, int at)
{
    for (int d = at; d + 1 < shape->rank; d++) shape->dims[d] = shape->dims[d + 1];
    if (shape->rank > 0) shape->rank--;
}

static void add_first(Shape *shape, int64_t size)
{
    if (shape->rank < 0) return;
    if (shape->rank == MAX_RANK) {
        shape->rank = -1;
        return;
    }
    for (int d = shape->rank++; d > 0; d--) shape->dims[d] = shape->dims[d - 1];
    shape->dims[0] = size;
}

/* What a Scan gives its body. From opset 9 on slices of the scan inputs along any axis; in opset 8 everything has the batch first, scan
 * inputs the steps behind it, and sequence_lens stands before the other inputs. */
typedef struct ScanFeeds {
    bool batched;
    int first, states; /* the first input that the body sees; how many of them are carried */
    int64_t batch, length;
} ScanFeeds;

static void scan_feed(ScanFeeds *f, const Node *n, int i, TypeInfo *info)
{
    Shape *shape = &info->shape;
    bool scanned = i >= f->states;
    int at;
    if (shape->rank < 0) return;
    if (f->batched && shape->rank > 0) {
        if (shape->dims[0] >= 0 || f->batch == DIM_UNKNOWN) f->batch = shape->dims[0];
        drop_axis(shape, 0);
    }
    if (!scanned) return;
    if (!axis_fix(f->batched ? 0 : listed(n, "scan_input_axes", i - f->states), shape->rank, &at)) {
        shape->rank = -1;
        return;
    }
    if (shape->dims[at] >= 0 || f->length == DIM_UNKNOWN) f->length = shape->dims[at];
    drop_axis(shape, at);
}

static TypeInfo scan_result(const ScanFeeds *f, const Node *n, int i, TypeInfo before, TypeInfo made)
{
    TypeInfo out;
    if (i < f->states) out = carried(before, made);
    else out = stacked(made, f->batched ? 0 : listed(n, "scan_output_axes", i - f->states), f->length);
    if (f->batched) add_first(&out.shape, f->batch);
    return out;
}

static Status infer_scan(Scope *s, const Node *n, TypeInfo *out)
{
    Graph *body = body_of(n, "body");
    int64_t scans = node_int(n, "num_scan_inputs", 0);
    ScanFeeds f = { .batched = scope_opset(s->g, n) < 9, .batch = DIM_UNKNOWN, .length = DIM_UNKNOWN };
    f.first = f.batched;
    int inputs = n->input_count - f.first;
    if (body == NULL || scans < 1 || scans > inputs || body->input_count != inputs) return OK;
    f.states = inputs - (int)scans;
    size_t feeds = (size_t)body->input_count, results = (size_t)body->output_count;
    TypeInfo *info = alloc_zeroed(feeds + results + 1, sizeof *info);
    if (info == NULL) return err_no_memory(s->err, "shape inference");
    for (int i = 0; i < inputs; i++) {
        info[i] = scope_type(s, node_input(n, f.first + i));
        scan_feed(&f, n, i, &info[i]);
    }
    BodyCall call = { .body = body, .feeds = info, .results = info + feeds, .count = body->output_count };
    Status status = try_body(s, &call);
    bool steady = f.states <= body->output_count && all_carried(info, info + feeds, f.states);
    for (int i = 0; status == OK && i < n->output_count && i < body->output_count; i++) {
        TypeInfo made = info[feeds + (size_t)i];
        out[i].type = made.type;
        if (steady) out[i] = scan_result(&f, n, i, i < f.states ? info[i] : NOTHING, made);
    }
    free(info);
    return status;
}

Status scope_infer_bodies(Scope *s, const Node *n, TypeInfo *out, Ints *ints)
{
    if (n->domain.len != 0) return OK;
    if (str_is(n->type, "If")) return infer_if(s, n, out, ints);
    if (str_is(n->type, "Loop")) return infer_loop(s, n, out);
    if (str_is(n->type, "Scan")) return infer_scan(s, n, out);
    return OK;
}
