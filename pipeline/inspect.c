#include "pipeline/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/text.h"

Status inspect_model(const Model *m, const char *path, const Shape *shapes, Inspection *out, Err *err)
{
    *out = (Inspection){ .path = path, .model = m };
    return counts_of(m->graph, shapes, &out->counts, err);
}

void inspection_release(Inspection *i)
{
    counts_release(&i->counts);
}

static void print_header(const Inspection *i, StrBuf *b)
{
    const Graph *g = i->model->graph;
    char size[32], count[32];
    text_bytes((double)model_bytes(i->model), size);
    text_count((int64_t)model_bytes(i->model), count);
    strbuf_printf(b, "%s: %s (%s bytes", i->path, size, count);
    if (i->model->file_count > 1) strbuf_printf(b, " in %d files", i->model->file_count);
    strbuf_printf(b, "), %s", g->origin != NULL ? g->origin->format : "onnx");
    if (g->ir_version > 0) strbuf_printf(b, ", IR %lld", (long long)g->ir_version);
    for (int k = 0; k < g->opset_count; k++) {
        strbuf_add(b, ", ");
        text_safe(g->opsets[k].domain.len > 0 ? g->opsets[k].domain : STR("opset"), b);
        strbuf_printf(b, " %lld", (long long)g->opsets[k].version);
    }
    strbuf_add(b, "\n");
}

static void print_values(const Graph *g, const char *title, const ValueId *ids, int count, StrBuf *b)
{
    TextTable t;
    table_init(&t, 3, "lll");
    for (int k = 0; k < count; k++) {
        const Value *v = graph_value(g, ids[k]);
        char shape[512];
        StrBuf name = { 0 };
        graph_print_shape(g, &v->shape, shape, sizeof shape);
        text_safe(v->name, &name);
        table_cell(&t, "%s", name.data != NULL ? name.data : "");
        table_cell(&t, "%s", dtype_name(v->type));
        table_cell(&t, "%s", shape);
        strbuf_release(&name);
    }
    strbuf_printf(b, "%s\n", title);
    table_print(&t, 2, false, b);
    table_release(&t);
}

static void print_layers(const Inspection *i, bool all, StrBuf *b)
{
    const Graph *g = i->model->graph;
    TextTable t;
    char count[32], macs[32];
    table_init(&t, 6, "lllrrl");
    static const char *const head[] = { "layer", "op", "output", "parameters", "MACs", "type" };
    for (int k = 0; k < 6; k++) table_cell(&t, "%s", head[k]);
    for (int k = 0; k < i->counts.layer_count; k++) {
        const LayerCount *l = &i->counts.layers[k];
        if (!all && l->parameters == 0 && l->cost.macs == 0) continue;
        char shape[512];
        StrBuf name = { 0 };
        text_safe(l->name, &name);
        graph_print_shape(g, &l->output, shape, sizeof shape);
        text_count(l->parameters, count);
        text_count(l->cost.macs, macs);
        table_cell(&t, "%s", name.data != NULL ? name.data : "");
        table_cell(&t, "%.*s", STR_ARG(l->type));
        table_cell(&t, "%s", shape);
        table_cell(&t, "%s", count);
        table_cell(&t, "%s", l->cost.macs > 0 ? macs : "");
        table_cell(&t, "%s", l->cost.macs > 0 ? dtype_name(l->mac_type) : "");
        strbuf_release(&name);
    }
    strbuf_add(b, "layers\n");
    table_print(&t, 2, true, b);
    table_release(&t);
}

static void print_total(const char *label, int64_t n, const char *note, StrBuf *b)
{
    char text[32];
    text_count(n, text);
    strbuf_printf(b, "  %-18s %s%s\n", label, text, note);
}

void inspection_print(const Inspection *i, bool all, StrBuf *b)
{
    const Graph *g = i->model->graph;
    const Counts *c = &i->counts;
    ValueId feeds[1];
    int feed_count = graph_feeds(g, feeds, 0);
    ValueId *ids = calloc((size_t)feed_count + 1, sizeof *ids);
    if (ids == NULL) {
        b->failed = true;
        return;
    }
    graph_feeds(g, ids, feed_count);
    print_header(i, b);
    print_values(g, "inputs", ids, feed_count, b);
    print_values(g, "outputs", g->outputs, g->output_count, b);
    print_layers(i, all, b);
    strbuf_add(b, "totals\n");
    print_total("parameters", c->parameters, "", b);
    print_total("non-zero", c->nonzeros, "", b);
    if (c->parameters > 0) strbuf_printf(b, "  %-18s %.4g", "bits a weight", (double)c->parameter_bits / (double)c->parameters);
    if (c->parameters > 0 && c->scale_bits > 0)
        strbuf_printf(b, ", with scales and zero points %.4g", (double)(c->parameter_bits + c->scale_bits) / (double)c->parameters);
    if (c->parameters > 0) strbuf_add(b, "\n");
    print_total("MACs", c->macs_float + c->macs_int8, "", b);
    print_total("  non-zero", c->macs_nonzero, " with a weight that is not zero", b);
    print_total("  float32", c->macs_float, "", b);
    print_total("  int8", c->macs_int8, "", b);
    print_total("elementwise ops", c->elementwise, "", b);
    print_total("transcendental", c->transcendental, "", b);
    print_total("weight bytes", c->weight_bytes, " read once per inference", b);
    print_total("activation bytes", c->activation_bytes, " written once per inference", b);
    strbuf_printf(b, "convention: %s\n", counts_convention);
    char guess[96];
    text_guess(c->guess, guess);
    if (c->guess > 1) strbuf_printf(b, "%s\n", guess);
    if (c->undecided > 0) {
        text_undecided(c->undecided, b);
        strbuf_add(b, "\n");
    }
    if (c->uncounted > 0) {
        strbuf_printf(b, "not counted: %d node%s of unknown op or shape (%s)\n", c->uncounted, c->uncounted == 1 ? "" : "s",
                      c->uncounted_names);
    }
    free(ids);
}

