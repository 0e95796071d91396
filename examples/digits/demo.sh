#!/usr/bin/env bash
# Compresses the example network by all families of passes in one run and prints the table of before and after. `make demo` builds first.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
out=$build/demo
mkdir -p "$out"
echo "pare run examples/digits/small.json examples/digits/digits.onnx -o $out/small.onnx --report $out/report/"
"$build/pare" run examples/digits/small.json examples/digits/digits.onnx -o "$out/small.onnx" --report "$out/report/" "$@"
ls -l examples/digits/digits.onnx "$out/small.onnx" | awk '{ printf "%10d bytes  %s\n", $5, $9 }'
