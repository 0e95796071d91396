/* Cross-layer equalization (Nagel, van Baalen, Blankevoort, Welling 2019: Data-Free Quantization Through Weight Equalization and Bias
 * Correction).
 *
 *   y = W2 f(W1 x + b1)   =>   W1' = W1 / s, b1' = b1 / s, W2' = W2 s      f(x / s) = f(x) / s for each channel
 *   s = sqrt(r1 r2) / r2 with r1 = max |row of W1|, r2 = max |columns of W2|: both become sqrt(r1 r2)
 *
 * A layer may stand in two places, as the reader of one and the source of the other: they are worked on in turn. This is done on copies of
 * the weights in double; what is written at the end is one rounding of the given weights times the product of all factors. */
#include "quantize/repairs.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"

#define ROUNDS 20
#define BALANCED 1e-4 /* |log s| at which a place counts as done */

typedef struct Matrix {
    LayerForm form;
    double *w; /* [groups,outputs,width] */
} Matrix;

typedef struct Equalize {
    const Graph *g;
    Places places;
    Factors *factors;    /* [place]: the product so far */
    Matrix *layers;      /* of all places */
    int layer_count;
    int *layer_of;       /* [node]: 1 + index into layers */
    double *rows, *columns; /* of the place at work */
} Equalize;

static Status add_layer(Equalize *e, NodeId node, Err *err)
{
    if (e->layer_of[node] != 0) return OK;
    Matrix *m = &e->layers[e->layer_count];
    TRY(place_form(e->g, node, &m->form, err));
    m->w = alloc_array((size_t)form_weights(&m->form), sizeof *m->w);
    if (m->w == NULL) return err_no_memory(err, "the weights of a layer");
    layer_read_weights(e->g, &m->form, m->w);
    e->layer_of[node] = ++e->layer_count;
    return OK;
}

static Status equalize_begin(Equalize *e, Err *err)
{
    int count = 0;
    int64_t channels = 0;
    for (int i = 0; i < e->places.count; i++) {
        count += 1 + e->places.items[i].reader_count;
        if (e->places.items[i].channels > channels) channels = e->places.items[i].channels;
    }
    e->factors = alloc_zeroed((size_t)e->places.count + 1, sizeof *e->factors);
    e->layers = alloc_zeroed((size_t)count + 1, sizeof *e->layers);
    e->layer_of = alloc_zeroed((size_t)e->g->node_count + 1, sizeof *e->layer_of);
    e->rows = alloc_array((size_t)channels + 1, sizeof *e->rows);
    e->columns = alloc_array((size_t)channels + 1, sizeof *e->columns);
    if (e->factors == NULL || e->layers == NULL || e->layer_of == NULL || e->rows == NULL || e->columns == NULL)
        return err_no_memory(err, "equalization");
    for (int i = 0; i < e->places.count; i++) {
        const Place *p = &e->places.items[i];
        if (p->blocked) continue;
        TRY(factors_new(p, &e->factors[i], err));
        TRY(add_layer(e, p->source, err));
        for (int k = 0; k < p->reader_count; k++) TRY(add_layer(e, p->readers[k].node, err));
    }
    return OK;
}

static void equalize_end(Equalize *e)
{
    for (int i = 0; e->factors != NULL && i < e->places.count; i++) factors_release(&e->factors[i]);
    for (int i = 0; e->layers != NULL && i <= e->layer_count; i++) free(e->layers[i].w);
    free(e->factors);
    free(e->layers);
    free(e->layer_of);
    free(e->rows);
    free(e->columns);
    places_release(&e->places);
}

/* The weights that the channels of the place meet in its readers: times s or, with NULL, the largest magnitudes into columns. */
static void each_column(Equalize *e, const Place *p, const double *s)
{
    for (int i = 0; i < p->reader_count; i++) {
        Matrix *m = &e->layers[e->layer_of[p->readers[i].node] - 1];
        const int32_t *channel = p->spreads[p->readers[i].spread].channel;
        double *w = m->w;
        for (int64_t k = 0; k < m->form.groups; k++)
            for (int64_t o = 0; o < m->form.outputs; o++)
                for (int64_t j = 0; j < m->form.width; j++, w++) {
                    int32_t c = channel[form_channel(&m->form, k, j)];
                    if (c < 0) continue;
                    if (s != NULL) *w *= s[c];
                    else e->columns[c] = fmax(e->columns[c], fabs(*w));
                }
    }
}

static void measure(Equalize *e, const Place *p)
{
    const Matrix *m = &e->layers[e->layer_of[p->source] - 1];
    for (int64_t c = 0; c < p->channels; c++) {
        e->rows[c] = e->columns[c] = 0.0;
        for (int64_t j = 0; j < m->form.width; j++) e->rows[c] = fmax(e->rows[c], fabs(m->w[c * m->form.width + j]));
    }
    each_column(e, p, NULL);
}

/* One step at one place; the largest |log s|. False: what a Clip sees is not known. */
static bool balance_place(Equalize *e, int at, const ChannelRanges *ranges, double *moved)
{
    const Place *p = &e->places.items[at];
    Factors *f = &e->factors[at];
    Matrix *m = &e->layers[e->layer_of[p->source] - 1];
    measure(e, p);
    double *s = e->columns;
    for (int64_t c = 0; c < p->channels; c++) {
        double old = f->s[c], step = sqrt(e->rows[c] / e->columns[c]);
        f->s[c] = step > 0.0 && isfinite(step) ? old * step : old; /* zeros, or weights that are no numbers: as they are */
        s[c] = old;
    }
    if (!place_bound(p, ranges, f->s, f->relu)) return false;
    for (int64_t c = 0; c < p->channels; c++) {
        s[c] = f->s[c] / s[c];
        *moved = fmax(*moved, fabs(log(s[c])));
        for (int64_t j = 0; j < m->form.width; j++) m->w[c * m->form.width + j] /= s[c];
    }
    each_column(e, p, s);
    return true;
}

static Status equalize_write(Equalize *e, Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    for (int i = 0; i < e->places.count; i++) {
        const Place *p = &e->places.items[i];
        if (p->blocked) record_blocked(g, p, record);
        if (p->blocked || !factors_matter(p, e->factors[i].s)) continue;
        TRY(factors_apply(g, p, &e->factors[i], ranges, "equalized", record, err));
        (*changed)++;
    }
    return OK;
}

Status equalize_graph(Graph *g, ChannelRanges *ranges, PassRecord *record, int *changed, Err *err)
{
    Status status;
    Equalize e = { .g = g };
    *changed = 0;
    TRY(places_find(g, PLACE_LAYER, &e.places, err));
    TRY_OUT(equalize_begin(&e, err));
    double moved = INFINITY;
    for (int round = 0; round < ROUNDS && moved > BALANCED; round++) {
        moved = 0.0;
        for (int i = 0; i < e.places.count; i++) {
            Place *p = &e.places.items[i];
            if (p->blocked || balance_place(&e, i, ranges, &moved)) continue;
            p->blocked = true;
            p->obstacle = "whether the data reaches the upper end of a Clip is not known: it takes calibration data";
        }
    }
    TRY_OUT(equalize_write(&e, g, ranges, record, changed, err));
out:
    equalize_end(&e);
    return status;
}
