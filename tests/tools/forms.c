/* Writes a network in one of the output forms, with weights rounded to nearest, and the float network that it should compute.
 *   forms IN OUT REFERENCE FORMAT BITS BLOCK [asymmetric] [shifted] [two-bit] [tables]      FORMAT: qdq nbits dynamic
 *   forms IN OUT raise VERSION
 *   forms IN OUT qoperator
 * For the interoperability tests; prints what is left as it was. */
#include "engine/engine.h"
#include "graph/edit.h"
#include "graph/format.h"
#include "graph/opset.h"
#include "quantize/form_dynamic.h"
#include "quantize/form_qoperator.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Plain rounding: the scale of the largest magnitude of each block, row or matrix. */
static void round_values(const WeightSpec *spec, const double *w, Rounded *r)
{
    int64_t block = spec->block > 0 && spec->block < r->width ? spec->block : r->width;
    int top = spec->symmetric ? (1 << (spec->bits - 1)) - 1 : (1 << spec->bits) - 1;
    double low_all = 0.0, high_all = 0.0;
    for (int64_t i = 0; i < r->rows * r->width; i++) {
        low_all = fmin(low_all, w[i]);
        high_all = fmax(high_all, w[i]);
    }
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t b = 0; b < r->blocks; b++) {
            double low = spec->block < 0 ? low_all : 0.0, high = spec->block < 0 ? high_all : 0.0;
            int64_t end = (b + 1) * block < r->width ? (b + 1) * block : r->width;
            for (int64_t k = b * block; k < end; k++) {
                low = fmin(low, w[i * r->width + k]);
                high = fmax(high, w[i * r->width + k]);
            }
            double span = spec->symmetric ? fmax(-low, high) : high - low;
            float scale = span > 0.0 ? (float)(span / top) : 1.0f;
            double zero = spec->symmetric ? 0.0 : fmin(fmax(rint(-low / (double)scale), 0.0), top);
            r->scales[i * r->blocks + b] = scale;
            r->zeros[i * r->blocks + b] = (int16_t)zero;
            for (int64_t k = b * block; k < end; k++) {
                double q = rint(w[i * r->width + k] / (double)scale) + zero;
                r->q[i * r->width + k] = (int16_t)fmin(fmax(q, spec->symmetric ? -top : 0), top);
            }
        }
}

static void put_values(const WeightSpec *spec, const Rounded *r, double *w)
{
    int64_t block = r->blocks > 1 ? spec->block : r->width;
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t k = 0; k < r->width; k++) {
            int64_t b = i * r->blocks + k / block;
            w[i * r->width + k] = (double)r->scales[b] * (r->q[i * r->width + k] - r->zeros[b]);
        }
}

/* Rounds one weight; the reference receives what the integers stand for. */
static Status make_rounded(const Graph *g, Graph *reference, const LayerForm *f, const WeightSpec *spec, Rounded *r, Err *err)
{
    *r = (Rounded){ .rows = form_outputs(f), .width = f->width, .blocks = 1 };
    if (spec->block > 0 && spec->block < f->width) r->blocks = (f->width + spec->block - 1) / spec->block;
    double *w = malloc(sizeof *w * (size_t)form_weights(f));
    r->q = calloc((size_t)form_weights(f), sizeof *r->q);
    r->scales = calloc((size_t)(r->rows * r->blocks), sizeof *r->scales);
    r->zeros = calloc((size_t)(r->rows * r->blocks), sizeof *r->zeros);
    Status status = OK;
    if (w == NULL || r->q == NULL || r->scales == NULL || r->zeros == NULL) status = err_no_memory(err, "weights");
    if (status == OK) {
        layer_read_weights(g, f, w);
        round_values(spec, w, r);
        put_values(spec, r, w);
        status = layer_write_weights(reference, f, w, err);
    }
    free(w);
    return status;
}

static void free_rounded(Rounded *r)
{
    free(r->q);
    free(r->scales);
    free(r->zeros);
}

typedef struct Work {
    Graph *g, *reference;
    WeightSpec spec;
    bool tables;
    LayerForm *forms;
    int count;
    StoredWeight *stored;
    int stored_count;
} Work;

static Status find_forms(Work *w, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    const char *why = "";
    TRY(layers_find(w->g, &layers, &count, err));
    w->forms = calloc((size_t)count + w->g->order_count + 1, sizeof *w->forms);
    w->stored = calloc((size_t)count + w->g->order_count + 1, sizeof *w->stored);
    if (w->forms == NULL || w->stored == NULL) return err_no_memory(err, "forms");
    for (int i = 0; i < count; i++) {
        LayerForm *f = &w->forms[w->count];
        if (layer_form(w->g, &layers[i], f, &why) || form_of_recurrent(w->g, &layers[i], f, &why)) w->count++;
        else printf("%.*s: %s\n", STR_ARG(layers[i].name), why);
    }
    free(layers);
    for (uint32_t i = 0; w->tables && i < w->g->order_count; i++)
        if (form_of_table(w->g, w->g->order[i], &w->forms[w->count], &why)) w->count++;
    return OK;
}

