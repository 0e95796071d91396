/* What a convolution or a product computes along with itself, as the library's post-operations: activations, and the addition of another
 * tensor of the same shape. */
#include <math.h>

#include "engine/dnnl_private.h"
#include "engine/ops/common.h"

static bool clip_bounds(const KernelSite *s, const Node *n, float *low, float *high)
{
    *low = node_float(n, "min", -3.402823466e+38F);
    *high = node_float(n, "max", 3.402823466e+38F);
    for (int i = 1; i < n->input_count; i++) {
        if (n->inputs[i] == 0) continue;
        const Tensor *t = node_constant(s->graph, n, i);
        if (t == NULL || t->type != DT_FLOAT || tensor_count(t) != 1) return false;
        *(i == 1 ? low : high) = (float)tensor_get(t, 0);
    }
    return true;
}

/* The operand of an Add that is not what the site makes; 0 when it is no such Add. */
static ValueId add_operand(const KernelSite *s, const Node *n)
{
    ValueId own = s->follower_count > 0 ? s->follower[s->follower_count - 1]->outputs[0] : s->node->outputs[0];
    if (n->input_count != 2 || n->inputs[0] == n->inputs[1]) return 0;
    return n->inputs[0] == own ? n->inputs[1] : n->inputs[1] == own ? n->inputs[0] : 0;
}

/* An activation of one operand as the library knows it. */
static bool activation_of(const KernelSite *s, const Node *n, dnnl_alg_kind_t *kind, float *alpha, float *beta)
{
    *alpha = *beta = 0;
    if (str_is(n->type, "Relu")) *kind = dnnl_eltwise_relu;
    else if (str_is(n->type, "Sigmoid")) *kind = dnnl_eltwise_logistic;
    else if (str_is(n->type, "Tanh")) *kind = dnnl_eltwise_tanh;
    else if (str_is(n->type, "Swish")) *kind = dnnl_eltwise_swish;
    else if (str_is(n->type, "LeakyRelu")) *kind = dnnl_eltwise_relu;
    else if (str_is(n->type, "Gelu") && str_is(node_string(n, "approximate", "none"), "none")) *kind = dnnl_eltwise_gelu_erf;
    else if (str_is(n->type, "Gelu") && str_is(node_string(n, "approximate", "none"), "tanh")) *kind = dnnl_eltwise_gelu_tanh;
    else if (str_is(n->type, "Clip") && clip_bounds(s, n, alpha, beta)) *kind = dnnl_eltwise_clip;
    else return false;
    if (str_is(n->type, "LeakyRelu")) *alpha = node_float(n, "alpha", 0.01F);
    if (str_is(n->type, "Swish")) *alpha = node_float(n, "alpha", 1);
    return true;
}

bool site_bounds(const KernelSite *s, const Node *n, float *low, float *high)
{
    if (n->domain.len != 0 || (n->op != NULL && n->op->until != 0 && n->op->until < 7)) return false;
    if (str_is(n->type, "Clip")) return clip_bounds(s, n, low, high);
    if (!str_is(n->type, "Relu")) return false;
    *low = 0;
    *high = INFINITY;
    return true;
}

/* No activation of this kind with other numbers is computed along already: the library's code for both would use those of one. */
static bool stands_alone(const KernelSite *s, dnnl_alg_kind_t kind, float alpha, float beta)
{
    for (int i = 0; i < s->follower_count; i++) {
        dnnl_alg_kind_t other;
        float a, b;
        if (activation_of(s, s->follower[i], &other, &a, &b) && other == kind && (a != alpha || b != beta)) return false;
    }
    return true;
}

bool site_follows(const KernelSite *s, const Node *n)
{
    dnnl_alg_kind_t kind;
    float alpha, beta;
    if (n->domain.len != 0 || (n->op != NULL && n->op->until != 0 && n->op->until < 7)) return false;
    if (activation_of(s, n, &kind, &alpha, &beta)) return stands_alone(s, kind, alpha, beta);
    if (!str_is(n->type, "Add") || site_adds(s)) return false;
    ValueId other = add_operand(s, n);
    return other != 0 && graph_value(s->graph, other)->tensor == NULL && s->input_count < KERNEL_OPERANDS;
}

bool site_adds(const KernelSite *s)
{
    return s->input_count > s->node->input_count;
}

Status followers_attr(const KernelSite *s, int from, const dnnl_memory_desc_t *sum, dnnl_primitive_attr_t *attr, int *add_at)
{
    dnnl_post_ops_t ops = NULL;
    *add_at = -1;
    *attr = NULL;
    if (s->follower_count <= from) return OK;
    TRY(dnnl_check(dnnl_primitive_attr_create(attr), "attributes", s->err));
    Status status;
    TRY_OUT(dnnl_check(dnnl_post_ops_create(&ops), "attributes", s->err));
    for (int i = from; i < s->follower_count; i++) {
        const Node *n = s->follower[i];
        dnnl_alg_kind_t kind;
        float alpha, beta;
        if (activation_of(s, n, &kind, &alpha, &beta)) {
            TRY_OUT(dnnl_check(dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, beta), "activation", s->err));
        } else {
            TRY_OUT(dnnl_check(dnnl_post_ops_append_binary(ops, dnnl_binary_add, sum), "Add", s->err));
            *add_at = dnnl_post_ops_len(ops) - 1;
        }
    }
    TRY_OUT(dnnl_check(dnnl_primitive_attr_set_post_ops(*attr, ops), "attributes", s->err));
out:
    if (ops != NULL) dnnl_post_ops_destroy(ops);
    if (status != OK) {
        dnnl_primitive_attr_destroy(*attr);
        *attr = NULL;
    }
    return status;
}
