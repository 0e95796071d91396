#!/usr/bin/env bash
# Installs what is missing to build and test pare on Debian 12 and its kin. Elsewhere it prints the list of packages.
set -euo pipefail
packages=(
    gcc clang make pkg-config git ca-certificates
    libdnnl-dev libopenblas-dev liblapacke-dev libprotobuf-c-dev protobuf-c-compiler libcjson-dev zlib1g-dev nettle-dev
    libcmocka-dev libonnx-testdata libclang-rt-14-dev cppcheck valgrind
    python3 python3-venv
)
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    printf 'This machine has no apt. Install the equivalents of these Debian packages:\n%s\n' "${packages[*]}" >&2
    exit 1
fi
missing=()
for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        printf 'Not root, and no sudo. As root, run:\napt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