static Status write_layer(Work *w, const LayerForm *f, Err *err)
{
    StoredWeight *s = NULL;
    Rounded r = { 0 };
    const char *why;
    WeightSpec spec = w->spec;
    if (!form_weight_fits(w->g, f, &spec, &why)) {
        printf("%.*s: %s\n", STR_ARG(f->layer.name), why);
        if (spec.format == WEIGHT_DYNAMIC) return OK;
        spec.format = WEIGHT_QDQ;
    }
    for (int i = 0; i < w->stored_count; i++)
        if (w->stored[i].form.layer.weight == f->layer.weight && w->stored[i].form.scale == f->scale) s = &w->stored[i];
    Status status = OK;
    if (s == NULL) {
        s = &w->stored[w->stored_count++];
        status = make_rounded(w->g, w->reference, f, &spec, &r, err);
        if (status == OK) status = form_weight_store(w->g, f, &r, &spec, s, err);
        free_rounded(&r);
    }
    return status == OK ? form_weight_attach(w->g, f, s, err) : status;
}

/* Both weights of an LSTM; true when they were written. */
static Status write_lstm(Work *w, int i, bool *done, Err *err)
{
    const char *why;
    Rounded a = { 0 }, b = { 0 };
    *done = w->spec.format == WEIGHT_DYNAMIC && i + 1 < w->count && w->forms[i + 1].layer.node == w->forms[i].layer.node;
    if (!*done) return OK;
    if (!form_dynamic_lstm_fits(w->g, &w->forms[i], &w->forms[i + 1], &w->spec, &why)) {
        printf("%.*s: %s\n", STR_ARG(w->forms[i].layer.name), why);
        return OK;
    }
    Status status = make_rounded(w->g, w->reference, &w->forms[i], &w->spec, &a, err);
    if (status == OK) status = make_rounded(w->g, w->reference, &w->forms[i + 1], &w->spec, &b, err);
    if (status == OK) status = form_dynamic_lstm(w->g, &w->forms[i], &a, &w->forms[i + 1], &b, &w->spec, err);
    free_rounded(&a);
    free_rounded(&b);
    return status;
}

static Status settle(Graph *g, Err *err)
{
    graph_remove_dead(g, NULL);
    TRY(graph_finish(g, err));
    engine_bind(g);
    return engine_infer(g, err);
}

static Status raise_to(Graph *g, int64_t opset, Err *err)
{
    TRY(opset_raise(g, opset, NULL, err));
    TRY(opset_raise_ir(g, opset_ir(opset), err));
    return settle(g, err);
}

static Status write_weights(Work *w, Err *err)
{
    int64_t opset = 13;
    TRY(find_forms(w, err));
    for (int i = 0; i < w->count; i++) {
        const char *why;
        WeightSpec spec = w->spec;
        if (!form_weight_fits(w->g, &w->forms[i], &spec, &why)) spec.format = WEIGHT_QDQ;
        int64_t need = form_weight_opset(&w->forms[i], &spec);
        if (w->spec.format != WEIGHT_DYNAMIC && need > opset) opset = need;
    }
    free(w->forms);
    free(w->stored);
    w->count = 0;
    TRY(raise_to(w->g, opset, err));
    TRY(graph_clone(w->g, &w->reference, err));
    TRY(find_forms(w, err));
    for (int i = 0; i < w->count; i++) {
        bool done;
        TRY(write_lstm(w, i, &done, err));
        if (done) i++;
        else TRY(write_layer(w, &w->forms[i], err));
    }
    return settle(w->g, err);
}

static Status run(int argc, char **argv, Work *w, Err *err)
{
    SaveOptions save = { 0 };
    TRY(model_load(argv[1], NULL, &w->g, err));
    engine_bind(w->g);
    TRY(engine_infer(w->g, err));
    if (strcmp(argv[3], "raise") == 0) TRY(raise_to(w->g, atoi(argv[4]), err));
    else if (strcmp(argv[3], "qoperator") == 0) {
        PassRecord record = { 0 };
        int converted = 0;
        Status status = form_qoperator(w->g, &record, &converted, err);
        for (size_t i = 0; i < record.count; i++) printf("%s: %s\n", record.entries[i].object, record.entries[i].text);
        printf("%d converted\n", converted);
        record_release(&record);
        TRY(status);
        TRY(settle(w->g, err));
    } else {
        const char *formats[] = { "qdq", "nbits", "dynamic" };
        w->spec = (WeightSpec){ .symmetric = true, .bits = atoi(argv[5]), .block = atoi(argv[6]) };
        for (int i = 0; i < 3; i++)
            if (strcmp(argv[4], formats[i]) == 0) w->spec.format = (WeightFormat)i;
        for (int i = 7; i < argc; i++) {
            if (strcmp(argv[i], "asymmetric") == 0) w->spec.symmetric = false;
            if (strcmp(argv[i], "shifted") == 0) w->spec.shifted = true;
            if (strcmp(argv[i], "two-bit") == 0) w->spec.two_bit = true;
            if (strcmp(argv[i], "tables") == 0) w->tables = true;
        }
        TRY(write_weights(w, err));
        TRY(model_save(w->reference, argv[3], &save, err));
    }
    return model_save(w->g, argv[2], &save, err);
}

int main(int argc, char **argv)
{
    Err err = { .code = OK };
    Work w = { 0 };
    if (argc < 4 || (argc < 5 && strcmp(argv[3], "qoperator") != 0)) {
        fprintf(stderr, "usage: forms IN OUT REFERENCE FORMAT BITS BLOCK [...] | forms IN OUT raise VERSION | forms IN OUT qoperator\n");
        return ERR_USAGE;
    }
    Status status = run(argc, argv, &w, &err);
    free(w.forms);
    free(w.stored);
    graph_free(w.g);
    graph_free(w.reference);
    if (status != OK) fprintf(stderr, "forms: %s\n", err.text);
    return (int)status;
}
