#include "engine/lanes.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/openmp.h"
#include "engine/blas_glue.h"
#include "engine/dnnl_glue.h"
#include "engine/team.h"

#define CACHE_BYTES 1048576   /* of what one layer reads and makes */
#define LEAST_WORK 4000000    /* multiply-adds of a batch that is worth a second thread */
#define LEAST_PIECES 4        /* so that many threads share a large batch */
#define PIECE_WORK 8000000    /* multiply-adds: fewer pieces where they would be smaller; calls of kernels count there */

/* --- how large a piece */

static size_t bytes_of(const TypeInfo *t)
{
    int64_t count;
    size_t bytes;
    bool known = t->type != DT_NONE && shape_known(&t->shape) && shape_count(&t->shape, &count);
    return known && dtype_bytes(t->type, count, &bytes) ? bytes : 0;
}

/* The most that one node reads and makes besides constants, and the bytes of all constants. */
static void measure(const Session *s, const TypeInfo *types, size_t *between, size_t *constants)
{
    *between = *constants = 0;
    for (uint32_t i = 0; i < s->graph->order_count; i++) {
        const Node *n = graph_node(s->graph, s->graph->order[i]);
        size_t sum = 0;
        for (int k = 0; k < n->input_count; k++)
            if (n->inputs[k] != 0 && s->constants[n->inputs[k]].data == NULL) sum += bytes_of(&types[n->inputs[k]]);
        for (int k = 0; k < n->output_count; k++)
            if (n->outputs[k] != 0) sum += bytes_of(&types[n->outputs[k]]);
        if (sum > *between) *between = sum;
    }
    for (ValueId v = 1; v <= s->graph->value_count; v++)
        if (s->constants[v].data != NULL) *constants += s->constants[v].bytes;
}

static int64_t choose(const Session *s, const TypeInfo *types, int64_t batch)
{
    size_t between, constants;
    measure(s, types, &between, &constants);
    size_t each = between / (size_t)batch + 1, room = constants / 4 > CACHE_BYTES ? constants / 4 : CACHE_BYTES;
    int64_t pieces = plan_macs(s->graph, types) / PIECE_WORK;
    pieces = pieces < 2 ? 2 : pieces > LEAST_PIECES ? LEAST_PIECES : pieces;
    int64_t piece = (int64_t)(room / each), most = (batch + pieces - 1) / pieces;
    if (piece > most) piece = most;
    return piece > 0 ? piece : 1;
}

/* The types of all values when every input has `batch` samples. */
static Status types_for(const Session *s, const Tensor *inputs, int64_t batch, TypeInfo **types, Err *err)
{
    Shape *shapes = alloc_array((size_t)s->feed_count + 1, sizeof *shapes);
    if (shapes == NULL) return err_no_memory(err, "shapes");
    for (int i = 0; i < s->feed_count; i++) {
        shapes[i] = inputs[i].shape;
        shapes[i].dims[0] = batch;
    }
    Status status = engine_concrete_shapes(s->graph, shapes, s->feed_count, types, err);
    free(shapes);
    return status;
}

/* One batch for all inputs, which the network leaves open; 0 otherwise. */
static int64_t batch_of(const Session *s, const Tensor *inputs)
{
    int64_t batch = 0;
    for (int i = 0; i < s->feed_count; i++) {
        const Value *v = graph_value(s->graph, s->feeds[i]);
        int64_t own = inputs[i].shape.rank > 0 ? inputs[i].shape.dims[0] : 0;
        if (own < 2 || (i > 0 && own != batch) || (v->shape.rank > 0 && v->shape.dims[0] >= 0)) return 0;
        batch = own;
    }
    return batch;
}

static bool decided(const Session *s, const Tensor *inputs)
{
    if (s->decided == NULL) return false;
    for (int i = 0; i < s->feed_count; i++)
        if (!shape_eq(&s->decided[i], &inputs[i].shape)) return false;
    return true;
}

Status lanes_piece(Session *s, const Tensor *inputs, int64_t *piece, Err *err)
{
    *piece = 0;
    int64_t batch = batch_of(s, inputs);
    if (s->options.int8 == INT8_AUTO) return OK; /* what is timed for each plan may differ from lane to lane */
    if (batch < 2 || s->depth != 0 || s->body_count > 0 || s->options.plain || s->options.max_work != 0 || s->watch_count > 0) return OK;
    if (decided(s, inputs)) {
        *piece = s->piece;
        return OK;
    }
    TypeInfo *here = NULL, *there = NULL;
    s->piece = 0;
    if (s->decided == NULL) s->decided = alloc_zeroed((size_t)s->feed_count + 1, sizeof *s->decided);
    if (s->decided == NULL) return err_no_memory(err, "shapes");
    Status status = types_for(s, inputs, batch, &here, err);
    if (status == OK && plan_macs(s->graph, here) >= LEAST_WORK) {
        Err ignored; /* one sample more need not be possible */
        if (types_for(s, inputs, batch + 1, &there, &ignored) == OK && graph_is_separable(s, here, there, batch))
            s->piece = choose(s, here, batch);
    }
    for (int i = 0; status == OK && i < s->feed_count; i++) s->decided[i] = inputs[i].shape;
    free(here);
    free(there);
    if (s->piece >= batch) s->piece = 0;
    *piece = s->piece;
    return status;
}

/* What one lane is about to run. */
typedef struct LanePlans {
    Plan *whole, *rest;
    Tensor *parts; /* inputs and outputs of one piece */
    Err err;
    Status status;
} LanePlans;

/* --- lanes: sessions of their own plans, device and arena, which borrow everything else */

