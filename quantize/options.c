#include "quantize/options.h"

#include <string.h>

const char *const repair_names[REPAIR_COUNT] = {
    [REPAIR_EQUALIZE] = "equalize", [REPAIR_ABSORB] = "absorb", [REPAIR_BALANCE] = "balance",
    [REPAIR_SMOOTH] = "smooth",     [REPAIR_GPTQ] = "gptq",     [REPAIR_BIAS] = "bias",
};

bool options_named(const QuantizeOptions *o, Repair r)
{
    for (int i = 0; i < o->repairs.count; i++)
        if (strcmp(o->repairs.items[i], repair_names[r]) == 0) return true;
    return false;
}

bool options_repair(const QuantizeOptions *o, Repair r)
{
    if (o->repairs.count == 0) return true;
    for (int i = 0; i < o->repairs.count; i++)
        if (strcmp(o->repairs.items[i], "auto") == 0 || strcmp(o->repairs.items[i], repair_names[r]) == 0) return true;
    return false;
}

int64_t options_block(const QuantizeOptions *o)
{
    static const int64_t blocks[] = { 0, -1, 16, 32, 64, 128, 256 };
    return blocks[o->block];
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
