/* The list of kernel rows. */
#include "engine/kernel.h"

#include "engine/dnnl_glue.h"
#include "engine/ops/integer.h"
#include "engine/products.h"
#include "engine/rows.h"

static const Kernel *const lists[] = { kernels_direct, kernels_depthwise, kernels_conv, kernels_unfold, kernels_conv_any,
                                       kernels_spread, kernels_window, kernels_pool, kernels_cut, kernels_pointwise, kernels_quantize,
                                       kernels_attention, kernels_rotary, kernels_few, kernels_packed, kernels_product, kernels_rows,
                                       kernels_choice, kernels_narrow, kernels_integer, kernels_dynamic, kernels_dynamic_conv,
                                       kernels_integer_sums, kernels_average, kernels_recurrent, NULL };

const Kernel *const *kernels_all(void)
{
    return lists;
}

const Kernel *kernel_find(const KernelSite *site, const Kernel *after)
{
    const Op *op = site->node->op;
    if (site->node->domain.len != 0 && !str_is(site->node->domain, INTEGER_DOMAIN)) return NULL;
    if (op != NULL && op->until != 0 && op->until < 7) return NULL; /* a form older than any kernel */
    for (const Kernel *const *list = lists; *list != NULL; list++)
        for (const Kernel *k = *list; k->name != NULL; k++)
            if (after != NULL) after = k == after ? NULL : after;
            else if (str_is(site->node->type, k->op) && k->accept(site)) return k;
    return NULL;
}

bool kernel_packs(const Kernel *kernel)
{
    static const Kernel *const packing[] = { kernels_conv, kernels_conv_any, kernels_few, kernels_packed, NULL };
    for (const Kernel *const *list = packing; *list != NULL; list++)
        for (const Kernel *k = *list; k->name != NULL; k++)
            if (k == kernel) return true;
    return false;
}
