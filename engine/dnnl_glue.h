/* oneDNN: the files engine/dnnl_*.c and their private header are the only ones that name the library. */
#ifndef PARE_ENGINE_DNNL_GLUE_H
#define PARE_ENGINE_DNNL_GLUE_H

#include "engine/budget.h"
#include "engine/kernel.h"

/* Packed weights and scratch memory come out of the budget, which must outlive the device. `owner`: NULL, or a device whose packed weights
 * this one uses and adds to, and which must outlive it; then each may run in a thread of its own once their plans are made. */
Status device_new(Budget *budget, Device *owner, Device **out, Err *err);
/* Whether the library's float32 kernels here are those of AVX2, and so may be our own: the processor has no longer registers, or
 * ONEDNN_MAX_CPU_ISA hides them. */
bool device_is_avx2(void);
void device_free(Device *d); /* NULL is fine; after every state prepared with it */

/* A copy of one value from one order to another; one of `from` and `to` may be NULL (row-major). */
Status reorder_prepare(Device *d, const TypeInfo *type, const Layout *from, const Layout *to, void **state, Err *err);
/* Whether every element lies at the same place in both, which then differ in name alone. */
bool reorder_is_none(const TypeInfo *type, const Layout *from, const Layout *to);
/* The order in which the elements of a value in order `from` (NULL: row-major) are those of its transpose; *out NULL where that is
 * row-major, else to be freed. ERR_UNSUPPORTED: the library cannot describe it. */
Status layout_transpose(const TypeInfo *type, const Layout *from, const int64_t *perm, Layout **out, Err *err);
extern const Kernel kernel_reorder; /* run and release for such a state; never found by kernel_find */

/* The library's name for the code it chose for a state of this kernel; NULL where it is none of its. */
const char *kernel_detail(const Kernel *kernel, const void *state);
/* What a choice between integers and float32 came to and why (dnnl_choice.c); NULL for other kernels. */
const char *choice_text(const Kernel *kernel, const void *state);
bool choice_in_float(const Kernel *kernel, const void *state);

extern const Kernel kernels_conv[], kernels_pool[], kernels_pointwise[], kernels_quantize[], kernels_choice[], kernels_integer[],
    kernels_integer_sums[], kernels_recurrent[], kernels_packed[], kernels_dynamic[], kernels_dynamic_conv[], kernels_unfold[],
    kernels_conv_any[], kernels_window[], kernels_attention[], kernels_rotary[], kernels_direct[], kernels_cut[], kernels_narrow[],
    kernels_spread[], kernels_depthwise[], kernels_few[], kernels_average[];

#endif
