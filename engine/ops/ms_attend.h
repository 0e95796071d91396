/* The middle of every attention of com.microsoft: softmax(scale q k^T + mask + bias) v per head, and rotary positions. */
#ifndef PARE_ENGINE_OPS_MS_ATTEND_H
#define PARE_ENGINE_OPS_MS_ATTEND_H

#include "engine/ops/ms_common.h"

/* B batch, N heads of queries, G heads of keys and values (N is a multiple), S queries, T keys, C rows kept for T, H and V head sizes. */
typedef struct MsAttend {
    int64_t batch, heads, kv_heads, queries, keys, capacity, head, v_head;
    float *q;          /* [B,N,S,H] */
    float *k, *v;      /* [B,G,C,H], [B,G,C,V] */
    float *mask;       /* [B,S,T], added to the scores; -INFINITY: as if the key were not there; NULL: none */
    const Tensor *bias; /* [B or 1, N or 1, S, T] or NULL */
    float scale;       /* 0: 1 / sqrt(H) */
    float softcap;     /* 0: none */
    bool smooth;       /* the sum of the softmax has one more term, exp(sink) */
    const float *sinks; /* [N]; NULL with smooth: 0 */
    float *out;        /* [B,S,N,V] */
} MsAttend;

/* Checks the bias's shape and that the sizes fit the matrix library; ERR_DATA, ERR_UNSUPPORTED, ERR_MEMORY. */
Status ms_attend(const OpCall *c, const MsAttend *a);

/* mask[B,S,T] of zeros; ERR_MEMORY. */
Status ms_mask_new(const OpCall *c, MsAttend *a);
/* Lays `filter` over the keys that an integer mask shuts out: [B] lengths, [2B] ends and starts, [B,T] or [B,S,T] with 1 for keep. */
Status ms_mask_keys(const OpCall *c, MsAttend *a, const Tensor *mask, float filter);
/* Shuts out the keys after each query, which stands at `past` + its index. */
void ms_mask_causal(MsAttend *a, int64_t past);

/* One row [head] with `pairs` pairs turned by the angles whose cosines and sines are given; interleaved: (2i, 2i + 1), else
 * (i, i + pairs). */
void ms_rotate(float *row, int64_t pairs, const float *cosines, const float *sines, bool interleaved);

#endif
