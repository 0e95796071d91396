#!/usr/bin/env bash
# Generates the pages of docs/ that come from the tables. `make docs` builds the program first.
set -euo pipefail
cd "$(dirname "$0")/.."
pare=${BUILD:-build}/pare
put() {
    "$pare" docs "$1" >"docs/$2.new"
    mv "docs/$2.new" "docs/$2"
}
put passes passes.md
put ops ops.md
put formats formats.md
put recipe-schema recipe.schema.json
put report-schema report.schema.json
put profile-schema profile.schema.json
put measure-schema measure.schema.json
put man pare.1
