/* The measuring protocol: networks side by side, or one alone.
 *
 *   source opened best first, the same for all; idle baseline; warm-up; then round after round: one window of each network, and one more of
 *   the first, in an order drawn anew; idle baseline again, in long runs in the middle, too: what is above idle follows its drift.
 *   A window is as many calls as the source's resolution and the clock need. All windows together are held against what the source tells
 *   of the whole, the domains of RAPL against those that hold them.
 *
 * Every round gives one pair for each network (its window / the first network's) and one pair of the first network with itself. The latter
 * say how far from 1 the medians of as many pairs come by chance: the null band. A saving or a loss is claimed only where the 95 %
 * interval of the ratio excludes 1 and lies outside that band; else the verdict is "inconclusive". Rounds go on until every interval is
 * narrower than 2 % or the budget is spent. Energy of a source that only follows CPU time claims a difference where run time does, and
 * power where run time and energy both do and the intervals of the two powers do not meet. A window that the source drops loses its
 * round's pairs of that quantity; nothing is invented.
 *
 * The budget bounds all of it, first calls, warm-up (a twentieth for each network), baselines and rests included: a round is begun only
 * while what is left holds one as long as the round before and the last baseline. So it is passed by less than a round, and beyond that
 * only by the three rounds that there are at least, or by the wait for a meter's log. By default 8 s for calls up to 3.2 ms, 20 s from
 * 8 ms.
 *
 * What measuring takes of a window is the time from the first look at the clock to the beginning of the work and from its end to the last
 * look, with what polls took between; stated as the share in the quickest tenth of the windows, and warned of above 1 %.
 *
 * Clocks, CPU time, sleep, sources and the networks themselves are injected: tests turn them by hand. */
#ifndef PARE_GREENNESS_COMPARE_H
#define PARE_GREENNESS_COMPARE_H

#include "greenness/carbon.h"
#include "greenness/environment.h"
#include "greenness/source.h"

#define COMPARE_MOST 16 /* networks */
#define COMPARE_CLAIM_PAIRS 6 /* fewer that all point one way are chance once in 16 or more often */

/* One network, warm or not: `call` runs it once on one batch. An error ends the comparison. */
typedef struct Contestant {
    const char *name;
    void *context;
    Status (*call)(void *context, Err *err);
    int64_t batch;  /* inferences of one call; every figure below is of one inference */
    Work work;      /* of one call, cpu_seconds aside: for models */
} Contestant;

typedef struct CompareOptions {
    SourceSettings source;                        /* clock and context too */
    double (*cpu)(void *context);                 /* CPU seconds so far; NULL: of this process */
    void (*sleep)(void *context, double seconds); /* NULL: of the system */
    double budget;          /* seconds for all of it; 0: 8 to 20, by the slowest call; 60 for very slow ones */
    bool stretch;           /* a budget too short for three rounds grows; else it is refused */
    double precision;       /* width of a ratio's 95 % interval at which to stop; 0: 0.02 */
    int min_rounds;         /* 0: 15 */
    uint64_t seed;
    int threads;            /* stated, and for the estimates; already set */
    int64_t memory_bytes;   /* peak, for the estimates; 0: not known */
    const GridFactor *grid; /* NULL: the world */
    double grid_g_per_kwh;  /* as given by the user: before `grid`; 0: not given */
    double pue;             /* 0: 1.0 */
    const Embodied *embodied; /* NULL: not given */
    double rest;            /* seconds at most to wait after a round until the processor is within 2 degrees of its start; 0: no rests */
    bool time_only;         /* no energy: neither source nor idle baseline */
    Log *log;
} CompareOptions;

#define VERDICT_LIST(X) \
    X(VERDICT_NONE, "not measured") \
    X(VERDICT_LESS, "lower") \
    X(VERDICT_MORE, "higher") \
    X(VERDICT_INCONCLUSIVE, "inconclusive")

typedef enum Verdict {
#define X(name, text) name,
    VERDICT_LIST(X)
#undef X
} Verdict;

const char *verdict_text(Verdict v);

/* The network's figure over the first network's, pair by pair. NaN: no pairs. */
typedef struct Ratio {
    double median, low, high; /* 95 % seeded bootstrap interval of the median */
    double without_outliers;  /* the median when the flagged pairs are left out */
    double p;                 /* Wilcoxon signed-rank, two-sided: chance of such pairs without a difference */
    int pairs, outliers;      /* outliers are over 5 median deviations off; flagged, not deleted */
    Verdict verdict;
} Ratio;

