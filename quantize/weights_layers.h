/* What becomes of each weight in modes weights and dynamic, and of the tables of Gather in every mode. */
#ifndef PARE_QUANTIZE_WEIGHTS_LAYERS_H
#define PARE_QUANTIZE_WEIGHTS_LAYERS_H

#include "graph/pass.h"
#include "quantize/form_weights.h"
#include "quantize/options.h"

typedef struct WeightLayer {
    Layer layer;
    LayerForm form;
    WeightSpec spec;
    QuantizeOptions options; /* with the rules for this layer */
    const char *reason; /* why it stays float; NULL: quantized */
    const char *note;   /* how it differs from what was asked; NULL: not at all */
    bool walks;         /* has a LayerForm of its own */
    bool table;         /* looked up by Gather, not multiplied */
    int partner;        /* the other weight of an LSTM node that becomes one operator with this one; -1: none */
} WeightLayer;

/* ERR_USAGE: a rule that names neither a layer nor a table, in floats or in integers already. */
Status weight_rules_check(const PassContext *c, Err *err);
/* Lists the tables that are in integers already (report_left_out has the layers). */
void weight_tables_report(const PassContext *c);
/* A malloc'ed array, layers first, then tables; the latter alone when asked. */
Status weight_layers_find(PassContext *c, bool tables_only, WeightLayer **out, int *count, Err *err);
/* A layer that is to be quantized, as if so many bits had been asked for; spec, note and reason follow. */
void weight_layer_set_bits(const Graph *g, WeightLayer *l, int64_t bits);

#endif
