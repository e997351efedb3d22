#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, without any network.
#   bench/gpu/run.sh check [FOLDER]   builds, tests, looks for wrong memory accesses, barriers and races: within 300 s
#   bench/gpu/run.sh bench [FOLDER]   times W1 W3 W4 W6 W2 match and reads a profiler's counters of each main kernel, in this order, then
#                                     crossovers and verdicts: within 420 s
# FOLDER (else $OUT, else build/gpu/STEP) gets summary.txt, tables.txt, results.json and logs.tgz, written anew after every stage. Every stage
# has its own time limit and its log; one that fails or is stopped loses no other's results, and a benchmark that is stopped keeps its finished
# tables. The package lies in build/site, which both steps share: it is built where it is missing or the sources have changed.
# Needs nvcc, and in the Python on the PATH (or in $PYTHON): numpy, pytest, pybind11, cmake and ninja, scikit-build-core if there is one;
# pytest-xdist runs the tests side by side; peers: torch, jax, cupy. Exit code: 0, or 1 if any stage failed.
#   SUBLEARN_GPU_SECONDS=290   of all stages together; SUBLEARN_GPU_STAGE_SECONDS: of each, beside its own limit
#   SUBLEARN_GPU_STAGES="build tests"   these only (a prefix will do: bench)
#   SUBLEARN_GPU_QUICK=1       tiny sizes, to see that all works
#   SUBLEARN_GPU_SITE=DIR      use the package in DIR, build nothing
#   SUBLEARN_GPU_CMAKE="-D.."  settings of the build, instead of CUDA for the GPU that is here
#   SUBLEARN_COMMIT=..         for results.json, where there is no git
set -uo pipefail
step=${1:-}
case $step in check) most=290 ;; bench) most=410 ;; *) sed -n '2,4p' "$0" >&2; exit 2 ;; esac
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
out=${2:-${OUT:-$root/build/gpu/$step}}
out=$(mkdir -p "$out" && cd "$out" && pwd) || exit 1
cd "$root" || exit 1
export PATH=$PATH:/usr/local/cuda/bin
python=${PYTHON:-python3}
most=${SUBLEARN_GPU_SECONDS:-$most}
each=${SUBLEARN_GPU_STAGE_SECONDS:-$most}
quick=()
[ -n "${SUBLEARN_GPU_QUICK:-}" ] && quick=(--quick)
work=$(mktemp -d)
summary=$out/summary.txt
rm -f "$out"/{tables.txt,results.json,logs.tgz}
: >"$summary"
: >"$work/stages.tsv"
: >"$work/running"

say() { echo "$*" | tee -a "$summary"; }
keep() {  # all that there is so far
  "$python" bench/gpu/collect.py "$work" "$out" >"$work/short" 2>"$work/collect.log" || say "results.json: FAILED, $(tail -n 1 "$work/collect.log")"
  tar czf "$work.tgz" -C "$work" . 2>/dev/null
  mv -f "$work.tgz" "$out/logs.tgz"
}
end() {
  keep
  say "$SECONDS s in all; $out: $(cd "$out" && echo *)"
  cat "$work/short"
  failed=$(awk -F '\t' '$2 != 0' "$work/stages.tsv")
  rm -rf "$work"
  [ -z "$failed" ]
  exit
}
stopped() {
  # shellcheck disable=SC2046
  kill $(cat "$work/running") 2>/dev/null
  say "stopped by a signal after $SECONDS s"
  printf 'stopped\t143\t%s\n' "$SECONDS" >>"$work/stages.tsv"
  end
}
trap stopped TERM INT HUP
wanted() {
  local stage
  [ -z "${SUBLEARN_GPU_STAGES:-}" ] && return 0
  for stage in $SUBLEARN_GPU_STAGES; do [[ $1 == "$stage"* ]] && return 0; done
  return 1
}
stage() {  # name, seconds at most, command... Several may run side by side.
  local name=$1 limit=$2 began=$SECONDS code last
  shift 2
  wanted "$name" || return 0
  ((limit > most - SECONDS)) && limit=$((most - SECONDS))
  if ((limit < 5)); then
    say "$name: not run, no time left"
    printf '%s\t%s\t0\n' "$name" 124 >>"$work/stages.tsv"
    return 1
  fi
  ((limit > each)) && limit=$each
  timeout -k 5 "$limit" "$@" >"$work/$name.log" 2>&1 &
  echo $! >>"$work/running"
  wait $!
  code=$?
  sed -i "/^$!\$/d" "$work/running"
  printf '%s\t%s\t%s\n' "$name" "$code" $((SECONDS - began)) >>"$work/stages.tsv"
  if ((code == 0)); then
    last=$(tail -n 1 "$work/$name.log" | cut -c1-160)
    say "$name: ok, $((SECONDS - began)) s${last:+; }$last"
  else
    say "$name: FAILED ($( ((code == 124 || code == 137)) && echo "stopped after $limit s" || echo "exit code $code")), $((SECONDS - began)) s; the end of its log:
$(tail -n 15 "$work/$name.log" | cut -c1-240 | sed 's/^/  /')"
  fi
  return $code
}

