#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, without any network: builds, tests, checks memory and races, and times. Under 10 minutes.
#   bench/gpu/run.sh [FOLDER]     FOLDER: for logs, results.json, tables.txt and summary.txt; else $OUT, else bench/results/gpu-DATE
# Needs nvcc, and in the Python on the PATH (or in $PYTHON): numpy, pytest, pybind11, cmake and ninja, scikit-build-core if there is one;
# peers: torch, jax, cupy. Every stage has its own time limit and its log; one that fails or is stopped loses no other's results, and a
# benchmark that is stopped keeps its finished tables. Exit code: 0, or 1 if any stage failed.
#   SUBLEARN_GPU_SECONDS=570   of all stages together; SUBLEARN_GPU_STAGE_SECONDS: of each, beside its own limit
#   SUBLEARN_GPU_QUICK=1       tiny sizes, to see that all works
#   SUBLEARN_GPU_SITE=DIR      use the package in DIR, build nothing
#   SUBLEARN_GPU_STAGES="build tests"   these only (a prefix will do: bench)
set -uo pipefail
out=${1:-${OUT:-$(dirname "$0")/../results/gpu-$(date -u +%Y-%m-%d-%H%M)}}
out=$(mkdir -p "$out" && cd "$out" && pwd) || exit 1
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
most=${SUBLEARN_GPU_SECONDS:-570}
each=${SUBLEARN_GPU_STAGE_SECONDS:-$most}
quick=()
[ -n "${SUBLEARN_GPU_QUICK:-}" ] && quick=(--quick)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
summary=$out/summary.txt
: >"$summary"
failed=0
say() { echo "$*" | tee -a "$summary"; }
wanted() {
  local stage
  [ -z "${SUBLEARN_GPU_STAGES:-}" ] && return 0
  for stage in $SUBLEARN_GPU_STAGES; do [[ $1 == "$stage"* ]] && return 0; done
  return 1
}
stage() {  # name, seconds at most, command...
  local name=$1 limit=$2 began=$SECONDS code
  shift 2
  wanted "$name" || return 0
  ((limit > most - SECONDS)) && limit=$((most - SECONDS))
  if ((limit < 5)); then
    say "$name: not run, no time left"
    failed=1
    return
  fi
  ((limit > each)) && limit=$each
  timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1
  code=$?
  if ((code == 0)); then
    say "$name: ok, $((SECONDS - began)) s"
  else
    failed=1
    say "$name: FAILED ($( ((code == 124 || code == 137)) && echo "stopped after $limit s" || echo "exit code $code")), $((SECONDS - began)) s; the end of $name.log:"
    tail -n 15 "$out/$name.log" | sed 's/^/  /' | tee -a "$summary"
  fi
}
collect() {  # what the benchmarks have written so far
  "$python" - "$out" <<'END' || failed=1
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
parts = {path.stem[6:]: json.loads(path.read_text()) for path in sorted(out.glob("bench-*.json"))}
if parts:
    (out / "results.json").write_text(json.dumps(parts, indent=1) + "\n")
END
  cat "$out"/bench-*.log >"$out/tables.txt" 2>/dev/null || true
}

stage machine 20 bash -c 'nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm --format=csv
  nvcc --version | tail -2; nproc; "$0" --version' "$python"

# Only what this machine's GPU needs (the default builds for sm_80, sm_90 and PTX).
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d '. ')
site=${SUBLEARN_GPU_SITE:-$work/site}
build() {
  set -e
  local settings=(-DSUBLEARN_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${arch:-90}-real")
  if "$python" -c 'import scikit_build_core, pip' 2>/dev/null; then
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) CMAKE_ARGS="${settings[*]}" "$python" -m pip install --no-build-isolation --no-deps --no-index \
      --no-compile --target "$site" .
  else  # the same by plain CMake
    echo "no scikit-build-core here: plain CMake"
    cmake -S . -B "$work/build" "${settings[@]}" "-DPython_EXECUTABLE=$("$python" -c 'import sys; print(sys.executable)')" \
      "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)"
    cmake --build "$work/build" --parallel "$(nproc)"
    mkdir -p "$site"
    cp -r python/sublearn "$site/"
    cp "$work"/build/_c*.so "$site/sublearn/"
  fi
}
export -f build
export python site work arch
[ -n "${SUBLEARN_GPU_SITE:-}" ] || stage build 270 bash -c build
export PYTHONPATH=$site PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
stage doctor 60 "$python" -m sublearn.cli doctor
stage tests 150 "$python" -m pytest -p no:cacheprovider -W default -m gpu -rs --durations=10 tests/test_cuda.py
if command -v compute-sanitizer >/dev/null; then
  stage memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 9 --print-limit 20 "$python" -m bench.gpu.small
  stage racecheck 60 compute-sanitizer --tool racecheck --error-exitcode 9 --print-limit 20 "$python" -m bench.gpu.small
elif wanted memcheck || wanted racecheck; then
  say "memcheck, racecheck: not run, no compute-sanitizer here"
  failed=1
fi
for workload in W1 W3 W4 W6 W2 match verdicts crossovers; do
  wanted "bench-$workload" || continue
  stage "bench-$workload" 75 "$python" -m bench.gpu "$workload" "${quick[@]}" --json "$out/bench-$workload.json"
  collect
done
say "$SECONDS s in all; $out holds the logs, tables.txt and results.json"
exit $failed
