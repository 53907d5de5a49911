#!/usr/bin/env bash
# What only a GPU can show, step by step; each step ends within minutes, and a table of them comes last.
# Use: tests/gpu/acceptance.sh [FOLDER]; PYTHON names the interpreter, DEVICE the device (cpu tries the script itself).
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:-results/acceptance}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
export PYTHONPATH=.
mkdir -p "$out"
summary=()

step() {  # step NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS code
    shift 2
    echo "== $name: $*"
    timeout --signal=INT "$limit" "$@" >"$out/$name.txt" 2>&1
    code=$?
    tail -n 15 "$out/$name.txt"
    summary+=("$(printf '%-12s %4d s  exit %d' "$name" $((SECONDS - began)) $code)")
}

rnnbench=("$python" -m rnnbench)
only=()
published='cell=lstm batch_size=1,16 seq_len=1024' # FlashRNN's shape
if [ "$device" = cpu ]; then
    only=(--only 'cell=lstm batch_size=32 hidden_size=512 seq_len=32 dtype=float32')
    published='cell=lstm batch_size=64 seq_len=100'
fi

step tests 300 "$python" -m pytest -q -m cuda
step doctor 120 "${rnnbench[@]}" doctor
step run 600 "${rnnbench[@]}" run cuda --device "$device" --out "$out" --budget 480s "${only[@]}"
sed 's/^\[measure\]$/[measure]\ncold_cache = true/' suites/cuda.toml >"$out/cold.toml"
step cold 180 "${rnnbench[@]}" run "$out/cold.toml" --device "$device" --out "$out/cold" --budget 90s \
    --only 'cell=lstm batch_size=32 hidden_size=512 seq_len=32 dtype=float32'
step report 300 bash -c "'$python' -m rnnbench report \"\$(ls -td '$out'/cuda-2*/ | head -n 1)\" --out '$out/report'"
step published 400 "${rnnbench[@]}" run published --device "$device" --out "$out" --budget 300s \
    --only "$published"
step truth 300 "$python" -m tests.gpu.truth "$device"
step slowed 300 "$python" -m tests.gpu.slowed "$device" 120
step unchanged 300 "${rnnbench[@]}" check ci --device "$device" --base HEAD --budget 120s --out "$out"

printf '%s\n' "${summary[@]}"
