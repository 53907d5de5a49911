#!/usr/bin/env bash
# What only a GPU can show: tests/gpu/acceptance.sh STEP..., of smoke, captures, truth, run, gate and more. See tests/gpu/README.md.
# OUT is the folder for all output, DEVICE the device (cpu tries the script itself), PYTHON the interpreter, and WHEELS
# a folder with wheels of the packages that this machine lacks. They are unpacked into OUT; one that can't be stops nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=${OUT:-results/acceptance}
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ ! -d "$out/packages" ]; then
    for wheel in "${WHEELS:-wheels}"/*.whl; do
        [ ! -e "$wheel" ] || "$python" -m zipfile -e "$wheel" "$out/packages" || echo "not unpacked: $wheel" >&2
    done
fi
export PYTHONPATH="$PWD:$out/packages" DEVICE="${DEVICE:-cuda}"
mkdir -p "$out/logs"
nvidia-smi -q > "$out/logs/nvidia-smi.txt" 2>&1 || true
code=0
"$python" -m tests.gpu.acceptance --out "$out" "$@" || code=$?
cd "$out"
find . -type f ! -path './packages/*' ! -path './copy/*' ! -name acceptance.tar.gz -size -20M -print0 | tar -czf acceptance.tar.gz --null -T -
exit "$code"
