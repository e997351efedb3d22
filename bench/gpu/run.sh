#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, without any network: builds, tests, checks memory and races, and times. Under 10 minutes.
#   bench/gpu/run.sh OUT       OUT: a folder for logs, results.json and summary.txt
# Needs nvcc, and in the Python on the PATH (or in $PYTHON): cmake, ninja, pybind11, scikit-build-core, numpy, pytest; peers: torch, jax, cupy.
# Every stage has its own time limit; a stage that fails does not stop the later ones. Exit code: 0, or 1 if any stage failed.
set -uo pipefail
out=$(mkdir -p "${1:?usage: bench/gpu/run.sh OUT}" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
most=${SUBLEARN_GPU_SECONDS:-570}  # of all stages together
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
summary=$out/summary.txt
: >"$summary"
failed=0
say() { echo "$*" | tee -a "$summary"; }
stage() {  # name, seconds at most, command...
  local name=$1 limit=$2 began=$SECONDS code
  shift 2
  ((limit > most - SECONDS)) && limit=$((most - SECONDS))
  if ((limit < 5)); then
    say "$name: not run, no time left"
    failed=1
    return
  fi
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

stage machine 20 bash -c 'nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm --format=csv; nvcc --version | tail -2; nproc'
# Only what this machine's GPU needs (the default builds for sm_80, sm_90 and PTX).
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d . | tr -d ' ')
stage build 270 "$python" -m pip install --no-build-isolation --no-deps --no-index --no-compile --target "$site" . \
  -C cmake.define.SUBLEARN_CUDA=ON -C "cmake.define.CMAKE_CUDA_ARCHITECTURES=${arch:-90}-real"
export PYTHONPATH=$site PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
stage doctor 60 "$python" -m sublearn.cli doctor
stage tests 150 "$python" -m pytest -p no:cacheprovider -W default -m gpu -rs --durations=10 tests/test_cuda.py
if command -v compute-sanitizer >/dev/null; then
  stage memcheck 90 compute-sanitizer --tool memcheck --error-exitcode 9 "$python" -m bench.gpu.small
  stage racecheck 90 compute-sanitizer --tool racecheck --error-exitcode 9 "$python" -m bench.gpu.small
else
  say "memcheck, racecheck: not run, no compute-sanitizer here"
  failed=1
fi
for workload in W1 W3 W4 W2 verdicts; do
  stage "bench-$workload" 75 "$python" -m bench.gpu "$workload" --json "$out/$workload.json"
done
"$python" - "$out" <<'END' || failed=1
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
parts = {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json")) if path.stem != "results"}
(out / "results.json").write_text(json.dumps(parts, indent=1) + "\n")
END
{
  for workload in W1 W2 W3 W4 verdicts; do [ -f "$out/bench-$workload.log" ] && cat "$out/bench-$workload.log"; done
} >"$out/tables.txt"
say "$SECONDS s in all; tables.txt and results.json hold what was measured"
exit $failed
