/* What `pare measure` and `pare compare` share. */
#ifndef PARE_CMD_MEASURE_OPTIONS_H
#define PARE_CMD_MEASURE_OPTIONS_H

#include "cmd/source_options.h"
#include "pipeline/footprint.h"
#include "pipeline/goals.h"

typedef struct MeasureCommand {
    CommonOptions common;
    const char *data, *report, *junit, *history, *emissions, *boamps;
    bool json, plain;
    int int8;
    int64_t batch, seed;
    double budget, rest;
    SourceOptions source;
    FootprintTexts footprint;
    const char *goals[GOAL_COUNT]; /* compare only; in the order of goal_options */
    bool strict;                   /* compare only */
} MeasureCommand;

#define MEASURE_TEXT(key, member, text) { .name = key, .type = OPT_STRING, .field = offsetof(MeasureCommand, member), .help = text }
#define MEASURE_OPTIONS \
    { .name = "data", .type = OPT_STRING, .field = offsetof(MeasureCommand, data), \
      .help = "inputs, and labels for accuracy: an .npz, a folder or a .json data section (default: seeded random inputs)" }, \
    { .name = "batch", .type = OPT_INT, .field = offsetof(MeasureCommand, batch), .fallback = "0", .min = 0, .max = 1e6, \
      .unit = "samples", .help = "inferences of one call; 0: 1, or what the network fixes" }, \
    { .name = "budget", .type = OPT_FLOAT, .field = offsetof(MeasureCommand, budget), .fallback = "0", .min = 0, .max = 1e6, \
      .unit = "seconds", .help = "time for measuring; 0: 8 to 20, by the slowest network" }, \
    { .name = "rest", .type = OPT_FLOAT, .field = offsetof(MeasureCommand, rest), .fallback = "0", .min = 0, .max = 3600, \
      .unit = "seconds", .help = "at most so long a pause after a round, until the processor is within 2 degrees of its start" }, \
    { .name = "seed", .type = OPT_INT, .field = offsetof(MeasureCommand, seed), .fallback = "0", .min = 0, .max = 9007199254740992.0, \
      .help = "of the order of windows, intervals and random inputs" }, \
    { .name = "json", .type = OPT_FLAG, .field = offsetof(MeasureCommand, json), .help = "one JSON object instead of text" }, \
    { .name = "report", .type = OPT_STRING, .field = offsetof(MeasureCommand, report), .unit = "folder", \
      .help = "folder to write report.json, report.html and report.md into" }, \
    MEASURE_TEXT("history", history, \
                 "file of one line a network to append to, for 'pare history'; of the first one only where it is alone"), \
    { .name = "emissions", .type = OPT_STRING, .field = offsetof(MeasureCommand, emissions), .unit = "file", \
      .help = "file to append a row for 1,000 inferences of each network to, as CodeCarbon's emissions.csv" }, \
    { .name = "boamps", .type = OPT_STRING, .field = offsetof(MeasureCommand, boamps), .unit = "file", \
      .help = "file to write 1,000 inferences of the last network into, as BoAmps JSON" }, \
    MEASURE_TEXT("grid", footprint.grid, "electricity that carbon is taken with: Germany, DE, or grams a kWh (default: world)"), \
    MEASURE_TEXT("grids", footprint.grids, "grids to stand beside it in the report, parted by commas"), \
    MEASURE_TEXT("pue", footprint.pue, "watts that the data centre draws for each watt of computing (default 1)"), \
    MEASURE_TEXT("embodied", footprint.embodied, "what making the machine emitted, KG:YEARS or KG:YEARS:SHARE, for SCI"), \
    SOURCE_OPTIONS(MeasureCommand)

/* Measures the networks that are the command's arguments, prints and writes what was asked for. */
Status measure_for_command(Call *c, Err *err);

#endif
