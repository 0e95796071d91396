#include "cmd/measure_options.h"

static const Opt measure_options[] = {
    MEASURE_OPTIONS,
    ENGINE_OPTIONS(MeasureCommand),
    COMMON_OPTIONS(MeasureCommand),
    OPT_END,
};

const Command command_measure = {
    .name = "measure",
    .args = "MODEL",
    .summary = "measure a network: time, size, operations, power, energy, carbon, and accuracy where there are labels",
    .details = "  pare measure net.onnx --data test.npz                    the six measures, of one inference and of 1,000\n"
               "  pare measure net.onnx --batch=8 --threads=4              another way to run it\n"
               "  pare measure net.onnx --grid=France --json               carbon with France's electricity; for a program\n\n"
               "Energy comes from the best source that can be read (pare probe); every figure says which, what it covers and how sure it\n"
               "is. Windows of the network are timed in pairs with itself: that gives the noise of this machine, printed as well.\n",
    .options = measure_options,
    .options_size = sizeof(MeasureCommand),
    .min_args = 1,
    .max_args = 1,
    .run = measure_for_command,
};
