/* The innermost loops of rounding: one weight of one row with all candidates of its scale side by side, so that they fit vectors. */
#include "quantize/rounding_private.h"

#include <math.h>

#include "base/vectors.h"

#define CHUNK 64 /* candidates at a time */

/* Between the ends; NaN goes to the lower one. */
VECTOR_BODY double between(double v, double low, double high)
{
    double up = v > low ? v : low;
    return up < high ? up : high;
}

/* To the nearest integer, halves to even, for |v| < 2^51. */
VECTOR_BODY double nearest(double v)
{
    const double half_turn = 6755399441055744.0; /* 1.5 x 2^52: the last bit of a sum of this size stands for 1 */
    return v + half_turn - half_turn;
}

/* A partner is still to come: q gives up its share of what both are beyond the limit. */
VECTOR_BODY void make_room(const PlaceRound *r, const PlacePartner *other, int from, int n, double *q)
{
    double low = r->low, high = r->high, wants = other->wanted, share = other->share;
    const double *inverse = r->inverse + from;
#pragma omp simd
    for (int c = 0; c < n; c++) {
        double wanted = between(wants * inverse[c], low, high), size = fabs(q[c]);
        double excess = size + fabs(wanted) - PAIR_LIMIT, part = excess * share;
        part = part < size ? part : size;
        part = excess > 0.0 && q[c] * wanted > 0.0 ? nearest(part) : 0.0;
        q[c] -= copysign(part, q[c]);
    }
}

VECTOR_BODY void keep_limits(const PlacePartner *other, int from, int n, double *low, double *high)
{
    const int16_t *q = other->q + from;
#pragma omp simd
    for (int c = 0; c < n; c++) {
        int32_t u = q[c];
        double most = u > 0 ? (double)(PAIR_LIMIT - u) : (double)PAIR_LIMIT;
        double least = u < 0 ? (double)(-PAIR_LIMIT - u) : -(double)PAIR_LIMIT;
        high[c] = high[c] < most ? high[c] : most;
        low[c] = low[c] > least ? low[c] : least;
    }
}

VECTOR_BODY int32_t largest_of(const int16_t *q, int n)
{
    int32_t most = 0;
#pragma omp simd reduction(max : most)
    for (int c = 0; c < n; c++) {
        int32_t size = q[c] < 0 ? -q[c] : q[c];
        most = size > most ? size : most;
    }
    return most;
}

VECTOR_BODY void round_chunk(const PlaceRound *r, int from, int n)
{
    double q[CHUNK], low[CHUNK], high[CHUNK], wanted[CHUNK], least = r->low, most = r->high, want = r->want, target = r->target,
           weight = r->weight, largest = 0.0;
    const double *scale = r->scale + from, *inverse = r->inverse + from, *zero = r->zero + from, *handed = r->handed + from;
    double *error = r->error + from, *loss = r->loss + from;
    int16_t *out = r->q + from;
    for (int side = 0; side < 2; side++) {
        if (r->partner[side].kind != PARTNER_APART) continue;
        most = most < PAIR_LIMIT / 2 ? most : PAIR_LIMIT / 2;
        least = least > -PAIR_LIMIT / 2 ? least : -PAIR_LIMIT / 2;
    }
#pragma omp simd reduction(max : largest)
    for (int c = 0; c < n; c++) {
        wanted[c] = want - handed[c];
        q[c] = nearest(between(wanted[c] * inverse[c], r->low - zero[c], r->high - zero[c])) + zero[c];
        largest = fabs(q[c]) > largest ? fabs(q[c]) : largest;
        low[c] = least;
        high[c] = most;
    }
    for (int side = 0; side < 2; side++) { /* most pairs are far from the limit with every candidate */
        const PlacePartner *other = &r->partner[side];
        if (other->kind == PARTNER_TO_COME && largest + fabs(other->wanted) * r->steepest > PAIR_LIMIT) make_room(r, other, from, n, q);
        if (other->kind == PARTNER_ROUNDED && largest + largest_of(other->q + from, n) > PAIR_LIMIT) keep_limits(other, from, n, low, high);
    }
#pragma omp simd
    for (int c = 0; c < n; c++) {
        double whole = between(q[c], low[c], high[c]), made = (whole - zero[c]) * scale[c], term = made - wanted[c];
        out[c] = (int16_t)(int32_t)whole;
        error[c] = made - target;
        loss[c] += weight * term * term;
    }
}

VECTOR_BODY void round_all(const PlaceRound *r)
{
    for (int from = 0; from < r->choices; from += CHUNK) round_chunk(r, from, r->choices - from < CHUNK ? r->choices - from : CHUNK);
}

VECTOR_BODY void hand_all(double *sum, const double *e, double f, int64_t count)
{
#pragma omp simd
    for (int64_t c = 0; c < count; c++) sum[c] += f * e[c];
}

static void round_any(const PlaceRound *r)
{
    round_all(r);
}

static void hand_any(double *sum, const double *e, double f, int64_t count)
{
    hand_all(sum, e, f, count);
}

VECTOR_AVX2 static void round_avx2(const PlaceRound *r)
{
    round_all(r);
}

VECTOR_AVX2 static void hand_avx2(double *sum, const double *e, double f, int64_t count)
{
    hand_all(sum, e, f, count);
}

void place_round(const PlaceRound *r)
{
    VECTOR_PICK(round)(r);
}

void place_hand(double *sum, const double *e, double f, int64_t count)
{
    VECTOR_PICK(hand)(sum, e, f, count);
}