about() {  # what results.json says of the machine
  local gpu commit
  gpu=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
  commit=$(git rev-parse HEAD 2>/dev/null) && [ -n "$(git status --porcelain 2>/dev/null)" ] && commit+=" and changes"
  "$python" - "$work/about.json" "$step" "$gpu" "${commit:-${SUBLEARN_COMMIT:-unknown}}" <<'END'
import datetime, json, sys
path, step, gpu, commit = sys.argv[1:]
name, driver, capability = ([part.strip() for part in gpu.split(",")] + ["unknown"] * 3)[:3] if gpu else ["unknown"] * 3
about = {"step": step, "device": name, "driver": driver, "capability": capability, "commit": commit,
         "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
open(path, "w").write(json.dumps(about))
print("; ".join(f"{key} {value}" for key, value in about.items()))
END
}
say "$(about 2>&1)"
machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,temperature.gpu --format=csv
  "$python" -m pip list 2>/dev/null | grep -iE '^(pybind11|scikit.build.core|cmake|ninja|numpy|torch|jax|cupy.*|pytest.*) '
  g++ --version | head -n 1
  "$python" --version
  nvcc --version | grep release && echo "$(nproc) cores"
}

site=${SUBLEARN_GPU_SITE:-$root/build/site}
build() {
  set -e
  local arch settings fingerprint version
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
  settings=${SUBLEARN_GPU_CMAKE:--DSUBLEARN_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=${arch:-90}-real}
  fingerprint=$( (find csrc cmake python/sublearn CMakeLists.txt pyproject.toml -type f ! -name '*.so' ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum
    echo "$settings $("$python" --version)") | sha256sum)
  if [ "$fingerprint" = "$(cat "$site.built" 2>/dev/null)" ]; then
    echo "kept as it was: the sources have not changed"
    return
  fi
  rm -rf "$site" "$site.built"
  if "$python" -c 'import scikit_build_core, pip' 2>/dev/null; then
    CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) CMAKE_ARGS=$settings "$python" -m pip install -v --no-build-isolation --no-deps --no-index --no-compile \
      --target "$site" -C build-dir=build/gpu-objects .
  else  # the same by plain CMake
    # shellcheck disable=SC2086
    cmake -S . -B build/gpu-plain $settings "-DPython_EXECUTABLE=$("$python" -c 'import sys; print(sys.executable)')" \
      "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)"
    cmake --build build/gpu-plain --parallel "$(nproc)"
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
    mkdir -p "$site/sublearn-$version.dist-info"  # sublearn asks for its version when it is imported
    printf 'Metadata-Version: 2.1\nName: sublearn\nVersion: %s\n' "$version" >"$site/sublearn-$version.dist-info/METADATA"
    cp -r python/sublearn "$site/"
    rm -f "$site"/sublearn/*.so
    cp build/gpu-plain/_c*.so "$site/sublearn/"
  fi
  echo "$fingerprint" >"$site.built"
  echo "built with $settings"
}
doctor() {  # without a GPU every test would skip itself, and pass
  "$python" -m sublearn.cli doctor &&
    "$python" -c 'import sys; from sublearn.backend.compiled import cuda_module; module, why = cuda_module(); print(module.device_info(0)) if module else sys.exit(why)'
}
export -f build machine doctor
export python site

[ $step = bench ] || stage machine 20 bash -c machine
if [ -z "${SUBLEARN_GPU_SITE:-}" ] && wanted build; then
  stage build 210 bash -c build || end  # nothing else can run
fi
export PYTHONPATH=$site PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
if [ $step = check ]; then
  stage doctor 30 bash -c doctor
  keep
  workers=()  # -vv: a line per test, so that a log that ends early says what has passed
  "$python" -c 'import xdist' 2>/dev/null && workers=(-n "$(($(nproc) < 6 ? $(nproc) : 6))")
  stage tests 200 "$python" -m pytest -p no:cacheprovider -W default -m gpu -vv --tb=short -rs --durations=10 --maxfail=25 "${workers[@]}" tests/test_cuda.py &
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck synccheck racecheck; do
      stage $tool 200 compute-sanitizer --tool $tool --error-exitcode 9 --print-limit 20 "$python" -m bench.gpu.small &
    done
  elif wanted memcheck || wanted synccheck || wanted racecheck; then
    say "memcheck, synccheck, racecheck: not run, no compute-sanitizer here"
    printf 'memcheck\t127\t0\n' >>"$work/stages.tsv"
  fi
  for job in $(jobs -p); do
    wait "$job"
    keep
  done
else
  counters() {  # of one launch of a kernel: what it waits for, how busy it is. Clocks are left as they are.
    local kernel=$1 name
    shift
    name="ncu-$*"
    command -v ncu >/dev/null || return 0
    stage "${name// /-}" 35 ncu --clock-control none --target-processes all -k "regex:$kernel" -s 1 -c 1 --section SpeedOfLight --section LaunchStats \
      --section Occupancy --section SchedulerStats --section WarpStateStats --section InstructionStats --section MemoryWorkloadAnalysis \
      "$python" -m bench.gpu.one "$@" "${quick[@]}"
  }
  for of in W1:80 W3:60 W4:60 W6:70 W2:50 match:60 crossovers:90 verdicts:45; do
    name=${of%:*}
    if wanted "bench-$name"; then
      stage "bench-$name" "${of#*:}" "$python" -m bench.gpu "$name" "${quick[@]}" --json "$work/bench-$name.json"
      keep
    fi
    case $name in
      W1) counters '(small|rank)_kernel' rank 8; counters rank_kernel rank 32 ;;
      W3) counters descend_kernel descend ;;
      W4) counters 'newton.*kernel' newton ;;
      W6) counters 'continuation.*kernel' paths ;;
      W2) counters 'rank.*kernel' modp 16 ;;
    esac
    keep
  done
fi
end
