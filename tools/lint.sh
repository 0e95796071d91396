#!/usr/bin/env bash
# The rules a script can check: includes point down only, file and line lengths, names, what code below cmd/ may call, warnings.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
git ls-files >/dev/null || { echo "lint: needs the files that git knows" >&2; exit 1; }
failures=0
fail() { printf '%s\n' "$*"; failures=$((failures + 1)); }
sources() { git ls-files -co --exclude-standard -- "$@" | grep -E '\.(c|h)$' || true; }

# folder -> the folders it may include from (itself always)
declare -A may=(
    [include]="" [base]="" [graph]="base" [formats]="graph base" [data]="formats graph base" [engine]="graph base"
    [stats]="engine data graph base"
    [fold]="stats engine data graph base" [prune]="stats engine data graph base" [quantize]="stats engine data graph base"
    [lowrank]="stats engine data graph base" [distill]="stats engine data graph base"
    [greenness]="engine graph base"
    [pipeline]="greenness fold prune quantize lowrank distill stats engine data formats graph base include"
    [cmd]="pipeline greenness fold prune quantize lowrank distill stats engine data formats graph base include"
)
for file in $(sources base graph formats data engine stats fold prune quantize lowrank distill greenness pipeline cmd include); do
    room=${file%%/*}
    while read -r header; do
        from=${header%%/*}
        case " $room ${may[$room]} " in
            *" $from "*) ;;
            *) fail "$file includes $header: $room may include from: ${may[$room]}" ;;
        esac
    done < <(sed -nE 's/^#include "([^"]+)".*/\1/p' "$file" | grep / | grep -v '^onnx.pb-c')
done

for file in $(sources .); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || fail "$file: $lines lines; split it along a seam that has a name (600 at most)"
    awk -v f="$file" 'length($0) > 140 { printf "%s:%d: %d columns (140 at most)\n", f, NR, length($0); bad = 1 } END { exit bad }' "$file" || failures=$((failures + 1))
done

library="base graph formats data engine stats fold prune quantize lowrank distill greenness pipeline"
# shellcheck disable=SC2086
if grep -nE '(^|[^_[:alnum:]])(exit|abort|printf|puts|putchar)[[:space:]]*\(' $(sources $library) | grep -vE ':[[:space:]]*(/?\*|//)'; then
    fail "the library must not exit or print (cmd/ does)"
fi
# shellcheck disable=SC2086
if grep -nE '\b(strcpy|strcat|sprintf|gets|atoi|atof|system|popen)[[:space:]]*\(' $(sources $library cmd); then
    fail "unbounded or unchecked calls"
fi
for glue in 'dnnl' 'cblas|lapacke|LAPACKE'; do
    # shellcheck disable=SC2086
    if grep -lE "#include <.*($glue).*>" $(sources $library cmd) | grep -vE '^engine/(dnnl|blas)_[a-z_]+\.[ch]$'; then
        fail "only the glue files in engine/ may name that library ($glue)"
    fi
done
if grep -n '#include <omp.h>' $(sources $library cmd tests); then fail "omp.h: clang finds it only where its own library is installed; base/openmp.h"; fi
if git grep -nwE 'TODO|FIXME|XXX' -- '*.c' '*.h' '*.sh' '*.py' Makefile ':!tools/lint.sh'; then fail "leftovers"; fi
if git grep -nIE '(^|[^.[:alnum:]_])/(work|root|home)/[A-Za-z.]' -- . ':!tools/lint.sh'; then fail "a path of some machine in a tracked file"; fi

if [ -f "$build/libpare.so" ]; then
    stray=$(nm -D --defined-only "$build/libpare.so" | awk '$2 ~ /[A-Z]/ && $3 !~ /^(pare_|_init|_fini|_edata|_end|__bss_start|[.]gomp_critical)/ {print $3}')
    [ -z "$stray" ] || fail "exported from libpare.so without the prefix pare_: $stray"
fi

if command -v cppcheck >/dev/null; then
    # shellcheck disable=SC2086
    cppcheck --quiet --std=c11 --language=c --enable=warning --inline-suppr --error-exitcode=1 --max-configs=1 -j2 \
        --suppress=missingIncludeSystem --suppress=objectIndex -I. -I"$build" $(sources $library cmd | grep '\.c$') || fail "cppcheck"
fi

if [ "$failures" -eq 0 ]; then echo "lint: clean"; else echo "lint: $failures complaint(s)"; exit 1; fi
