#include "cmd/measure_options.h"
#include "greenness/compare.h"

#define GOAL(i, key, text) { .name = key, .type = OPT_STRING, .field = offsetof(MeasureCommand, goals[i]), .help = text }

static const Opt compare_options[] = {
    MEASURE_OPTIONS,
    { .name = "junit", .type = OPT_STRING, .field = offsetof(MeasureCommand, junit), .unit = "file",
      .help = "file to write the goals into as JUnit XML, for build servers" },
    GOAL(0, "max-accuracy-drop", "goal: percentage points of accuracy that may be lost"),
    GOAL(1, "max-size", "goal: bytes of the network: 120000, 120k, 1.5M or 32% of the first"),
    GOAL(2, "max-macs", "goal: multiply-accumulates: 40M or 50% of the first"),
    GOAL(3, "max-latency-ratio", "goal: run time over the first network's"),
    GOAL(4, "max-energy-ratio", "goal: energy over the first network's"),
    { .name = "strict-goals", .type = OPT_FLAG, .field = offsetof(MeasureCommand, strict),
      .help = "a goal that is inconclusive is missed: it must be shown to be kept" },
    ENGINE_OPTIONS(MeasureCommand),
    COMMON_OPTIONS(MeasureCommand),
    OPT_END,
};

const Command command_compare = {
    .name = "compare",
    .args = "MODEL MODEL...",
    .summary = "measure networks side by side, by any maker, and say what can be told from noise",
    .details = "  pare compare before.onnx after.onnx --data test.npz            six measures, accuracy, ratios with intervals\n"
               "  pare compare a.onnx b.onnx c.onnx --budget=60                  more of them, longer\n"
               "  pare compare a.onnx b.onnx --max-latency-ratio=0.8 --junit=goals.xml\n\n"
               "The others are compared with the first one: their outputs first, then windows of all in random order, the first one twice\n"
               "in every round. A saving is claimed only where the 95 % interval of the ratio excludes 1 and lies outside of what the\n"
               "first network against itself reads; else the verdict is 'inconclusive'.\n\n"
               "Data are found by the names of each network's inputs; a network that they do not name is given, input by input in their\n"
               "order, what one of the others is, and that is said. Without data, networks whose inputs differ in shape are measured, but\n"
               "their outputs are not compared. What cannot be run or does not fit is refused before anything is measured.\n\n"
               "A missed goal gives exit code 5. A ratio misses its goal when the whole 95 % interval lies above the limit by more than\n"
               "the noise of this machine, and meets it when the interval ends at or below the limit; between the two the goal is\n"
               "inconclusive: a warning, 'skipped' in JUnit, exit code 0, or 5 with --strict-goals.\n",
    .options = compare_options,
    .options_size = sizeof(MeasureCommand),
    .min_args = 2,
    .max_args = COMPARE_MOST,
    .run = measure_for_command,
};
