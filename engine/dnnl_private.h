/* Shared by the files that speak to oneDNN: the C API of 2.6, see engine/dnnl_version.h. */
#ifndef PARE_ENGINE_DNNL_PRIVATE_H
#define PARE_ENGINE_DNNL_PRIVATE_H

#include "base/openmp.h"
#include "engine/dnnl_glue.h"
#include "engine/dnnl_version.h"

struct Layout {
    dnnl_memory_desc_t md;
};

/* A constant in the order one primitive wants. */
typedef struct Pack {
    ValueId value;
    dnnl_memory_desc_t from, to; /* `from`: how the row-major bytes were read (grouped weights have one axis more) */
    uint64_t variant;            /* 0, or a hash of what the contents were scaled with before packing */
    void *data;
    size_t bytes;
    struct Pack *next;
} Pack;

struct Device {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    Budget *budget; /* the session's */
    Device *owner;   /* who holds the packed weights; itself, or another for a device of one lane */
    void *library;   /* scratchpad of the library: one, as large as any primitive needs it */
    size_t library_bytes;
    Pack *packs;
    void *scratch; /* for one kernel while it runs */
    size_t scratch_bytes;
};

#define DNNL_ARGS 16

/* Where an argument's memory comes from at run time. */
typedef enum ArgSource { ARG_IN, ARG_OUT, ARG_FIXED, ARG_SCRATCH } ArgSource;

/* State of every primitive: its arguments and the layouts it asked for. */
typedef struct Primitive {
    Device *device;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[DNNL_ARGS];
    ArgSource source[DNNL_ARGS];
    int index[DNNL_ARGS]; /* of the input or output */
    int count;
    dnnl_memory_desc_t weights; /* the order of DNNL_ARG_WEIGHTS */
    char name[32]; /* the library's, of the code it chose */
    void *owned; /* small constants of this primitive alone (folded biases) */
    Layout take[KERNEL_OPERANDS], make[1];
} Primitive;

Status dnnl_check(dnnl_status_t status, const char *what, Err *err);
Status primitive_new(Device *d, Primitive **out, Err *err);
void primitive_release(void *state);
/* Descriptors of primitives, to be destroyed by the caller; `given`: attributes, or NULL. */
Status desc_create(Device *d, const void *operation, dnnl_primitive_attr_t given, const char *what, dnnl_primitive_desc_t *out, Err *err);
Status reorder_desc_create(Device *d, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, dnnl_primitive_desc_t *out, Err *err);
/* A reorder by itself, with input 0 and output 0. */
Status reorder_make(Device *d, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, Primitive **out, Err *err);
const char *reorder_detail(const void *state); /* the code it came to, for a state of kernel_reorder */
/* Creates the primitive from a descriptor; `md` queries follow. ERR_MEMORY: its scratchpad passes the budget. */
Status primitive_create(Primitive *p, const_dnnl_primitive_desc_t desc, Err *err);
Status primitive_arg(Primitive *p, int arg, const dnnl_memory_desc_t *md, ArgSource source, int index, const void *fixed, Err *err);
Status primitive_run(void *state, const void *const *in, void *const *out, Err *err);

/* Row-major descriptor of a float32 (or other) tensor; false for ranks above 12 or empty shapes. */
bool md_plain(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t *dims);
bool md_typed(const TypeInfo *type, dnnl_memory_desc_t *md);
bool md_any(dnnl_memory_desc_t *md, dnnl_data_type_t type, int rank, const int64_t *dims);
/* The descriptor in which input i of the site is there already. */
bool md_given(const KernelSite *s, int i, dnnl_memory_desc_t *md);
bool layout_is_plain(const Layout *l); /* row-major */
/* Asks for input i, or gives output 0, in the order of md; NULL in the site when that is row-major. */
void site_take(KernelSite *s, Primitive *p, int i, const dnnl_memory_desc_t *md);
void site_make(KernelSite *s, Primitive *p, const dnnl_memory_desc_t *md);
/* The constant `t` of value v, read as `from`, in the order `to`: packed once per device. The pointer lives as long as the device.
 * `data` NULL: t's own bytes; else changed contents, told apart by `variant`. */
