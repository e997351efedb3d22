// Columns of a Jacobian chosen one at a time. See ops/choose_columns.h; the method is that of cpu/choose_columns.cpp.
//
// A block of 128 threads for one matrix, which stays in device memory: each pass reads it once, neighbouring threads neighbouring columns. The
// thread of a column keeps its |R_j|^2 and R_j . y in the block's working memory, which also holds the vectors u, y and their products: shared
// memory, or a part of device memory for each block where that is too small.
#include "cuda/group.cuh"
#include "ops/cuda.h"

namespace sl {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr size_t kShared = 48 * 1024;  // bytes of a block; what needs more lies in device memory
constexpr double kTaken2 = 1e-20, kMeasure = 1e-8, kMeasureAll = 1e-6, kLeast = 1e-100, kMost = 1e100, kLargest = 1.7976931348623157e308;
constexpr int kClamp = 470;

__host__ __device__ inline int most_taken(int m, int budget) { return budget < m ? budget : m; }
// Working memory of a block, in doubles: 5 numbers for each column, vectors of m, products.
__host__ __device__ inline size_t room(int m, int p, int budget) {
  const size_t taken = static_cast<size_t>(most_taken(m, budget));
  return 5 * static_cast<size_t>(p) + (taken + 2) * static_cast<size_t>(m) + taken;
}

template <class T>
struct Search {
  const ChooseColumnsArgs<T>& args;
  Group<kThreads>& group;
  const T* a;
  double *left, *start, *own, *along, *q, *y, *v, *dots;  // as in cpu/choose_columns.cpp; v: the column worked on
  int *shift, *takes_part;
  int m, p, taken = 0, shift_of_y = 0;
  bool scaled = false;
  double left_of_y = 0, y_at_start = 0, y_at_measure = 0;

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ double entry(int i, int j) const {
    const double x = static_cast<double>(a[static_cast<int64_t>(i) * p + j]);
    return scaled ? ldexp(x, -shift[j]) : x;
  }
  __device__ double dot(const double* x, const double* z) {
    double sum = 0;
    for (int i = thread(); i < m; i += kThreads) sum += x[i] * z[i];
    return group.sum(sum);
  }
  // use(column, v . a_j), by the thread of the column.
  template <class Use> __device__ void products(const double* x, Use use) {
    for (int j = thread(); j < p; j += kThreads) {
      double sum = 0;
      for (int i = 0; i < m; ++i) sum += entry(i, j) * x[i];
      use(j, sum);
    }
  }
  // Takes from x its projection on the vectors taken so far. Ends with a barrier.
  __device__ void reduce(double* x) {
    const int lane = thread() % static_cast<int>(kWarp), warp = thread() / static_cast<int>(kWarp);
    __syncthreads();
    for (int t = warp; t < taken; t += kThreads / static_cast<int>(kWarp)) {
      double sum = 0;
      for (int i = lane; i < m; i += static_cast<int>(kWarp)) sum += q[static_cast<size_t>(t) * m + i] * x[i];
#pragma unroll
      for (int h = 16; h > 0; h /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, h);
      if (lane == 0) dots[t] = sum;
    }
    __syncthreads();
    for (int i = thread(); i < m; i += kThreads)
      for (int t = 0; t < taken; ++t) x[i] -= dots[t] * q[static_cast<size_t>(t) * m + i];
    __syncthreads();
  }
  __device__ void fetch(int j) {
    for (int i = thread(); i < m; i += kThreads) v[i] = entry(i, j);
  }

  __device__ bool take(int j) {
    fetch(j);
    reduce(v);
    reduce(v);
    const double length2 = dot(v, v);
    const bool independent = taken < m && length2 > kTaken2 * own[j];
    __syncthreads();  // all have read what follows
    if (thread() == 0) left[j] = start[j] = 0;
    if (!independent) return false;
    double* const u = q + static_cast<size_t>(taken) * m;
    const double inverse = 1 / sqrt(length2);
    for (int i = thread(); i < m; i += kThreads) u[i] = v[i] * inverse;
    ++taken;
    __syncthreads();
    const double part = dot(u, y);
    for (int i = thread(); i < m; i += kThreads) y[i] -= part * u[i];
    __syncthreads();
    left_of_y = dot(y, y);
    double low = 0;
    products(u, [&](int other, double w) {
      left[other] -= w * w;
      along[other] -= w * part;
      if (start[other] > 0 && left[other] < kMeasure * start[other]) low = 1;
    });
    if (group.sum(low) > 0) {
      __syncthreads();
      for (int other = 0; other < p; ++other) {
        const bool again = start[other] > 0 && left[other] < kMeasure * start[other];
        __syncthreads();
        if (again) measure(other);
      }
    }
    if (left_of_y < kMeasureAll * y_at_measure) {
      reduce(y);
      left_of_y = y_at_measure = dot(y, y);
      products(y, [&](int other, double w) { along[other] = w; });
    }
    return true;
  }
  __device__ void measure(int j) {
    fetch(j);
    reduce(v);
    const double length2 = dot(v, v), product = dot(v, y);
    if (thread() == 0) {
      left[j] = start[j] = length2 > kTaken2 * own[j] ? length2 : 0;
      along[j] = product;
    }
    __syncthreads();
  }

