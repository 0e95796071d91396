/* Rewrites that make a network smaller without changing what it computes: the library behind the pass `fold`, and what `quantize`
 * runs first. Main graph only; subgraphs keep their nodes and see the same values. */
#ifndef PARE_ENGINE_FOLD_H
#define PARE_ENGINE_FOLD_H

#include "engine/engine.h"
#include "graph/edit.h"
#include "graph/pass.h"

typedef struct FoldOptions {
    bool constants;   /* nodes of constants become initializers; Constant nodes too; an If of a constant condition its branch */
    bool shapes;      /* shape arithmetic whose result is known, with a symbolic batch as one 0 or -1 of a Reshape */
    bool identities;  /* nodes that hand their input on */
    bool batchnorm;   /* BatchNormalization into the layer before it */
    bool bias;        /* a constant per-channel Add into the layer before it; MatMul + Add becomes Gemm */
    bool duplicates;  /* equal initializers shared */
    bool dead;        /* what nobody reads is removed */
    uint64_t growth;  /* a folded node may be this many bytes larger than its inputs */
} FoldOptions;

#define FOLD_ALL ((FoldOptions){ true, true, true, true, true, true, true, 65536 })

/* Rewrites g until nothing changes; ops bound before, shapes inferred after. Every change is an entry of `record` (may be NULL), and so is
 * every BatchNormalization that has to stay, with its reason. */
Status fold_graph(Graph *g, const FoldOptions *options, PassRecord *record, Err *err);

/* ---- between the files of the library ---- */

typedef struct Fold {
    Graph *g;
    const FoldOptions *options;
    PassRecord *record;
    int changes; /* in this round */
} Fold;

/* One round of each kind over the whole graph; adds to changes. */
Status fold_constants(Fold *f, Err *err);
Status fold_shapes(Fold *f, Err *err);
Status fold_branches(Fold *f, Err *err);
Status fold_identities(Fold *f, Err *err);
Status fold_affine(Fold *f, Err *err);
/* Names each BatchNormalization that is left and why. */
void fold_affine_report(Fold *f);

void fold_changed(Fold *f, Str object, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Whether every reader of `from` can read `to`: a graph output keeps its name only when `to` is a node's output that is none itself. */
bool fold_can_replace(const Graph *g, ValueId from, ValueId to);
/* v becomes a constant with these contents (the reference is taken over): its node goes, or, where the node has other outputs, the
 * readers of v read a new constant and the node dies later if nobody needs it. */
Status fold_to_constant(Fold *f, ValueId v, Tensor *contents, Err *err);

#endif