/* A name that is no valid UTF-8 text to the byte would end at a NUL; names with one are escaped. */
static cJSON *string_json(Str s)
{
    StrBuf b = { 0 };
    text_safe(s, &b);
    cJSON *item = b.failed ? NULL : cJSON_CreateString(b.data != NULL ? b.data : "");
    strbuf_release(&b);
    return item;
}

static cJSON *shape_json(const Graph *g, const Shape *s)
{
    if (s->rank < 0) return cJSON_CreateNull();
    cJSON *dims = cJSON_CreateArray();
    for (int d = 0; d < s->rank; d++) {
        int64_t n = s->dims[d];
        cJSON_AddItemToArray(dims, n >= 0 ? cJSON_CreateNumber((double)n) : n == DIM_UNKNOWN ? cJSON_CreateNull()
                                                                                               : string_json(graph_symbol_name(g, n)));
    }
    return dims;
}

static cJSON *values_json(const Graph *g, const ValueId *ids, int count)
{
    cJSON *list = cJSON_CreateArray();
    for (int k = 0; k < count; k++) {
        const Value *v = graph_value(g, ids[k]);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToObject(item, "name", string_json(v->name));
        cJSON_AddStringToObject(item, "type", dtype_name(v->type));
        cJSON_AddItemToObject(item, "shape", shape_json(g, &v->shape));
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

static cJSON *layers_json(const Graph *g, const Counts *c)
{
    cJSON *list = cJSON_CreateArray();
    for (int k = 0; k < c->layer_count; k++) {
        const LayerCount *l = &c->layers[k];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToObject(item, "name", string_json(l->name));
        cJSON_AddItemToObject(item, "op", string_json(l->type));
        cJSON_AddItemToObject(item, "output", shape_json(g, &l->output));
        cJSON_AddNumberToObject(item, "parameters", (double)l->parameters);
        cJSON_AddNumberToObject(item, "macs", (double)l->cost.macs);
        cJSON_AddNumberToObject(item, "macs_nonzero", (double)l->macs_nonzero);
        cJSON_AddStringToObject(item, "mac_type", dtype_name(l->mac_type));
        cJSON_AddNumberToObject(item, "elementwise", (double)l->cost.elementwise);
        cJSON_AddNumberToObject(item, "transcendental", (double)l->cost.transcendental);
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

cJSON *inspection_json(const Inspection *i)
{
    const Graph *g = i->model->graph;
    const Counts *c = &i->counts;
    ValueId none[1];
    int feed_count = graph_feeds(g, none, 0);
    ValueId *ids = calloc((size_t)feed_count + 1, sizeof *ids);
    cJSON *json = cJSON_CreateObject();
    if (ids == NULL || json == NULL) goto out;
    graph_feeds(g, ids, feed_count);
    cJSON_AddStringToObject(json, "file", i->path);
    cJSON_AddStringToObject(json, "format", g->origin != NULL ? g->origin->format : "onnx");
    cJSON_AddNumberToObject(json, "file_bytes", (double)model_bytes(i->model));
    cJSON_AddNumberToObject(json, "ir_version", (double)g->ir_version);
    cJSON *opsets = cJSON_AddObjectToObject(json, "opsets");
    for (int k = 0; k < g->opset_count; k++) cJSON_AddNumberToObject(opsets, g->opsets[k].domain.data, (double)g->opsets[k].version);
    cJSON_AddItemToObject(json, "inputs", values_json(g, ids, feed_count));
    cJSON_AddItemToObject(json, "outputs", values_json(g, g->outputs, g->output_count));
    cJSON_AddItemToObject(json, "layers", layers_json(g, c));
    cJSON_AddNumberToObject(json, "parameters", (double)c->parameters);
    cJSON_AddNumberToObject(json, "nonzeros", (double)c->nonzeros);
    cJSON_AddNumberToObject(json, "weight_bits", c->parameters > 0 ? (double)c->parameter_bits / (double)c->parameters : 0);
    cJSON_AddNumberToObject(json, "stored_bits",
                            c->parameters > 0 ? (double)(c->parameter_bits + c->scale_bits) / (double)c->parameters : 0);
    cJSON *macs = cJSON_AddObjectToObject(json, "macs");
    cJSON_AddNumberToObject(macs, "total", (double)(c->macs_float + c->macs_int8));
    cJSON_AddNumberToObject(macs, "nonzero", (double)c->macs_nonzero);
    cJSON_AddNumberToObject(macs, "float32", (double)c->macs_float);
    cJSON_AddNumberToObject(macs, "int8", (double)c->macs_int8);
    cJSON_AddNumberToObject(json, "elementwise", (double)c->elementwise);
    cJSON_AddNumberToObject(json, "transcendental", (double)c->transcendental);
    cJSON_AddNumberToObject(json, "weight_bytes", (double)c->weight_bytes);
    cJSON_AddNumberToObject(json, "activation_bytes", (double)c->activation_bytes);
    cJSON_AddNumberToObject(json, "undecided_branches", c->undecided);
    cJSON_AddNumberToObject(json, "uncounted_nodes", (double)c->uncounted);
    cJSON_AddStringToObject(json, "uncounted_ops", c->uncounted_names);
    cJSON_AddStringToObject(json, "convention", counts_convention);
out:
    free(ids);
    return json;
}