/* What the first network against itself gave. */
typedef struct NullBand {
    double low, high;               /* ratios within it are noise */
    double median, own_low, own_high; /* of the null pairs; an own interval without 1 makes the whole unstable */
    int pairs;                      /* 0: no band; below COMPARE_CLAIM_PAIRS nothing is claimed from it */
    bool stable;
} NullBand;

/* One round's pair, for plots. NaN: lost. */
typedef struct PairPoint {
    double time, energy;            /* ratios to the first network's window; to its second window for the first network itself */
    bool time_outlier, energy_outlier;
} PairPoint;

/* All of one inference. NaN: not measured. */
typedef struct Compared {
    const char *name;
    int64_t batch, calls;           /* inferences of a call, calls of a window */
    Interval seconds, cpu_seconds;
    Interval energy_j;              /* gross: with what the machine draws anyway */
    Interval net_j;                 /* above idle */
    Interval watts;                 /* while running */
    Sourced carbon_g;               /* of the gross energy */
    Sci sci;
    Sourced green_algorithms_j, time_tdp_j; /* estimates of others, to stand beside; models */
    Ratio time, cpu, energy, net;   /* to the first network; of the first itself all NaN */
    Verdict power;                  /* of `watts` against the first network's; no pairs of its own */
    PairPoint *pairs;               /* one for each round */
    int pair_count;
} Compared;

/* Where energies came from; empty id: none were asked for. */
typedef struct EnergySource {
    char id[16], title[64], provenance[32], label[96], boundary[96], resolution[96], note[SOURCE_TEXT];
    char uncertainty[32];           /* of absolute figures: "+-10 %", "x/: 2" */
    char text[SOURCE_TEXT];         /* all in a line */
    double factor;
    bool measured, proportional;    /* proportional: its ratios are those of CPU time */
} EnergySource;

#define STOP_LIST(X) \
    X(STOP_PRECISE, "precise enough") \
    X(STOP_BUDGET, "budget spent") \
    X(STOP_MOST, "most rounds done")

typedef enum StopReason {
#define X(name, text) name,
    STOP_LIST(X)
#undef X
} StopReason;

const char *stop_text(StopReason r);

typedef struct Comparison {
    Compared *networks;             /* in the order given; the first is what the others are compared with */
    int count;
    EnergySource source;
    NullBand null_time, null_cpu, null_energy, null_net;
    double idle_before_w, idle_after_w, idle_seconds; /* NaN: not measured */
    double idle_middle_w;           /* of a long run */
    double idle_drift;              /* (most - least) / mean of these */
    double windows_j, whole_j;      /* all windows that were read, and what the source told of all rounds; NaN: not told */
    double cores_share;             /* core and uncore of RAPL as a share of their package, the largest; NaN: no such domains */
    double platform_share;          /* packages and dram as a share of psys */
    int rests, throttled_rounds;    /* pauses for the heat; rounds in which the processor slowed itself down; both with `rest` only */
    double rest_seconds, celsius_most;
    double window_seconds;          /* aimed at */
    int rounds, warm_up_windows;
    int dropped_time, dropped_energy; /* rounds whose pairs were lost */
    char dropped_reason[SOURCE_TEXT]; /* of the last one */
    double budget, spent;           /* seconds */
    StopReason stopped;
    double read_seconds;            /* of clocks and source, both ends of a window */
    double overhead;                /* share of the windows that went into measuring */
    int threads;
    uint64_t seed;
    GridFactor grid;                /* region and texts borrowed from a table; as given by the user: region "as given" */
    double pue;
    Environment environment;
    Warnings warnings;
} Comparison;

/* ERR_USAGE: one inference does not fit into the budget, and how much would do. ERR_DATA: no window could be used, with the reason; a
 * meter log that was named cannot be used. What a network returns is passed on with its name. `out` is filled when OK. */
Status compare_networks(const Contestant *contestants, int count, const CompareOptions *options, Comparison *out, Err *err);
void comparison_release(Comparison *c);
void compared_init(Compared *n); /* nothing measured */

#endif
