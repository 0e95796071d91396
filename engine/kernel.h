/* Kernels: faster forms of an operator, chosen when a plan is made and tested against the plain forward. A row accepts a site (one node
 * at concrete shapes), prepares a state for it once, and runs it many times. */
#ifndef PARE_ENGINE_KERNEL_H
#define PARE_ENGINE_KERNEL_H

#include "engine/engine.h"

typedef struct Device Device; /* engine/dnnl_glue.h: the library's engine and stream, and the packed weights */
typedef struct Layout Layout; /* an order of elements other than row-major; NULL stands for row-major everywhere */

#define KERNEL_OPERANDS 10
#define KERNEL_FOLLOWERS 4

/* One node at concrete shapes, with the elementwise nodes that may be computed along with it. */
typedef struct KernelSite {
    const Graph *graph;
    const Node *node;
    int opset;
    Device *device;
    int input_count, output_count;      /* at most KERNEL_OPERANDS */
    TypeInfo in[KERNEL_OPERANDS], out[KERNEL_OPERANDS];
    const Tensor *constant[KERNEL_OPERANDS]; /* contents where constant; aligned when prepare is called, but see kernel_packs */
    ValueId value[KERNEL_OPERANDS];     /* of each input: names a packed constant */
    const Layout *given[KERNEL_OPERANDS]; /* the order in which each input is there already */
    const Node *follower[KERNEL_FOLLOWERS]; /* set by the plan: nodes fused behind, in order; the last one's output is out[0] */
    int follower_count;
    DType made; /* type of the node's own first output, before the followers */
    /* filled by prepare */
    const Layout *take[KERNEL_OPERANDS]; /* the order wanted for each input; preset to row-major */
    bool unused[KERNEL_OPERANDS];        /* inputs that were packed: not to be passed to run */
    const Layout *make[KERNEL_OPERANDS]; /* the order of each output; preset to row-major */
    Int8Use int8;
    Err *err;
} KernelSite;

/* A float32 input whose shape is known. */
static inline bool site_is_float(const KernelSite *s, int i)
{
    return i < s->input_count && s->in[i].type == DT_FLOAT && shape_known(&s->in[i].shape);
}

typedef struct Kernel {
    const char *name, *op; /* op: type of the ai.onnx operator */
    bool (*accept)(const KernelSite *site);
    /* Layouts in take and make belong to the state. ERR_UNSUPPORTED: the library has no such primitive; the next row is asked,
     * at last the plain forward. */
    Status (*prepare)(KernelSite *site, void **state);
    Status (*run)(void *state, const void *const *in, void *const *out, Err *err);
    void (*release)(void *state);
    /* Whether `next` can be computed along with the site as it stands; the plan then appends its other operand, if it has one, to the
     * inputs. NULL: never. */
    bool (*fuse)(const KernelSite *site, const Node *next);
    /* Followers may change the shape and read operands of other shapes, constants but for scalars among them; prepare looks at them all. */
    bool reshapes;
} Kernel;

/* Lists of rows, each ended by a row whose name is NULL; the whole NULL terminated. Earlier rows are preferred. */
const Kernel *const *kernels_all(void);
/* The first row that accepts the site, or NULL; the first one behind row `after` when that is not NULL. */
const Kernel *kernel_find(const KernelSite *site, const Kernel *after);

/* Whether prepare reads constants of two axes or more by device_pack and memcpy alone: they may lie unaligned, in pages of a file. */
bool kernel_packs(const Kernel *kernel);

size_t layout_bytes(const Layout *l);
/* Every element once, those of each part along axis 0 together; bytes: of the same tensor in row-major order. */
bool layout_divides(const Layout *l, size_t bytes);
bool layout_eq(const Layout *a, const Layout *b); /* NULL is row-major and equal to itself alone */

#endif
