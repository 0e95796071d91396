#!/usr/bin/env bash
# Builds pare against oneDNN 3.x and runs the engine's tests with it: tools/dnnl3.sh [part of a test's name ...]
#
# The default build takes the oneDNN of the system; engine/dnnl_version.h sees which one it is. A 3.x with its headers comes from PyPI,
# into a virtual environment of this build's folder (DNNL3=FOLDER: one that is there already).
set -euo pipefail
cd "$(dirname "$0")/.."
build=build-dnnl3
mkdir -p "$build"
home=${DNNL3:-$PWD/$build/venv}
if [ ! -e "$home/include/dnnl.h" ]; then
    "${PYTHON:-python3}" -m venv "$home"
    "$home/bin/pip" install -q --disable-pip-version-check onednn-cpu-gomp onednn-devel-cpu-gomp
fi
tests=()
for source in tests/ops/test_*.c tests/unit/test_profiling.c; do tests+=("$build/${source%.c}"); done
make --no-print-directory BUILD="$build" CFLAGS="-Werror -I$home/include" LDFLAGS="-L$home/lib -Wl,-rpath,$home/lib" all "${tests[@]}"
ldd "$build/pare" | grep 'libdnnl\.so\.3' >/dev/null || { echo "dnnl3: the program was not linked with a 3.x" >&2; exit 1; }
BUILD=$build tests/run "${@:-ops/}" unit/test_profiling infer profile
