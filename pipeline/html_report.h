/* The page that a report becomes: one HTML file with its styles and SVG inside, no script, nothing loaded from elsewhere.
 *
 * It reads the report's JSON tree (docs/report.schema.json) and nothing else, so every command that fills in such a tree has a page:
 *   before, after   the networks; or networks: [ ... ] of the same form with "name" (or "path"), the first one the reference
 *   comparisons     [ { "measure": "latency" or "energy", "network": 1 (index into networks; after is 1), "ratio": { "median", "low",
 *                   "high" }, "ratios": [ ... ] (one a pair), "null": { "low", "high", "ratios": [ ... ] }, "verdict", "source" } ]
 *                   and { "measure": "power", "network", "verdict" }
 *   by_layer        inside a network: [ { "name", "type", "macs", "mac_type", "parameters", "bytes", "milliseconds" } ]
 *   steps, goals, cost, carbon, peaks, data, recipe, seed, versions, machine, sources, warnings
 * A key that is absent or null takes its part of the page with it, or the page says why it is not there. Unknown keys are left alone. */
#ifndef PARE_PIPELINE_HTML_REPORT_H
#define PARE_PIPELINE_HTML_REPORT_H

#include <cjson/cJSON.h>

#include "base/str.h"

/* The whole page. Check out->failed. */
void html_report(const cJSON *report, StrBuf *out);

#endif