Status device_pack(Device *d, ValueId v, uint64_t variant, const void *data, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                   const void **out, Err *err);
/* The same in an order of our own: `fill` writes `bytes` of it, from `user`, where they are not there yet. */
Status device_pack_by(Device *d, ValueId v, uint64_t variant, size_t bytes, void (*fill)(const void *user, void *out), const void *user,
                      const void **out, Err *err);
/* Moves floats, which may lie at any byte, into another order of `bytes`. False: not known how, or no memory; the library is asked then. */
bool pack_floats(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, const void *in, float *out, size_t bytes);
#define PACK_SHARED ((size_t)1 << 20) /* bytes that are worth more than one thread */
/* Packs the weights of value v, given as `data` in the order `plain`, into the order that desc wants (variant as in device_pack), names
 * source, weights and result, and creates p. No bias. */
Status primitive_weighted(Primitive *p, const_dnnl_primitive_desc_t desc, ValueId v, uint64_t variant, const void *data,
                          const dnnl_memory_desc_t *plain, Err *err);

/* Sees to it that device->scratch has at least `bytes`; asked for when a kernel is prepared, read when it runs. */
Status device_scratch(Device *d, size_t bytes, Err *err);

/* A product of rows with a matrix: x[rows, channels] w[channels, filters], or w turned over. */
typedef struct Matrix {
    int64_t rows, channels, filters;
    bool turned; /* weights [filters, channels] */
} Matrix;

/* MatMul and Gemm with constant weights: what they are; whether they are y = x w + bias in float32; the constant row that is added to each,
 * by itself or by the first follower, or NULL; whether `n` is the follower that adds such a row. */
bool matrix_of(const KernelSite *s, Matrix *m);
bool product_accept(const KernelSite *s);
const Tensor *product_bias(const KernelSite *s);
bool product_adds_row(const KernelSite *s, const Node *n);
/* The descriptor of y[rows, filters] = x[rows, channels] w + bias in float32 as a 1x1 convolution, both sides row-major, the weights in the
 * library's order. ERR_UNSUPPORTED: it has a reference only. */
Status product_desc(Device *d, int64_t rows, int64_t channels, int64_t filters, bool biased, dnnl_primitive_attr_t attr,
                    dnnl_primitive_desc_t *out, Err *err);
/* y[rows, filters] = x[rows, channels] w^T + bias with constant weights [filters, channels], part `variant` of value v, and `bias`
 * [filters] or NULL, which the primitive borrows. in[0]: x, out[0]: y. ERR_UNSUPPORTED as product_desc. */
Status product_new(Device *d, ValueId v, uint64_t variant, const float *weights, const float *bias, int64_t rows, int64_t channels,
                   int64_t filters, Primitive **out, Err *err);
/* BatchNormalization right behind a Conv with constants: whether `n` can be folded; the one among the followers (then the first), or NULL;
 * scaled weights and biases, to be freed by the caller, also on failure. */
bool conv_norm_fits(const KernelSite *s, const Node *n);
const Node *conv_norm(const KernelSite *s);
Status conv_fold_norm(const KernelSite *s, const Node *n, float **weights, float **biases);
/* Whether a Conv is one that engine/dnnl_unfold.c takes where the library has no kernel of its own for it. */
bool conv_unfolds(const KernelSite *s);
/* Whether a ConvTranspose is small enough for engine/spread.c. */
bool conv_spreads(const KernelSite *s);
/* Whether `next` may be computed along as a post-operation: an activation, or one addition of a tensor that is made. */
bool site_follows(const KernelSite *s, const Node *next);
/* Whether `n` is an activation that keeps its operand between two bounds, Relu or Clip. */
bool site_bounds(const KernelSite *s, const Node *n, float *low, float *high);
/* Whether an addition is among the followers: its operand is the last input. */
bool site_adds(const KernelSite *s);
/* Attributes for the followers from `from` on; NULL where there are none. An addition becomes a binary operation at place *add_at (-1:
 * none), whose operand lies as `sum`. */
Status followers_attr(const KernelSite *s, int from, const dnnl_memory_desc_t *sum, dnnl_primitive_attr_t *attr, int *add_at);

#endif