static Status lanes_reserve(Session *s, int count, Err *err)
{
    if (s->lane_count >= count) return OK;
    if (s->lanes == NULL) s->lanes = alloc_zeroed((size_t)s->threads + 1, sizeof *s->lanes);
    if (s->lane_plans == NULL) s->lane_plans = alloc_zeroed((size_t)s->threads + 1, sizeof *s->lane_plans);
    if (s->lanes == NULL || s->lane_plans == NULL) return err_no_memory(err, "lanes");
    while (s->lane_count < count) {
        Session *lane = &s->lanes[s->lane_count];
        *lane = *s;
        memset(lane->plans, 0, sizeof lane->plans);
        lane->arena = NULL;
        lane->arena_bytes = 0;
        lane->lanes = NULL;
        lane->lane_count = 0;
        lane->threads = 1;
        lane->lane = s->lane_count;
        lane->lane_plans = NULL;
        Tensor *parts = alloc_zeroed((size_t)(s->feed_count + s->graph->output_count) + 1, sizeof *parts);
        if (parts == NULL) return err_no_memory(err, "lanes");
        s->lane_plans[s->lane_count].parts = parts;
        Status status = device_new(s->budget, s->device, &lane->device, err);
        if (status != OK) {
            free(parts);
            s->lane_plans[s->lane_count].parts = NULL;
            return status;
        }
        s->lane_count++;
    }
    return OK;
}

void lanes_free(Session *s)
{
    for (int i = 0; i < s->lane_count; i++) {
        Session *lane = &s->lanes[i];
        session_drop_plans(lane);
        device_free(lane->device);
        free(lane->arena);
        free(s->lane_plans[i].parts);
    }
    free(s->lanes);
    free(s->lane_plans);
    free(s->decided);
    s->lanes = NULL;
    s->lane_plans = NULL;
    s->decided = NULL;
    s->lane_count = 0;
}

/* `count` samples of a tensor from `first` on, borrowed. */
static Tensor part_of(const Tensor *t, int64_t first, int64_t count)
{
    Tensor part = *t;
    size_t each = t->bytes / (size_t)t->shape.dims[0];
    part.buffer = NULL;
    part.data += (size_t)first * each;
    part.bytes = (size_t)count * each;
    part.shape.dims[0] = count;
    return part;
}

/* The plan of a lane for pieces of `count` samples, and the arena it needs. */
static Status lane_plan(Session *lane, const Tensor *inputs, Tensor *parts, int64_t count, Plan **out, Err *err)
{
    for (int i = 0; i < lane->feed_count; i++) parts[i] = part_of(&inputs[i], 0, count);
    TRY(session_plan(lane, parts, out, err));
    return session_reserve(lane, *out, err);
}

static Status make_outputs(Session *s, const Plan *p, int64_t batch, Tensor *outputs, Err *err)
{
    for (int i = 0; i < s->graph->output_count; i++) {
        TypeInfo t = p->types[s->graph->outputs[i]];
        t.shape.dims[0] = batch;
        TRY(session_output(s, i, t.type, &t.shape, &outputs[i], err));
    }
    return OK;
}

static Status run_piece(Session *lane, Plan *p, const Tensor *inputs, Tensor *outputs, Tensor *parts, int64_t first, int64_t count,
                        Err *err)
{
    Work work = { .steps = INT64_MAX };
    Tensor *made = parts + lane->feed_count;
    for (int i = 0; i < lane->feed_count; i++) parts[i] = part_of(&inputs[i], first, count);
    for (int i = 0; i < lane->graph->output_count; i++) made[i] = part_of(&outputs[i], first, count);
    lane->work = &work;
    Status status = plan_execute(lane, p, parts, made, err);
    lane->work = NULL;
    return status;
}

Status lanes_run(Session *s, int64_t piece, const Tensor *inputs, Tensor *outputs, Err *err)
{
    int64_t batch = inputs[0].shape.dims[0], pieces = (batch + piece - 1) / piece, rest = batch % piece;
    int count = s->threads < pieces ? s->threads : (int)pieces;
    bool fresh = s->lane_count < count;
    Status status = lanes_reserve(s, count, err);
    LanePlans *plans = s->lane_plans;
    if (status == OK) engine_set_threads(1); /* kernels are made for so many, and run within one lane */
    s->last_bytes = 0;
    s->last_threads = count;
    s->last_piece = piece;
    for (int i = 0; i < count && status == OK; i++) {
        Session *lane = &s->lanes[i];
        lane->trace = s->trace;
        lane->trace_user = s->trace_user;
        plans[i].status = OK;
        if (rest > 0) status = lane_plan(lane, inputs, plans[i].parts, rest, &plans[i].rest, err);
        if (status == OK) status = lane_plan(lane, inputs, plans[i].parts, piece, &plans[i].whole, err);
        if (status == OK) s->last_bytes += plans[i].whole->arena_bytes;
    }
    if (status == OK) status = make_outputs(s, plans[0].whole, batch, outputs, err);
    if (status == OK) {
        if (fresh) team_start(count);
#pragma omp parallel for num_threads(count) schedule(dynamic, 1) if (count > 1)
        for (int64_t i = 0; i < pieces; i++) {
            int at = count > 1 ? omp_get_thread_num() : 0;
            LanePlans *own = &plans[at];
            bool last = rest > 0 && i == pieces - 1;
            if (own->status != OK) continue;
            own->status = run_piece(&s->lanes[at], last ? own->rest : own->whole, inputs, outputs, own->parts, i * piece,
                                    last ? rest : piece, &own->err);
        }
    }
    for (int i = 0; i < count && status == OK; i++) {
        status = plans[i].status;
        if (status != OK && err != NULL) *err = plans[i].err;
    }
    return status;
}
