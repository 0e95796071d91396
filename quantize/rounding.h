/* Rounding one weight matrix to integers by what the layer's outputs lose.
 *
 *   loss(W') = tr (W' - T) H (W' - T)^T / count        H = sum x x^T of the inputs that the layer will really have (centred, damped),
 *                                                      T = the weights the layer should have (W, or W* towards the original outputs)
 *   w' = scale (q - zero)       one scale and zero point for each row, for each block of a row, or for the whole matrix
 *
 * Scales and zero points are chosen from candidates by the loss after rounding; rounding goes column by column and hands its error on to
 * the columns not rounded yet (GPTQ), then sweeps of coordinate descent lower the loss further, scales refitted between sweeps.
 * Everything in double, the same bytes for any number of threads: a row is one thread's.
 * Frantar et al., GPTQ, ICLR 2023; Frantar and Alistarh, Optimal Brain Compression, NeurIPS 2022. */
#ifndef PARE_QUANTIZE_ROUNDING_H
#define PARE_QUANTIZE_ROUNDING_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum RoundMethod {
    ROUND_NEAREST, /* scales by the candidates' loss, integers nearest */
    ROUND_GPTQ,    /* and error handed on, coordinate descent */
} RoundMethod;

typedef struct RoundSpec {
    int bits;           /* 2 to 8: symmetric [-(2^(b-1) - 1), 2^(b-1) - 1], else [0, 2^b - 1] with a zero point inside */
    bool symmetric;
    bool restricted;    /* symmetric only, false: the full range [-2^(b-1), 2^(b-1) - 1] may be used */
    int64_t block;      /* inputs that share a scale; 0: the row (one output channel); -1: the whole matrix */
    const int32_t *partner; /* [2,width]: inputs whose products with i are added in 16 bits (grid.h); -1: none. NULL: no pair rule */
    RoundMethod method;
    int clips;          /* candidates of the scale below the largest magnitude's; 1: that one only */
    bool coarse;        /* no more of them than the pair rule needs: a quick look */
    int sweeps;         /* of coordinate descent after rounding */
    int learned;        /* iterations of learned rounding after that, ROUND_GPTQ with h only; 0: none */
    bool keep_grid;     /* weights that lie on an integer grid already keep it (grid_find) */
    const double *least; /* [rows] smallest scale allowed (int32 biases), NULL: none */
} RoundSpec;

/* rows x width integers with their scales; owned, rounded_release. */
typedef struct Rounded {
    int64_t rows, width, blocks; /* blocks of a row: 1 with one scale for each row or for all */
    int64_t block;   /* inputs of a block, the last may have fewer */
    int16_t *q;      /* [rows,width] */
    float *scales;   /* [rows,blocks]; all the same where one scale serves the matrix */
    int16_t *zeros;  /* [rows,blocks] */
    double loss, loss_nearest; /* of what is here, and of plain nearest rounding at the largest magnitude's scale; 0 without H */
    double loss_found; /* loss before learned rounding; as loss where there was none */
    double enlarged; /* largest ratio of a scale to the one without the pair rule */
    bool kept_grid;  /* an old grid was found and kept in every row */
} Rounded;

/* target[rows,width]; h[width,width] symmetric, damped (solve_factor's g), NULL: the identity; l its Cholesky factor as solve_factor
 * gives it, NULL with h. Values must be finite. ERR_USAGE: bits out of range. Release in every case. */
Status round_matrix(const RoundSpec *spec, int64_t rows, int64_t width, const double *target, const double *h, const double *l, int threads,
                    Rounded *out, Err *err);
void rounded_release(Rounded *r);
/* w[rows,width] = scale (q - zero). */
void rounded_values(const Rounded *r, double *w);

/* The scale of an integer grid that the row lies on already: every element within 1e-3 of a step of a multiple, largest magnitude at most
 * `limit` steps, at least 8 different multiples. 0: none. */
double grid_find(const double *row, int64_t count, int limit);

#endif
