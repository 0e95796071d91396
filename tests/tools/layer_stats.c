/* The layer statistics as arrays: layer_stats MODEL DATA OUT.npz [SAMPLES [BATCH [VALUE]]]. For each layer i: h<i> [groups,width,width],
 * sum<i> [groups,width], columns<i>, name<i>; for the value: range, sums, average, edges and bins of the histogram. */
#include "formats/npz.h"
#include "graph/format.h"
#include "stats/layers.h"

#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Status put(NpzWriter *w, const char *name, DType type, int rank, const int64_t *dims, const void *data, Err *err)
{
    Shape shape = shape_of(rank, dims);
    int array;
    TRY(npz_writer_array(w, name, type, &shape, &array, err));
    return npz_writer_rows(w, array, data, rank == 0 ? 1 : dims[0], err);
}

static Status put_layer(NpzWriter *w, const LayerStats *s, int i, Err *err)
{
    const LayerForm *f = layer_stats_form(s, i);
    char name[32];
    int64_t dims[3] = { f->groups, f->width, f->width }, columns = layer_stats_columns(s, i), length = (int64_t)f->layer.name.len;
    double *h = malloc((size_t)(f->groups * f->width) * (size_t)f->width * sizeof *h);
    if (h == NULL) return err_no_memory(err, "moments");
    Status status = OK;
    for (int64_t k = 0; k < f->groups && status == OK; k++) status = layer_stats_square(s, i, k, h + k * f->width * f->width, err);
    snprintf(name, sizeof name, "h%d", i);
    if (status == OK) status = put(w, name, DT_DOUBLE, 3, dims, h, err);
    free(h);
    snprintf(name, sizeof name, "sum%d", i);
    if (status == OK) status = put(w, name, DT_DOUBLE, 2, dims, layer_stats_sum(s, i), err);
    snprintf(name, sizeof name, "columns%d", i);
    if (status == OK) status = put(w, name, DT_INT64, 0, NULL, &columns, err);
    snprintf(name, sizeof name, "name%d", i);
    return status == OK ? put(w, name, DT_UINT8, 1, &length, f->layer.name.data, err) : status;
}

static Status put_activation(NpzWriter *w, const ActivationStats *a, Err *err)
{
    double numbers[6] = { a->min, a->max, a->sum, a->sum_squares, a->average_min, a->average_max };
    double edges[HISTOGRAM_BINS + 1];
    for (int i = 0; i <= HISTOGRAM_BINS; i++) edges[i] = histogram_edge(&a->histogram, i);
    TRY(put(w, "numbers", DT_DOUBLE, 1, (int64_t[]){ 6 }, numbers, err));
    TRY(put(w, "edges", DT_DOUBLE, 1, (int64_t[]){ HISTOGRAM_BINS + 1 }, edges, err));
    return put(w, "bins", DT_UINT64, 1, (int64_t[]){ HISTOGRAM_BINS }, a->histogram.bins, err);
}

int main(int argc, char **argv)
{
    Err err = { .code = OK };
    Graph *g = NULL;
    Dataset *data = NULL;
    LayerStats *s = NULL;
    NpzWriter *w = NULL;
    Status status;
    if (argc < 4) {
        fprintf(stderr, "usage: layer_stats MODEL DATA OUT.npz [SAMPLES [BATCH [VALUE]]]\n");
        return ERR_USAGE;
    }
    LayerStatsOptions o = { .threads = 2, .samples = argc > 4 ? strtoll(argv[4], NULL, 10) : 0,
                            .batch = argc > 5 ? strtoll(argv[5], NULL, 10) : 0 };
    TRY_OUT(model_load(argv[1], NULL, &g, &err));
    engine_bind(g);
    TRY_OUT(engine_infer(g, &err));
    TRY_OUT(dataset_open(argv[2], g, &(DataOptions){ 0 }, &data, &err));
    ValueId v = argc > 6 ? graph_find_value(g, str_of(argv[6])) : 0;
    o.values = &v;
    o.value_count = v != 0;
    TRY_OUT(layer_stats_gather(g, data, &o, &s, &err));
    TRY_OUT(npz_writer_open(argv[3], false, &w, &err));
    for (int i = 0; i < layer_stats_count(s) && status == OK; i++) status = put_layer(w, s, i, &err);
    if (status == OK && v != 0) status = put_activation(w, layer_stats_activation(s, v), &err);
    if (status == OK) status = npz_writer_commit(w, &err);
    else npz_writer_abort(w);
out:
    layer_stats_free(s);
    dataset_free(data);
    graph_free(g);
    if (status != OK) fprintf(stderr, "layer_stats: %s\n", err.text);
    return (int)status;
}
