/* What the files of rounding share: the problem as it is solved, and the work of the few rows that are rounded together.
 *
 * A place is a column in the order of rounding, an input is a column as the caller numbers it. Blocks (inputs that share a scale) are
 * contiguous in both. */
#ifndef PARE_QUANTIZE_ROUNDING_PRIVATE_H
#define PARE_QUANTIZE_ROUNDING_PRIVATE_H

#include "quantize/rounding.h"

#define ROUND_KEEP_MOST 4  /* roundings of one row that are improved, the best of which is taken */
#define PAIR_LIMIT 128     /* largest |q0| + |q1| of one sign: 255 x 128 fits 16 bits, 255 x 129 does not */

/* real = scale (q - zero) */
typedef struct Choice {
    float scale;
    int zero;
} Choice;

typedef struct Problem {
    const RoundSpec *spec;
    int64_t rows;
    int width, block, blocks; /* block: inputs of one, the last may be shorter */
    int low, high;         /* the integers allowed */
    const double *target, *h;
    const int32_t *partner; /* NULL where no pair can break the rule */
    Choice whole;          /* the largest magnitude's, where one scale serves the matrix */
    int choices;           /* candidates of each scale */
    const Choice *shared;  /* the candidates of every row where one scale serves the matrix; NULL: each block has its own */
    int *order, *place;    /* [width] input at a place, place of an input */
    int *first, *turn;     /* [blocks + 1] first place of the block rounded in this turn; [blocks] which block that is */
    double *feedback;      /* [width,width] by place, unit lower; NULL: no error is handed on */
    double *weight;        /* [width] by place: the loss is the sum of weight (e + feedback e)^2 */
} Problem;

/* One row with its numbers while it is improved. */
typedef struct Line {
    int64_t row;
    int16_t *q;
    float *scales;    /* [blocks] */
    int16_t *zeros;   /* [blocks] */
    double *e, *g;    /* [width] by input: error of the weights, and H e */
    const double *ht; /* [width] H target; NULL without h */
    double loss;      /* e H e */
} Line;

/* ---- rounding_scales.c ---- */

/* How many candidates scales_fill makes; plain: without moments. */
int scales_count(const RoundSpec *spec, bool paired, bool plain);
/* For values in [low, high], scales at least `least`; the first is that of the largest magnitude, or under the pair rule the one at which
 * the largest sum of two partners of one sign, `together`, is within the limit. All normal and above 0. */
void scales_fill(const Problem *p, double low, double high, double together, double least, Choice *out);
/* The one of the largest magnitude, without regard to pairs. */
Choice scales_widest(const Problem *p, double low, double high, double least);
/* The nearest normal float32 above 0, no smaller than `least`. */
float scale_normal(double scale, double least);
double row_least(const Problem *p, int64_t row);

/* ---- pair_rule.c ---- */

bool pair_safe(int a, int b);
/* Narrows [low, high] for input i of a row to what its partners in q leave it. */
void pair_interval(const Problem *p, const int16_t *q, int i, int *low, int *high);
/* The larger of `together` and |a| + |b| where the signs agree. */
double pair_together(double together, double a, double b);
/* The share of a pair's excess over the limit that the first gives up where weight_a x^2 + weight_b y^2 is to be least. */
double pair_share(double weight_a, double weight_b);
/* Improves pairs that stand at the limit: one up, the other down. Returns how many changed. */
int pair_exchange(const Problem *p, Line *line);

/* ---- gptq.c ---- */

/* Fills order, place, first, turn, feedback and weight. l: a factor of h in the caller's order, used when the one in order of activation
 * cannot be had; may be NULL. */
Status feedback_make(Problem *p, const double *l, Err *err);
void feedback_release(Problem *p);

typedef struct Work Work;
/* For `count` rows at a time, `keep` roundings of each. NULL: no memory. */
Work *work_new(const Problem *p, int count, int keep);
void work_free(Work *w);
/* Rounds `count` rows with every candidate and keeps the `keep` best of each, best first, in lines[count,keep]: q, scales, zeros.
 * losses[count,choices] (may be NULL) receives what each candidate came to. */
void work_round(const Problem *p, Work *w, const int64_t *rows, int count, Line *lines, double *losses);

/* ---- rounding_place.c ---- */

typedef enum PartnerKind {
    PARTNER_NONE,
    PARTNER_APART,   /* in another block, of another scale: each keeps to half the limit */
    PARTNER_TO_COME, /* rounded after this one: asked what it wants */
    PARTNER_ROUNDED, /* rounded before */
} PartnerKind;

typedef struct PlacePartner {
    PartnerKind kind;
    double wanted, share; /* to come: what it wants, and the share of the excess that this one gives up */
    const int16_t *q;     /* rounded: [choices] */
} PlacePartner;

