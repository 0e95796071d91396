/* The ends that the calibrators give: calibrate MODEL DATA SAMPLES BATCH VALUE... One line of JSON for each value. */
#include "graph/format.h"
#include "quantize/calibrate.h"

#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static const struct {
        Calibration method;
        const char *name;
    } methods[] = { { CALIBRATE_MINMAX, "minmax" }, { CALIBRATE_MOVING, "moving" }, { CALIBRATE_MEAN, "mean" },
                    { CALIBRATE_PERCENTILE, "percentile" }, { CALIBRATE_MSE, "mse" }, { CALIBRATE_ENTROPY, "entropy" } };
    Err err = { .code = OK };
    Graph *g = NULL;
    Dataset *data = NULL;
    LayerStats *s = NULL;
    ValueId *values = NULL;
    Status status;
    int count = argc - 5;
    if (count < 1) {
        fprintf(stderr, "usage: calibrate MODEL DATA SAMPLES BATCH VALUE...\n");
        return ERR_USAGE;
    }
    TRY_OUT(model_load(argv[1], NULL, &g, &err));
    engine_bind(g);
    TRY_OUT(engine_infer(g, &err));
    TRY_OUT(dataset_open(argv[2], g, &(DataOptions){ 0 }, &data, &err));
    values = calloc((size_t)count, sizeof *values);
    if (values == NULL) {
        status = err_no_memory(&err, "values");
        goto out;
    }
    for (int i = 0; i < count; i++) values[i] = graph_find_value(g, str_of(argv[5 + i]));
    LayerStatsOptions o = { .threads = 2, .samples = strtoll(argv[3], NULL, 10), .batch = strtoll(argv[4], NULL, 10), .values_only = true,
                            .values = values, .value_count = count };
    TRY_OUT(layer_stats_gather(g, data, &o, &s, &err));
    for (int i = 0; i < count; i++) {
        const ActivationStats *a = layer_stats_activation(s, values[i]);
        printf("{\"name\": \"%s\", \"width\": %.17g", argv[5 + i], histogram_edge(&a->histogram, 1) - histogram_edge(&a->histogram, 0));
        for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
            Ends e = calibrate_ends(methods[k].method, a, 99.999);
            printf(", \"%s\": [%.17g, %.17g]", methods[k].name, e.low, e.high);
        }
        printf("}\n");
    }
out:
    free(values);
    layer_stats_free(s);
    dataset_free(data);
    graph_free(g);
    if (status != OK) fprintf(stderr, "calibrate: %s\n", err.text);
    return (int)status;
}
