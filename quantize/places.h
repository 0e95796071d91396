/* Places where channels can be rescaled without changing what the network computes: somebody makes the channels (a weighted layer, the
 * vector of a normalisation), operators that commute with positive factors carry them on, and all of them end in weighted layers.
 *
 *   source / s  ->  Relu, pools, Reshape, Transpose, products with anything else ...  ->  s * columns of the weights
 *
 * What is added on the way (biases) is divided too. Where the channels meet an addition of activations, an output of the network or a
 * function that does not commute, there is no place. */
#ifndef PARE_QUANTIZE_PLACES_H
#define PARE_QUANTIZE_PLACES_H

#include "graph/pass.h"
#include "stats/channel_ranges.h"
#include "stats/form.h"

/* How the channels lie in one value: along the axes of the mask, in a table over these axes (row-major); -1: not of this place. */
typedef struct Spread {
    ValueId value;
    unsigned axes;
    int64_t count;
    int32_t *channel; /* [count] */
} Spread;

typedef enum PlaceKind {
    PLACE_LAYER = 1,  /* rows of a weighted layer */
    PLACE_VECTOR = 2, /* the constant vectors of a normalisation, or of a product with one */
    PLACE_INPUT = 4,  /* the input of matrix products, by a Mul to be put before them (smooth.c) */
} PlaceKind;

typedef struct PlaceReader {
    NodeId node;
    int spread;       /* of its input: channel[input channel] */
    bool depthwise;   /* a convolution with one input channel per group */
} PlaceReader;

typedef struct PlaceShift { /* a constant added on the way */
    NodeId node;
    int input, spread; /* which input it is; of the sum */
} PlaceShift;

typedef struct PlaceClip { /* Clip from 0 to high */
    NodeId node;
    int spread; /* of its input */
    double high;
} PlaceClip;

typedef struct Place {
    PlaceKind kind;
    NodeId source;
    int scale_input, shift_input; /* PLACE_VECTOR: inputs of the source that hold the vectors; shift_input 0: none */
    int64_t channels;
    Spread *spreads; /* the values that carry the channels, in the order in which they were reached; the first is the source's output */
    PlaceReader *readers;
    PlaceShift *shifts;
    PlaceClip *clips;
    int *gates;      /* spreads that go into an operator which is linear for positive values only */
    int spread_count, reader_count, shift_count, clip_count, gate_count;
    bool movable;    /* a constant added to the source's channels arrives at the readers unchanged, where the gates let it pass */
    bool blocked;    /* it would be a place, but for `obstacle` */
    const char *obstacle; /* literal; NULL: it can be rescaled */
    NodeId at;       /* where the obstacle is */
} Place;

typedef struct Places {
    Place *items;
    int count, capacity;
} Places;

/* Those of the kinds asked for that have no obstacle or are blocked, in topological order of their sources. Ops bound, shapes inferred;
 * main graph only. Ids stay good in clones, and after other places were rescaled. */
Status places_find(const Graph *g, unsigned kinds, Places *out, Err *err);
void places_release(Places *p);
void place_release(Place *p);
Str place_label(const Graph *g, const Place *p); /* of the source */

/* Divides channel c of the source by s[c] > 0 and multiplies the readers' columns by it. The measured ranges follow (may be NULL). */
Status place_rescale(Graph *g, const Place *p, const double *s, ChannelRanges *ranges, Err *err);
/* What the Clips on the way allow. Where none of a Clip's channels reached its upper end on the calibration data, `relu` is set for it and
 * it is free; else s[c] becomes 1 for the channels that did and is raised for the others, so far that they stay below. False: nothing
 * is known about its input. `relu`: [clip_count]. */
bool place_bound(const Place *p, const ChannelRanges *ranges, double *s, bool *relu);
/* Makes the Clips of the list Relus. */
Status place_drop_clips(Graph *g, const Place *p, const bool *relu, Err *err);

/* max |.| of the readers' inputs, of their weights' columns, for each channel of the place. False:
 * not measured. */
bool place_input_peaks(const Place *p, const ChannelRanges *ranges, double *peak);
Status place_column_peaks(const Graph *g, const Place *p, double *peak, Err *err);
/* Smallest value that goes into the gates (without gates: into the readers), for each channel; false: not measured. `deviations` >= 0: the
 * mean less so many standard deviations instead. */
bool place_lowest(const Place *p, const ChannelRanges *ranges, double deviations, double *lowest);
/* The layer at a node with its present bias. ERR_BUG: there is none. */
Status place_form(const Graph *g, NodeId node, LayerForm *out, Err *err);
/* The input channel that a column of a group reads. */
static inline int64_t form_channel(const LayerForm *f, int64_t group, int64_t column)
{
    return group * (f->width / f->taps) + column / f->taps;
}

/* The only axis of a spread, -1 when it has several. */
int spread_axis(const Spread *s);
/* What to measure for these places; malloc'ed. */
Status places_values(const Places *p, ChannelAxis **out, int *count, Err *err);

#endif
