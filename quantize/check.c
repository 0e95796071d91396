#include "quantize/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "quantize/calibrate.h"
#include "quantize/mixed.h"
#include "quantize/options.h"
#include "quantize/weights_layers.h"

#define REPAIR_WORDS "auto, none, or some of equalize, absorb, balance, smooth, gptq, adaround, bias"

static const char *const known_ops[] = { "Conv", "Gemm", "MatMul", "Add", "Concat", "AveragePool", "GlobalAveragePool", "MaxPool",
                                         "ConvTranspose", "LSTM", "GRU", "RNN" };

static Status check_ops(const StrList *ops, Err *err)
{
    for (int i = 0; i < ops->count; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof known_ops / sizeof *known_ops; k++) known |= strcmp(ops->items[i], known_ops[k]) == 0;
        if (!known)
            return err_set(err, ERR_USAGE, "op '%s' in ops cannot be quantized; choose from Conv, Gemm, MatMul, Add, Concat, "
                           "AveragePool, GlobalAveragePool, MaxPool, and where activations have no fixed grids ConvTranspose, LSTM, GRU, "
                           "RNN", ops->items[i]);
    }
    return OK;
}

static Status check_repairs(const StrList *repairs, Err *err)
{
    for (int i = 0; i < repairs->count; i++) {
        const char *name = repairs->items[i];
        bool alone = strcmp(name, "auto") == 0 || strcmp(name, "none") == 0, known = alone;
        for (int k = 0; k < REPAIR_COUNT; k++) known |= strcmp(name, repair_names[k]) == 0;
        if (!known) return err_set(err, ERR_USAGE, "'%s' is no repair; choose " REPAIR_WORDS, name);
        if (alone && repairs->count > 1) return err_set(err, ERR_USAGE, "repairs: '%s' stands alone", name);
    }
    return OK;
}

/* "" is a slip more often than a wish for what leaving the option out means. */
static Status check_empty(const char *name, const StrList *list, const char *instead, Err *err)
{
    if (list->items == NULL || list->count > 0) return OK;
    return err_set(err, ERR_USAGE, "%s: the list is empty; leave %s out for the default, or %s", name, name, instead);
}

static Status check_limits(const PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    double whole = 1.0, ignored;
    if (o->max_drop < 0.0 && o->max_drop != -1.0) /* -1: not asked */
        return err_set(err, ERR_USAGE, "max-accuracy-drop: %g points; expected 0 to 100, or -1 not to ask", o->max_drop);
    if (o->percentile != 0.0 && o->percentile < 50.5) /* 0: not named */
        return err_set(err, ERR_USAGE, "percentile: %g %%; expected 50.5 to 100, or 0 for 99.999", o->percentile);
    if (o->max_size != NULL && !size_parse(o->max_size, &whole, &ignored))
        return err_set(err, ERR_USAGE, "max-size: '%s' is not a size; write a number, 120k, 1.5M or 32%% (of the original)",
                       o->max_size);
    if (c->calibration == NULL && mixed_asked(o))
        return err_set(err, ERR_USAGE, "%s needs calibration data to judge by; name some with --data or \"data\": "
                       "{ \"calibration\": ... }", o->max_drop >= 0.0 ? "max-accuracy-drop" : "max-size");
    if (c->calibration == NULL && options_named(o, REPAIR_ADAROUND))
        return err_set(err, ERR_USAGE, "repair adaround learns from the layers' inputs: name calibration data with --data or \"data\": "
                       "{ \"calibration\": ... }, or leave it out");
    return OK;
}

/* Repairs that were named and that this mode, or a run without data, has no place for. "auto" takes what fits. */
static Status check_named_repairs(const PassContext *c, Err *err)
{
    static const Repair rewrites[] = { REPAIR_ABSORB, REPAIR_BALANCE, REPAIR_SMOOTH }, on_data[] = { REPAIR_GPTQ, REPAIR_BIAS };
    const QuantizeOptions *o = c->options;
    if (o->mode == MODE_STATIC) return OK;
    for (size_t i = 0; i < sizeof rewrites / sizeof *rewrites; i++)
        if (options_named(o, rewrites[i]))
            return err_set(err, ERR_USAGE, "repair %s makes grids of activations finer: it is for --mode=static; leave it out",
                           repair_names[rewrites[i]]);
    for (size_t i = 0; i < sizeof on_data / sizeof *on_data && c->calibration == NULL; i++)
        if (options_named(o, on_data[i]))
            return err_set(err, ERR_USAGE, "repair %s works on the layers' inputs: name calibration data with --data or \"data\": "
                           "{ \"calibration\": ... }, or leave it out", repair_names[on_data[i]]);
    return OK;
}