/* One place of one row. */
typedef struct PlaceRound {
    int choices, low, high;
    double target, want, weight;  /* want: before what the places of the block hand on */
    const double *handed, *scale, *inverse, *zero; /* [choices]; inverse of the scale */
    double steepest;              /* the largest inverse */
    PlacePartner partner[2];
    int16_t *q;           /* [choices]; so the others */
    double *error, *loss; /* error is set, loss added to */
} PlaceRound;

/* Rounds it with every candidate, inside what its partners leave. */
void place_round(const PlaceRound *r);
/* sum[count] += f e */
void place_hand(double *sum, const double *e, double f, int64_t count);

/* ---- descent.c ---- */

/* e, g and loss of lines that have q, scales and zeros; e and g of consecutive lines are consecutive in memory. */
void lines_measure(const Problem *p, Line *lines, int count);
/* At most so many sweeps, scales refitted before, between and after them unless `fixed`; e, g and loss are kept true. scratch[width]. */
void line_descend(const Problem *p, Line *line, int sweeps, bool fixed, double *scratch);
/* Steps of two inputs at a time, which single ones cannot reach; width^2 a pass. Not under the pair rule. */
void line_polish(const Problem *p, Line *line, int passes, double *scratch);
/* line_polish where it pays: few bits. */
void line_refine(const Problem *p, Line *line, double *scratch);
/* The sums of the refit of one scale: *top = <target, q>_H, *bottom = <q, q>_H. Needs one block. */
void line_sums(const Problem *p, const Line *line, double *top, double *bottom);

/* ---- adaround.c ---- */

/* Rows whose weights lie between two integers each. */
typedef struct Soft {
    int16_t *base;          /* [count,width] the lower of the two */
    double *v, *h;          /* [count,width] what is learned, and the share of the upper one */
    double *gradient;       /* [count,width] of value by v */
    double *moment;         /* [2,count,width] of the gradient */
    double *value, *unit;   /* [count] */
} Soft;

/* False: no memory; release in every case. */
bool soft_new(int count, int width, Soft *s);
void soft_free(Soft *s);
/* base, v and unit from lines that have q, scales and zeros. */
void soft_start(const Problem *p, const Line *lines, int count, Soft *s);
/* h, value and gradient at v; spoils e and g, which are consecutive. beta > 1. */
void soft_gradient(const Problem *p, Line *lines, int count, double strength, double beta, Soft *s);

/* ---- rounding_rows.c ---- */

#define ROUND_COLUMNS 256 /* rows times candidates rounded together */
#define ROUND_ROWS_MOST 32
#define ROUND_ROWS_LEAST 4

typedef struct Run {
    Problem p;
    Rounded *out;
    int batch, keep;
    double *losses;         /* [rows,choices] of a shared scale's candidates */
    double *loss, *nearest; /* [rows] */
    double *top, *bottom;   /* [rows] sums of the refit of a shared scale */
} Run;

/* What one thread needs for a batch of rows. */
typedef struct Desk {
    Work *work;
    Line *lines;            /* [batch,keep], then [batch] for the nearest roundings */
    int16_t *q, *zeros;
    float *scales;
    double *e, *g, *ht, *scratch, *losses;
    Soft soft;              /* where rounding is learned */
} Desk;

/* One batch: rows[count], count <= run->batch. */
typedef void Task(Run *run, Desk *d, const int64_t *rows, int count);
/* The task over all of rows[count], in batches that do not depend on the number of threads. */
Status each_batch(Run *run, Task *task, const int64_t *rows, int64_t count, int threads, Err *err);
int batch_starts(const Problem *p);

void range_of(const double *v, int64_t count, double *low, double *high);
/* The largest magnitude's scale for one block of a row, or for the matrix. */
Choice widest_of(const Problem *p, int64_t row, int block);
/* Between out and a line. */
void line_of_row(const Run *run, int64_t row, Line *line);
void line_to_row(const Run *run, const Line *line);
/* Plain rounding at the largest magnitude's scale. */
void line_nearest(const Problem *p, int64_t row, Line *line);
/* ht = H target of the rows at hand; spoils e. */
void weigh_targets(const Problem *p, Desk *d, const int64_t *rows, int count);

Task task_rows;    /* rows with scales of their own, from candidates to descent */
Task task_measure; /* loss and nearest of what out holds */
Task task_learn;   /* learned rounding from what out and run->loss hold: a row changes only where its loss falls (adaround.c) */

/* ---- rounding_shared.c ---- */

/* All rows, p->whole filled. */
Status round_shared(Run *run, const int64_t *rows, int threads, Err *err);
double sum_of(const double *v, int64_t count);

#endif
