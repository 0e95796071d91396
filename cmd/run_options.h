/* The options that `pare run` and `pare pass` share: how to run, what to measure, what to write. */
#ifndef PARE_CMD_RUN_OPTIONS_H
#define PARE_CMD_RUN_OPTIONS_H

#include "cmd/source_options.h"
#include "pipeline/runner.h"

typedef struct RunCommand {
    CommonOptions common;
    const char *output, *report, *cache_dir;
    bool json, dry_run, force, steps, no_measure, keep_last_good, no_cache;
    const char *seed, *emissions, *boamps, *history;
    FootprintTexts footprint;
    bool plain;
    int int8;
    SourceOptions source;
    double budget, rest;
    const char *junit;
    const char *goals[GOAL_COUNT]; /* as text, in the order of goal_options */
    bool strict;
    const char *data, *evaluation, *layer; /* pass only */
} RunCommand;

#define RUN_FLAG(key, member, text) { .name = key, .type = OPT_FLAG, .field = offsetof(RunCommand, member), .help = text }
#define RUN_TEXT(key, member, text) { .name = key, .type = OPT_STRING, .field = offsetof(RunCommand, member), .help = text }
#define RUN_OPTIONS \
    RUN_TEXT("output", output, "the network to write, or - for standard output; also -o"), \
    RUN_TEXT("report", report, "folder to write report.json, report.html and report.md into"), \
    RUN_TEXT("emissions", emissions, "CSV file to append a row of CodeCarbon's columns to: what this run itself used"), \
    RUN_TEXT("boamps", boamps, "JSON file to write in the form of BoAmps: an inference of the result"), \
    RUN_TEXT("history", history, "file of one line a run to append this run to, for 'pare history'"), \
    RUN_TEXT("grid", footprint.grid, "electricity that carbon is taken with: Germany, DE, or grams a kWh (default: world)"), \
    RUN_TEXT("grids", footprint.grids, "grids to stand beside it in the report, parted by commas"), \
    RUN_TEXT("pue", footprint.pue, "watts that the data centre draws for each watt of computing (default 1)"), \
    RUN_TEXT("embodied", footprint.embodied, "what making the machine emitted, KG:YEARS or KG:YEARS:SHARE, for SCI"), \
    RUN_TEXT("junit", junit, "file to write the goals into as JUnit XML, for build servers"), \
    { .name = "budget", .type = OPT_FLOAT, .field = offsetof(RunCommand, budget), .fallback = "0", .max = 1e6, .unit = "seconds", \
      .help = "time for measuring; 0: 2, or 10 where energy can be measured" }, \
    { .name = "rest", .type = OPT_FLOAT, .field = offsetof(RunCommand, rest), .fallback = "0", .max = 3600, .unit = "seconds", \
      .help = "at most so long a pause after a round, until the processor is within 2 degrees of its start" }, \
    SOURCE_OPTIONS(RunCommand), \
    RUN_FLAG("dry-run", dry_run, "check recipe, patterns and data, predict size and MACs, write nothing"), \
    RUN_FLAG("json", json, "print the report as JSON"), \
    RUN_FLAG("steps", steps, "measure after every pass"), \
    RUN_FLAG("no-measure", no_measure, "sizes and counts only: no latency, energy, accuracy or deflated size"), \
    RUN_FLAG("keep-last-good", keep_last_good, "when a goal is missed, write the last network that met all of them"), \
    RUN_FLAG("force", force, "let the output replace an input file"), \
    ENGINE_OPTIONS(RunCommand), \
    RUN_TEXT("seed", seed, "of everything random (default: the recipe's, else 0)"), \
    RUN_TEXT("cache-dir", cache_dir, "folder to keep layer statistics in between runs (default: pare in the user's cache folder)"), \
    RUN_FLAG("no-cache", no_cache, "neither read nor keep layer statistics"), \
    RUN_TEXT("max-accuracy-drop", goals[0], "goal: percentage points of accuracy that may be lost"), \
    RUN_TEXT("max-size", goals[1], "goal: bytes of the result: 120000, 120k, 1.5M or 32%"), \
    RUN_TEXT("max-macs", goals[2], "goal: multiply-accumulates: 40M or 50%"), \
    RUN_TEXT("max-latency-ratio", goals[3], "goal: latency after, divided by before"), \
    RUN_TEXT("max-energy-ratio", goals[4], "goal: energy after, divided by before"), \
    RUN_FLAG("strict-goals", strict, "a goal that is inconclusive is missed: it must be shown to be kept")

/* Where layer statistics are kept: --cache-dir, else $XDG_CACHE_HOME/pare, else ~/.cache/pare; NULL: nowhere. */
const char *run_cache_dir(const RunCommand *o, Arena *arena);
/* Runs a recipe for a command: goals of the command line laid over the recipe's, report printed and written. */
Status run_for_command(Call *c, Recipe *recipe, const char *model, Err *err);

#endif