  __device__ bool open(int j) const { return takes_part[j] && left[j] > kTaken2 * own[j]; }
  // The largest key of the block; `at`: the lowest number that has it, -1 where all keys are below 0.
  __device__ double largest(double key, int* at) {
    __shared__ double keys[kThreads];
    __shared__ int numbers[kThreads];
    __syncthreads();
    keys[thread()] = key;
    numbers[thread()] = *at;
    __syncthreads();
    double best = -1;
    int found = -1;
    for (int k = 0; k < kThreads; ++k)
      if (keys[k] >= 0 && (keys[k] > best || (keys[k] == best && numbers[k] < found))) {
        best = keys[k];
        found = numbers[k];
      }
    *at = found;
    return best;
  }
  __device__ int next(ColumnRule rule, double guard) {
    int highest = 0;
    if (scaled) {  // the highest power of two of a column that is open, by its distance from the lowest there can be
      double top = -1;
      for (int j = thread(); j < p; j += kThreads)
        if (open(j) && shift[j] + 4096.0 > top) top = shift[j] + 4096.0;
      int any = thread();
      highest = static_cast<int>(largest(top, &any)) - 4096;
    }
    const auto size_of = [&](int j) {
      if (!scaled) return left[j];
      const int units = shift[j] - highest;
      return left[j] * ldexp(1.0, 2 * (units < -kClamp ? -kClamp : units > 0 ? 0 : units));
    };
    double longest = 0;
    for (int j = thread(); j < p; j += kThreads)
      if (open(j) && size_of(j) > longest) longest = size_of(j);
    int any = thread();
    const double least = guard * largest(longest, &any);
    double best = -1;
    int at = -1;
    for (int j = thread(); j < p; j += kThreads) {
      if (!open(j) || size_of(j) < least) continue;
      const double score = rule == ColumnRule::pivot ? size_of(j) : along[j] * along[j] / (rule == ColumnRule::ols ? left[j] : own[j]);
      if (score > best) {
        best = score;
        at = j;
      }
    }
    largest(best, &at);
    return at;
  }

  __device__ void measure_all() {
    for (int j = thread(); j < p; j += kThreads) {
      double sum = 0;
      for (int i = 0; i < m; ++i) sum += entry(i, j) * entry(i, j);
      own[j] = left[j] = start[j] = sum;
    }
    products(y, [&](int j, double w) { along[j] = w; });
    left_of_y = y_at_start = y_at_measure = dot(y, y);
  }
  // Of m numbers entry(i) whose squares add up to n2: zeros are, numbers that are not but whose squares are 0 are not.
  template <class Entry> __device__ bool ordinary(double n2, Entry entry) const {
    for (int i = 0; n2 == 0 && i < m; ++i)
      if (entry(i) != 0) return false;
    return n2 == 0 || (n2 > kLeast && n2 < kMost);
  }

