/* Values from one order of elements to another: images out of blocks of eight channels and into them by engine/blocks.c, which is done
 * before the library's reorder has begun; everything else by that. Orders that differ in name alone need no copy. */
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/blocks.h"
#include "engine/dnnl_private.h"

#define RANK 4
#define BLOCK 8

typedef struct Reorder {
    Primitive *library; /* or NULL: blocks */
    Blocks blocks;
} Reorder;

/* The axes but for `channel` by their steps: columns, rows, images. */
static void sort_axes(const dnnl_dim_t *steps, int channel, int axes[3])
{
    for (int i = 0; i < RANK; i++) {
        int smaller = 0;
        for (int k = 0; k < RANK; k++) smaller += k != channel && (steps[k] < steps[i] || (steps[k] == steps[i] && k > i));
        if (i != channel) axes[smaller] = i;
    }
}

/* Whether `plain` has the elements of `blocked`, eight of an axis innermost, as engine/blocks.c takes them. */
static bool blocks_of(const dnnl_memory_desc_t *blocked, const dnnl_memory_desc_t *plain, Blocks *b)
{
    int channel, axes[3] = { 0 };
    const dnnl_dim_t *to = memory_strides(plain), *from = memory_blocks(blocked, BLOCK, &channel);
    if (to == NULL || from == NULL || blocked->ndims != RANK) return false;
    if (blocked->data_type != dnnl_f32 || plain->data_type != dnnl_f32) return false;
    sort_axes(from, channel, axes);
    int64_t channels = blocked->dims[channel], columns = blocked->dims[axes[0]], rows = blocked->dims[axes[1]], pixels = columns * rows;
    int64_t images = blocked->dims[axes[2]], blocks = (channels + BLOCK - 1) / BLOCK;
    if ((columns > 1 && from[axes[0]] != BLOCK) || (rows > 1 && from[axes[1]] != BLOCK * columns)) return false;
    if ((blocks > 1 && from[channel] != BLOCK * pixels) || (images > 1 && from[axes[2]] != BLOCK * pixels * blocks)) return false;
    if (columns > 1 && rows > 1 && to[axes[1]] != columns * to[axes[0]]) return false;
    *b = (Blocks){ .images = images, .channels = channels, .pixels = pixels, .image = to[axes[2]], .channel = to[channel],
                   .pixel = pixels == 1 ? 0 : columns > 1 ? to[axes[0]] : to[axes[1]] };
    return b->pixel == 1 || b->channel == 1;
}

static bool describe(const TypeInfo *type, const Layout *l, dnnl_memory_desc_t *md)
{
    if (l == NULL) return md_typed(type, md);
    *md = l->md;
    return true;
}

bool reorder_is_none(const TypeInfo *type, const Layout *from, const Layout *to)
{
    dnnl_memory_desc_t a, b;
    if (!describe(type, from, &a) || !describe(type, to, &b)) return false;
    if (dnnl_memory_desc_get_size(&a) != dnnl_memory_desc_get_size(&b)) return false;
    int64_t longest = 1;
    for (int i = 0; i < a.ndims; i++) longest = a.dims[i] > longest ? a.dims[i] : longest;
    int64_t *places = alloc_array((size_t)longest, 2 * sizeof *places);
    bool same = places != NULL;
    for (int i = 0; i < a.ndims && same; i++) {
        if (a.dims[i] == 1) continue;
        same = memory_places(&a, i, places) && memory_places(&b, i, places + longest);
        for (int64_t k = 0; k < a.dims[i] && same; k++) same = places[k] == places[longest + k];
    }
    free(places);
    return same;
}

static void reorder_release(void *state)
{
    Reorder *r = state;
    if (r == NULL) return;
    primitive_release(r->library);
    free(r);
}

Status reorder_prepare(Device *d, const TypeInfo *type, const Layout *from, const Layout *to, void **state, Err *err)
{
    dnnl_memory_desc_t a, b;
    if (!describe(type, from, &a) || !describe(type, to, &b))
        return err_set(err, ERR_BUG, "a reorder of a tensor that oneDNN cannot describe");
    Reorder *r = alloc_zeroed(1, sizeof *r);
    if (r == NULL) return err_no_memory(err, "kernel state");
    Status status = OK;
    if (blocks_of(&b, &a, &r->blocks)) r->blocks.packs = true;
    else if (!blocks_of(&a, &b, &r->blocks)) status = reorder_make(d, &a, &b, &r->library, err);
    if (status != OK) reorder_release(r);
    else *state = r;
    return status;
}

static Status reorder_run(void *state, const void *const *in, void *const *out, Err *err)
{
    const Reorder *r = state;
    if (r->library != NULL) return primitive_run(r->library, in, out, err);
    blocks_run(&r->blocks, in[0], out[0]);
    return OK;
}

const char *reorder_detail(const void *state)
{
    const Reorder *r = state;
    return r->library != NULL ? r->library->name : "blocks";
}

const Kernel kernel_reorder = { .name = "reorder", .run = reorder_run, .release = reorder_release };