/* Options that one layer may have of its own. NULL, or what is wrong and what to choose. */
static const char *layer_problem(const QuantizeOptions *o)
{
    bool weights = o->mode == MODE_WEIGHTS;
    if (!weights && o->bits != 8)
        return "weights beside integer activations have 8 bits (--reduce-range uses 7 of them); fewer are for --mode=weights";
    if (!weights && options_block(o) > 0)
        return "weights beside integer activations have one scale a channel or a tensor; blocks of inputs are for --mode=weights";
    if (weights && o->reduce_range) return "reduce-range is for products of integers (--mode=static or dynamic); here say --bits=7";
    if (o->outputs && o->mode != MODE_STATIC) return "outputs of the network are quantized in --mode=static only";
    return NULL;
}

/* Of the pass as a whole. */
static const char *pass_problem(const QuantizeOptions *o)
{
    bool fixed = o->mode == MODE_STATIC, dynamic = o->mode == MODE_DYNAMIC, weights = o->mode == MODE_WEIGHTS;
    if (o->format == FORMAT_NBITS && !weights) return "format nbits holds weights alone: it is for --mode=weights; choose qdq";
    if (o->format == FORMAT_QOPERATOR && weights)
        return "operators on integers need integer activations: choose qdq or nbits, or --mode=static";
    if (o->format == FORMAT_QOPERATOR && dynamic)
        return "mode dynamic has one form, DynamicQuantizeLinear with MatMulInteger or ConvInteger: leave format out";
    if (o->symmetric != SYMMETRIC_AUTO && !weights)
        return "weights beside integer activations are symmetric: leave symmetric out, or use --mode=weights";
    if (o->activations != ACTIVATIONS_AUTO && weights) return "activations stay float in --mode=weights: leave activations out";
    if (o->activations == ACTIVATIONS_INT8 && dynamic)
        return "DynamicQuantizeLinear makes uint8: leave activations out, or use --mode=static for int8";
    if (o->target == TARGET_GPU && dynamic)
        return "gpu takes symmetric int8, and DynamicQuantizeLinear makes uint8: use --mode=static or weights";
    if (o->target == TARGET_GPU && o->activations == ACTIVATIONS_UINT8) return "target gpu takes int8 activations: leave activations out";
    if (o->table != NULL && !fixed) return "a calibration table fixes grids of activations: table is for --mode=static";
    if (o->calibration != CALIBRATE_AUTO && !fixed)
        return "grids of activations are chosen in --mode=static only: leave calibration out";
    if (o->percentile > 0.0 && (!fixed || (o->calibration != CALIBRATE_AUTO && o->calibration != CALIBRATE_PERCENTILE)))
        return "percentile is for --mode=static with --calibration=percentile (or auto): leave it out";
    if (o->save_table != NULL && !fixed) return "grids of activations are chosen in --mode=static only: leave save-table out";
    return NULL;
}

static Status check_layers(const PassContext *c, Err *err)
{
    Layer *layers = NULL;
    int count = 0;
    Status status = OK;
    if (c->rule_count == 0) return OK;
    TRY(layers_find(c->graph, &layers, &count, err));
    for (int i = 0; i < count && status == OK; i++) {
        QuantizeOptions o;
        bool skip;
        status = pass_layer_options(c, &layers[i], &o, &skip, err);
        const char *problem = status == OK && !skip ? layer_problem(&o) : NULL;
        if (problem != NULL) status = err_set(err, ERR_USAGE, "layer '%.*s': %s", STR_ARG(layers[i].name), problem);
    }
    free(layers);
    return status;
}

Status quantize_check_options(const PassContext *c, Err *err)
{
    const QuantizeOptions *o = c->options;
    TRY(check_empty("ops", &o->ops, "name ops such as Conv,Gemm", err));
    TRY(check_empty("repairs", &o->repairs, "choose " REPAIR_WORDS, err));
    TRY(check_ops(&o->ops, err));
    TRY(check_repairs(&o->repairs, err));
    TRY(check_limits(c, err));
    TRY(check_named_repairs(c, err));
    const char *problem = pass_problem(o);
    if (problem == NULL) problem = layer_problem(o);
    if (problem != NULL) return err_set(err, ERR_USAGE, "%s", problem);
    if (c->calibration == NULL && o->mode == MODE_STATIC)
        return err_set(err, ERR_USAGE, "mode static needs calibration data: name some with --data or \"data\": { \"calibration\": ... }; "
                       "--mode=dynamic and --mode=weights need none");
    TRY(weight_rules_check(c, err));
    return check_layers(c, err);
}
