#include "quantize/options.h"

#include <string.h>

#define PERCENTILE 99.999
#define LEARNED_STEPS 200 /* 2000 lower the loss by less than 0.2 % more */

const char *const repair_names[REPAIR_COUNT] = {
    [REPAIR_EQUALIZE] = "equalize", [REPAIR_ABSORB] = "absorb", [REPAIR_BALANCE] = "balance",
    [REPAIR_SMOOTH] = "smooth",     [REPAIR_GPTQ] = "gptq",     [REPAIR_BIAS] = "bias",
    [REPAIR_ADAROUND] = "adaround",
};

bool options_named(const QuantizeOptions *o, Repair r)
{
    for (int i = 0; i < o->repairs.count; i++)
        if (strcmp(o->repairs.items[i], repair_names[r]) == 0) return true;
    return false;
}

bool options_repair(const QuantizeOptions *o, Repair r)
{
    if (options_named(o, r)) return true;
    if (r == REPAIR_ADAROUND) return false;
    if (r == REPAIR_GPTQ && options_named(o, REPAIR_ADAROUND)) return true; /* what it starts from */
    return o->repairs.count == 0 || strcmp(o->repairs.items[0], "auto") == 0;
}

bool options_op(const QuantizeOptions *o, Str type)
{
    for (int i = 0; i < o->ops.count; i++)
        if (str_is(type, o->ops.items[i])) return true;
    return o->ops.count == 0;
}

int options_learned(const QuantizeOptions *o)
{
    return options_repair(o, REPAIR_ADAROUND) ? LEARNED_STEPS : 0;
}

int64_t options_block(const QuantizeOptions *o)
{
    static const int64_t blocks[] = { 0, -1, 16, 32, 64, 128, 256 };
    return blocks[o->block];
}

double options_percentile(const QuantizeOptions *o)
{
    return o->percentile > 0.0 ? o->percentile : PERCENTILE;
}

bool options_pairs(const QuantizeOptions *o)
{
    return o->target == TARGET_PORTABLE || o->target == TARGET_AVX2; /* int8 activations too: runtimes shift them to uint8 on x86 */
}

bool options_int8(const QuantizeOptions *o)
{
    return o->activations == ACTIVATIONS_INT8 || (o->activations == ACTIVATIONS_AUTO && o->target == TARGET_GPU);
}

bool options_symmetric(const QuantizeOptions *o)
{
    if (o->symmetric != SYMMETRIC_AUTO) return o->symmetric == SYMMETRIC_YES;
    return o->bits > 4;
}
