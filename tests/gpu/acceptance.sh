#!/usr/bin/env bash
# What only a GPU can show: tests/gpu/acceptance.sh STEP..., of smoke, truth, run, gate and more. See tests/gpu/README.md.
# OUT is the folder for all output, DEVICE the device (cpu tries the script itself), PYTHON the interpreter, and WHEELS
# a folder with wheels of the packages that this machine lacks. Nothing is installed outside OUT.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=${OUT:-results/acceptance}
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -n "${WHEELS:-}" ] && [ ! -d "$out/packages" ]; then
    names=$(cd "$WHEELS" && printf '%s\n' *.whl | sed 's/-.*//' | sort -u)
    # shellcheck disable=SC2086 - one name a word
    "$python" -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" --target "$out/packages" $names
fi
export PYTHONPATH="$PWD:$out/packages"
exec "$python" -m tests.gpu.acceptance --device "${DEVICE:-cuda}" --out "$out" "$@"