  // False where a column that takes part, or g, is not finite.
  __device__ bool load(int64_t b) {
    const int* const given = args.given + b * args.given_stride;
    const bool* const candidate = args.candidates ? args.candidates + b * args.candidates_stride : nullptr;
    for (int j = thread(); j < p; j += kThreads) takes_part[j] = !candidate || candidate[j];
    for (int i = thread(); i < m; i += kThreads) y[i] = static_cast<double>(args.g[b * args.g_stride + i]);
    __syncthreads();
    for (int k = thread(); k < args.given_count; k += kThreads)
      if (given[k] >= 0) atomicExch(takes_part + given[k], 1);
    __syncthreads();
    measure_all();
    double strange = ordinary(left_of_y, [&](int i) { return y[i]; }) ? 0 : 1;
    for (int j = thread(); j < p; j += kThreads)
      if (takes_part[j] && !ordinary(own[j], [&](int i) { return entry(i, j); })) strange = 1;
    if (!(group.sum(strange) > 0)) return true;
    double bad = 0, most = 0;
    for (int j = thread(); j < p; j += kThreads) {
      double peak = 0;
      for (int i = 0; i < m; ++i) {
        const double x = fabs(entry(i, j));
        if (takes_part[j] && !(x <= kLargest)) bad = 1;
        peak = x > peak ? x : peak;
      }
      shift[j] = 0;
      if (peak > 0 && peak <= kLargest) frexp(peak, shift + j);
    }
    for (int i = 0; i < m; ++i) {
      const double x = fabs(y[i]);
      if (!(x <= kLargest)) bad = 1;
      most = x > most ? x : most;
    }
    if (group.sum(bad) > 0) return false;
    if (most > 0) frexp(most, &shift_of_y);
    __syncthreads();
    for (int i = thread(); i < m; i += kThreads) y[i] = ldexp(y[i], -shift_of_y);
    scaled = true;
    __syncthreads();
    measure_all();
    return true;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) choose_kernel(ChooseColumnsArgs<T> args, double eps, double* space) {
  SL_SHARED(double, shared);
  Group<kThreads> group;
  const int m = args.m, p = args.p, most = most_taken(m, args.budget);
  double* at = space ? space + blockIdx.x * room(m, p, args.budget) : shared;
  const auto part = [&](int count) {
    double* const here = at;
    at += count;
    return here;
  };
  double *const left = part(p), *const start = part(p), *const own = part(p), *const along = part(p), *const numbers = part(p);
  double *const q = part(most * m), *const y = part(m), *const v = part(m), *const dots = part(most);
  int* const shift = reinterpret_cast<int*>(numbers);
  for (int64_t b = blockIdx.x; b < args.batch; b += gridDim.x) {
    __syncthreads();
    Search<T> search{args, group, args.a + b * args.a_stride, left, start, own, along, q, y, v, dots, shift, shift + p, m, p};
    const bool finite = search.load(b);
    if (Search<T>::thread() == 0) args.finite_out[b] = finite;
    if (!finite) continue;
    int64_t* const out = args.indices_out + b * args.budget;
    T* const residuals = args.residuals_out + b * args.budget;
    int count = 0;
    const auto took = [&](int number) {
      if (Search<T>::thread() == 0) {
        out[count] = number;
        residuals[count] = static_cast<T>(ldexp(search.left_of_y, 2 * search.shift_of_y));
      }
      ++count;
    };
    const int* const given = args.given + b * args.given_stride;
    for (int k = 0; k < args.given_count && count < args.budget; ++k)
      if (given[k] >= 0) {
        search.take(given[k]);
        took(given[k]);
      }
    const double nothing = eps * m * (eps * m) * search.y_at_start;
    while (count < args.budget) {
      __syncthreads();
      const int best = search.next(search.left_of_y > nothing ? args.rule : ColumnRule::pivot, args.guard);
      if (best < 0) break;
      if (search.take(best)) took(best);
    }
    while (count < args.budget) took(-1);
  }
}

template <class T>
void choose_batch(const ChooseColumnsArgs<T>& a, Stream& stream) {
  const size_t count = room(a.m, a.p, a.budget), bytes = count * sizeof(double), shared = bytes <= kShared ? bytes : 0;
  const int64_t resident = resident_blocks(choose_kernel<T>, kThreads, shared, stream);
  const unsigned blocks = static_cast<unsigned>(a.batch < resident ? a.batch : resident);
  double* const space = shared ? nullptr : stream.scratch<double>(static_cast<int64_t>(count) * blocks);
  const double eps = sizeof(T) == 8 ? 2.220446049250313e-16 : 1.1920928955078125e-07;
  launch(choose_kernel<T>, dim3(blocks), dim3(kThreads), shared, stream, a, eps, space);
}

}  // namespace

void choose_columns(const ChooseColumnsArgs<float>& a, Stream& stream) { choose_batch(a, stream); }
void choose_columns(const ChooseColumnsArgs<double>& a, Stream& stream) { choose_batch(a, stream); }

}  // namespace cuda
}  // namespace sl
