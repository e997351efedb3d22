// The Python module sublearn._cuda (or _cuda_emulated): device arrays and the contracts on them. Arguments are checked in Python; what is
// checked again here is only what memory safety needs. Nothing waits for the device except `Array.numpy` and `Queue.wait`.
#include "ops/cuda.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bind/dlpack.h"
#include "core/error.h"
#include "math/modp.h"
#if defined(SL_EMULATE)
#include "cuda/emulate.h"
#if defined(SL_RACES)
#include "cuda/planted_races.h"
#endif
#endif

namespace py = pybind11;
using namespace pybind11::literals;

namespace {

void check(bool ok, const std::string& what) {
  if (!ok) throw py::value_error(what);
}

// Memory of other libraries that came by DLPack. Its owner may hand it to others as soon as we let go of it, in an order of its own, so it
// is kept until all that our stream had been given when its last array went is done. Looked through when arrays come and go.
struct Lent {
  std::unique_ptr<sl::cuda::Mark> mark;
  py::object owner;
};
std::vector<Lent>& lent() {
  static auto* const all = new std::vector<Lent>;  // never destroyed: the interpreter may be gone by then
  return *all;
}
void give_back() {  // with the GIL
  std::vector<Lent> done, still;
  for (Lent& one : lent()) (one.mark->passed() ? done : still).push_back(std::move(one));
  lent() = std::move(still);  // the owners of `done` go now, and may call Python
}

// A row-major array on a device: memory of its own, or a view that keeps `keep` alive.
struct Array {
  void* data = nullptr;
  std::vector<int64_t> shape;
  py::dtype dtype;
  int device = 0;
  int64_t stream = -1;  // on which a call wrote it, -1: none did
  int64_t read_on = -1;  // the stream that reads memory lent to us, -1: the memory is not lent
  std::unique_ptr<sl::cuda::Memory> own;
  py::object keep;

  Array(std::vector<int64_t> shape_, py::dtype dtype_, int device_, std::shared_ptr<sl::cuda::Queue> queue = nullptr)
      : shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_) {
    check(!queue || queue->device() == device, "queue: of another device");
    const size_t n = bytes();
    py::gil_scoped_release release;
    if (queue) {
      own = std::make_unique<sl::cuda::Memory>(n, device, std::move(queue));
    } else {
      own = std::make_unique<sl::cuda::Memory>(n, device, nullptr, false);
      sl::cuda::Stream(nullptr, device).wait();  // any stream may use it
    }
    data = own->data();
  }
  // In the order of a call's stream. of_a_call: given back in that order too, while the call's stream lives.
  Array(std::vector<int64_t> shape_, py::dtype dtype_, int device_, uintptr_t of_stream, bool of_a_call)
      : shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_), stream(static_cast<int64_t>(of_stream)) {
    const size_t n = bytes();
    py::gil_scoped_release release;
    own = std::make_unique<sl::cuda::Memory>(n, device, reinterpret_cast<void*>(of_stream), of_a_call);
    data = own->data();
  }
  Array(void* data_, std::vector<int64_t> shape_, py::dtype dtype_, int device_, py::object keep_)
      : data(data_), shape(std::move(shape_)), dtype(std::move(dtype_)), device(device_), keep(std::move(keep_)) {}
  Array(const Array&) = delete;
  ~Array() {
    if (read_on < 0) return;
    try {
      lent().push_back({std::make_unique<sl::cuda::Mark>(reinterpret_cast<void*>(read_on), device), std::move(keep)});
      give_back();
    } catch (const std::exception&) {  // a stream that is gone, or a device that has failed: nothing reads any more
    }
  }
  // The same memory as another array, written on the same stream.
  static std::shared_ptr<Array> part(const std::shared_ptr<Array>& whole, void* data, std::vector<int64_t> shape) {
    auto out = std::make_shared<Array>(data, std::move(shape), whole->dtype, whole->device, py::cast(whole));
    out->stream = whole->stream;
    return out;
  }
  int64_t count() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  size_t bytes() const { return static_cast<size_t>(count()) * static_cast<size_t>(dtype.itemsize()); }
  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
};
using Ref = std::shared_ptr<Array>;

// The numbers of an array of this type, after a check of its shape (-1: any).
template <class T> T* numbers(const Array& a, const std::vector<int64_t>& shape, const char* name) {
  check(a.dtype.is(py::dtype::of<T>()) || a.dtype.equal(py::dtype::of<T>()), std::string(name) + ": wrong dtype");
  bool same = a.shape.size() == shape.size();
  for (size_t k = 0; same && k < shape.size(); ++k) same = shape[k] == -1 || a.shape[k] == shape[k];
  check(same, std::string(name) + ": wrong shape");
  return static_cast<T*>(a.data);
}
template <class T> bool holds(const Array& a) { return a.dtype.equal(py::dtype::of<T>()); }

// Rows [batch][width] or one row for all: the pointer, and its stride.
template <class T> const T* batched(const Array& a, int64_t batch, int64_t width, int64_t& stride, const char* name) {
  check(a.rows() == batch || a.rows() == 1, std::string(name) + ": wrong batch");
  stride = a.rows() == 1 ? 0 : width;
  return numbers<T>(a, {-1, width}, name);
}

template <class T> sl::Students<T> students(const sl::Shape& s, const Array& theta, const Array& x, int64_t batch) {
  sl::Students<T> in;
  in.shape = &s;
  in.batch = batch;
  in.theta = batched<T>(theta, batch, s.size, in.theta_stride, "theta");
  in.x = batched<T>(x, batch, s.inputs_size, in.x_stride, "x");
  return in;
}

template <class F> void run(const Array& on, uintptr_t handle, F&& operation) {
  const int device = on.device;
  py::gil_scoped_release release;
  sl::cuda::Stream stream(reinterpret_cast<void*>(handle), device);
  operation(stream);
}

template <class T> void rank_real_of(const Array& a, double rtol, const Array& rank, const Array& certified, const Array& finite,
                                     uintptr_t stream) {
  const T* data = numbers<T>(a, {-1, -1, -1}, "a");
  const int64_t batch = a.shape[0];
  sl::RankRealArgs<T> args{data,
                           batch,
                           static_cast<int>(a.shape[1]),
                           static_cast<int>(a.shape[2]),
                           rtol,
                           numbers<int64_t>(rank, {batch}, "rank"),
                           numbers<int8_t>(certified, {batch}, "certified"),
                           numbers<int8_t>(finite, {batch}, "finite"),
                           0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::rank_real(args, s); });
}
void rank_real(const Array& a, double rtol, const Array& rank, const Array& certified, const Array& finite, uintptr_t stream) {
  if (holds<float>(a)) rank_real_of<float>(a, rtol, rank, certified, finite, stream);
  else rank_real_of<double>(a, rtol, rank, certified, finite, stream);
}

py::tuple rank_questions(const Array& certified, const Array& finite, uintptr_t stream) {
  const int64_t batch = certified.rows();
  const int8_t *sure = numbers<int8_t>(certified, {batch}, "certified"), *whole = numbers<int8_t>(finite, {batch}, "finite");
  sl::cuda::RankQuestions found;
  run(certified, stream, [&](sl::cuda::Stream& s) { found = sl::cuda::rank_questions(sure, whole, batch, s); });
  py::array_t<int> unsure(static_cast<py::ssize_t>(found.unproven.size()));
  std::copy(found.unproven.begin(), found.unproven.end(), unsure.mutable_data());
  return py::make_tuple(unsure, found.first_not_finite);
}

void rank_mod(const Array& a, uint64_t p, const Array& rank, uintptr_t stream) {
  check(p < (uint64_t{1} << 31) && sl::is_prime(p), "p: expected a prime below 2**31");
  const int64_t* data = numbers<int64_t>(a, {-1, -1, -1}, "a");
  sl::RankModpArgs args{data,
                        a.shape[0],
                        static_cast<int>(a.shape[1]),
                        static_cast<int>(a.shape[2]),
                        static_cast<uint32_t>(p),
                        numbers<int64_t>(rank, {a.shape[0]}, "rank"),
                        0};
  run(a, stream, [&](sl::cuda::Stream& s) { sl::cuda::rank_modp(args, s); });
}

template <class T> void outputs_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& out, uintptr_t stream) {
  const int64_t batch = out.rows();
  sl::OutputsArgs<T> a{students<T>(s, theta, x, batch), numbers<T>(out, {batch, s.equations}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::outputs(a, on); });
}
void outputs(const sl::Shape& s, const Array& theta, const Array& x, const Array& out, uintptr_t stream) {
  if (holds<float>(theta)) outputs_of<float>(s, theta, x, out, stream);
  else outputs_of<double>(s, theta, x, out, stream);
}

template <class T> void jacobian_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& indices, const Array& out,
                                    uintptr_t stream) {
  const int64_t batch = out.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  int64_t stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  sl::JacobianArgs<T> a{students<T>(s, theta, x, batch), places, stride, budget, numbers<T>(out, {batch, s.equations, budget}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::jacobian(a, on); });
}
void jacobian(const sl::Shape& s, const Array& theta, const Array& x, const Array& indices, const Array& out, uintptr_t stream) {
  if (holds<float>(theta)) jacobian_of<float>(s, theta, x, indices, out, stream);
  else jacobian_of<double>(s, theta, x, indices, out, stream);
}

const int8_t* opened(const Array* open, int64_t batch) { return open ? numbers<int8_t>(*open, {batch}, "open") : nullptr; }

template <class T> void copy_theta(const sl::Students<T>& in, T* out, sl::cuda::Stream& on) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(in.shape->size);
  if (out == in.theta) return;
  if (in.theta_stride) on.copy(out, in.theta, bytes * static_cast<size_t>(in.batch));
  else on.repeat(out, in.theta, bytes, in.batch);
}

template <class T>
void fit_of(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<char>& learns,
            int64_t steps, int optimizer, double lr, double tol, const Array* theta_out, const Array& loss, const Array& done,
            const Array& status, const Array* open, uintptr_t stream) {
  const int64_t batch = loss.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  int64_t stride = 0, y_stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  const T* target = batched<T>(y, batch, s.equations, y_stride, "y");
  sl::DescendArgs<T> a{students<T>(s, theta, x, batch),
                       target,
                       y_stride,
                       places,
                       stride,
                       budget,
                       reinterpret_cast<const bool*>(learns.data()),
                       static_cast<sl::Optimizer>(optimizer),
                       steps,
                       lr,
                       tol,
                       theta_out ? numbers<T>(*theta_out, {batch, s.size}, "theta_out") : nullptr,
                       numbers<T>(loss, {batch}, "loss"),
                       numbers<int64_t>(done, {batch}, "steps"),
                       numbers<int8_t>(status, {batch}, "status"),
                       0};
  const int8_t* rows = opened(open, batch);
  run(loss, stream, [&](sl::cuda::Stream& on) {
    if (a.theta_out) copy_theta(a.students, a.theta_out, on);
    sl::cuda::descend(a, on, rows);
  });
}
// Which groups of the network hold a learnable weight of some student; places at shape.size fill up short rows.
std::vector<bool> groups_used(const sl::Shape& s, const py::array_t<int, py::array::c_style>& indices) {
  const unsigned size = static_cast<unsigned>(s.size);
  std::vector<char> used(size_t{size} + 2, 0);  // the last: anything outside the network
  const int* at = indices.data();
  for (py::ssize_t k = 0, count = indices.size(); k < count; ++k) used[std::min(static_cast<unsigned>(at[k]), size + 1)] = 1;
  check(!used[size + 1], "indices: outside the network");
  std::vector<bool> out;
  for (int g = 0; g < s.groups; ++g)
    out.push_back(std::find(used.begin() + s.group_begin[g], used.begin() + s.group_begin[g + 1], 1) !=
                  used.begin() + s.group_begin[g + 1]);
  return out;
}
std::vector<char> group_flags(const sl::Shape& s, const std::vector<bool>& learns) {
  check(static_cast<int>(learns.size()) == s.groups, "learns: one flag per group");
  std::vector<char> out(sl::kMaxGroups, 0);
  for (int g = 0; g < s.groups; ++g) out[static_cast<size_t>(g)] = learns[static_cast<size_t>(g)];
  return out;
}
void fit(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<bool>& learns,
         int64_t steps, int optimizer, double lr, double tol, const Array* theta_out, const Array& loss, const Array& done,
         const Array& status, uintptr_t stream, const Array* open) {
  const auto flags = group_flags(s, learns);
  const auto of = holds<float>(theta) ? &fit_of<float> : &fit_of<double>;
  of(s, theta, x, y, indices, flags, steps, optimizer, lr, tol, theta_out, loss, done, status, open, stream);
}

void newton(const sl::Shape& s, const Array& theta, const Array& x, const Array& y, const Array& indices, const std::vector<bool>& learns,
            const std::vector<double>& start_scale, int starts, int max_iterations, double tol, uint64_t seed, uint32_t task,
            const Array& trials, const Array* theta_out, const Array& loss, const Array& found, const Array& iterations, uintptr_t stream,
            const Array* open, const Array* norm2) {
  const int64_t batch = found.rows();
  const int budget = static_cast<int>(indices.shape.at(1));
  check(static_cast<int>(start_scale.size()) == s.size, "start_scale: wrong size");
  check(starts >= 1 && max_iterations >= 1, "starts and max_iterations must be at least 1");
  const auto flags = group_flags(s, learns);
  int64_t stride = 0, y_stride = 0;
  const int* places = batched<int>(indices, batch, budget, stride, "indices");
  const double* target = batched<double>(y, batch, s.equations, y_stride, "y");
  sl::NewtonArgs a{students<double>(s, theta, x, batch),
                   target,
                   y_stride,
                   places,
                   stride,
                   budget,
                   reinterpret_cast<const bool*>(flags.data()),
                   start_scale.data(),
                   starts,
                   max_iterations,
                   tol,
                   seed,
                   task,
                   numbers<uint32_t>(trials, {batch}, "trials"),
                   theta_out ? numbers<double>(*theta_out, {batch, s.size}, "theta_out") : nullptr,
                   numbers<double>(loss, {batch}, "loss"),
                   numbers<int32_t>(found, {batch}, "found"),
                   numbers<int64_t>(iterations, {1}, "iterations"),
                   0,
                   norm2 ? numbers<double>(*norm2, {batch}, "norm2") : nullptr};
  const int8_t* rows = opened(open, batch);
  run(found, stream, [&](sl::cuda::Stream& on) {
    if (a.theta_out) copy_theta(a.students, a.theta_out, on);
    sl::cuda::newton(a, on, rows);
  });
}

// rows [k] or mix [k, equations] on the host; all else, and the results, on the device. What the numbers in them may be is checked in Python.
void continuation(const sl::Shape& s, const Array& points, bool teacher, const Array& indices, const Array& degrees,
                  const std::optional<py::array_t<int, py::array::c_style>>& rows,
                  const std::optional<py::array_t<double, py::array::c_style>>& mix, const std::vector<bool>& learns,
                  const Array& allocation, const Array& from, const Array& to, const Array& group, const Array& start, bool stop_at_real,
                  double aim, double least_step, int max_steps, bool sliced, const Array& end, const Array& status, const Array& steps,
                  const Array& largest, const Array& correction, const Array& done, int64_t first, uintptr_t stream) {
  check(s.activation == sl::Activation::linear, "continuation: linear networks only");
  check(indices.shape.size() == 2 && indices.shape[1] >= 1, "indices: at least one learnable weight");
  const int64_t allocations = indices.shape[0], k = indices.shape[1], jobs = start.rows(), count = points.rows();
  check(rows.has_value() != mix.has_value() && (!sliced || rows), "either rows or mix; sliced: only with rows");
  check(!rows || rows->size() == k, "rows: wrong shape");
  check(!mix || mix->size() == k * s.equations, "mix: wrong shape");
  check(!teacher || !sliced, "sliced: not with a teacher");
  const auto flags = group_flags(s, learns);
  sl::ContinuationArgs a{&s,
                         teacher,
                         sliced,
                         nullptr,
                         count,
                         numbers<int>(indices, {allocations, k}, "indices"),
                         allocations,
                         static_cast<int>(k),
                         numbers<int>(degrees, {allocations, k}, "degrees"),
                         rows ? rows->data() : nullptr,
                         mix ? mix->data() : nullptr,
                         reinterpret_cast<const bool*>(flags.data()),
                         jobs,
                         numbers<int>(allocation, {jobs}, "allocation"),
                         numbers<int>(from, {jobs}, "from"),
                         numbers<int>(to, {jobs}, "to"),
                         numbers<int>(group, {jobs}, "group"),
                         numbers<double>(start, {jobs, k, 2}, "start"),
                         stop_at_real,
                         aim,
                         least_step,
                         max_steps,
                         numbers<double>(end, {jobs, k, 2}, "end"),
                         numbers<int8_t>(status, {jobs}, "status"),
                         numbers<int32_t>(steps, {jobs}, "steps"),
                         numbers<double>(largest, {jobs}, "largest"),
                         numbers<double>(correction, {jobs}, "correction"),
                         0};
  a.points = numbers<double>(points, {count, sl::point_width(a, s), 2}, "points");
  check(reinterpret_cast<uintptr_t>(a.points) % 16 == 0, "points: not aligned to 16 bytes");
  int64_t* firsts = numbers<int64_t>(done, {-1}, "done");
  run(end, stream, [&](sl::cuda::Stream& on) { sl::cuda::continuation(a, firsts, first, on); });
}

void draw(const sl::Shape& s, uint64_t seed, uint32_t task, uint32_t first, const std::vector<bool>& shared,
          const std::vector<double>& gains, const py::tuple& recipe, const Array& teacher, const Array& student, const Array& x,
          const Array* mask, uintptr_t stream) {
  const int64_t count = teacher.rows();
  check(count + int64_t{first} <= (int64_t{1} << 32), "trial numbers must stay below 2**32");
  check(static_cast<int>(gains.size()) == s.groups, "gains: one entry per group");
  const auto flags = group_flags(s, shared);
  using Places = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
  const auto fixed = recipe[0].cast<py::array_t<bool, py::array::c_style>>();
  check(fixed.size() == s.size, "recipe: fixed has the wrong size");
  std::vector<Places> arrays;
  std::vector<sl::RecipePiece> pieces;
  for (auto item : recipe[1].cast<py::sequence>()) {
    const auto piece = item.cast<py::tuple>();
    arrays.push_back(piece[0].cast<Places>());
    arrays.push_back(piece[1].cast<Places>());
    const auto &members = arrays[arrays.size() - 2], &offsets = arrays.back();
    sl::RecipePiece p{members.data(), offsets.data(), offsets.size() - 1, piece[2].cast<int64_t>(), piece[3].cast<int64_t>()};
    check(p.lists >= 0 && p.pick >= 0 && p.pick <= p.lists && p.each >= 0, "recipe: picks more lists than there are");
    for (py::ssize_t k = 0; k < members.size(); ++k)
      check(members.data()[k] >= 0 && members.data()[k] < s.size, "recipe: member outside the network");
    for (int64_t k = 0; k < p.lists; ++k)
      check(p.offsets[k] >= 0 && p.offsets[k + 1] - p.offsets[k] >= p.each && p.offsets[k + 1] <= members.size(),
            "recipe: picks more members than a list has");
    pieces.push_back(p);
  }
  sl::TrialArgs a{&s,
                  seed,
                  task,
                  first,
                  count,
                  reinterpret_cast<const bool*>(flags.data()),
                  gains.data(),
                  {fixed.data(), pieces.data(), static_cast<int64_t>(pieces.size())},
                  numbers<double>(teacher, {count, s.size}, "teacher"),
                  numbers<double>(student, {count, s.size}, "student"),
                  numbers<double>(x, {count, s.inputs_size}, "x"),
                  mask ? numbers<bool>(*mask, {count, s.size}, "mask") : nullptr,
                  0};
  run(teacher, stream, [&](sl::cuda::Stream& on) { sl::cuda::draw_trials(a, on); });
}

void screen(const Array& mask, const Array& jacobian, const std::vector<uint32_t>& p, int required, const Array& inside,
            const Array& outside, int64_t at_once, const Array& indices, const Array& classes, uintptr_t stream) {
  const int64_t batch = classes.rows(), points = static_cast<int64_t>(p.size()), families = inside.rows();
  check(mask.shape.size() == 2 && jacobian.shape.size() == 3 && indices.shape.size() == 2, "screen: wrong shapes");
  const int64_t size = mask.shape[1];
  for (const uint32_t prime : p) check(prime < (uint32_t{1} << 31) && sl::is_prime(prime), "p: expected primes below 2**31");
  sl::ScreenArgs a{batch,
                   static_cast<int>(size),
                   static_cast<int>(jacobian.shape[1]),
                   static_cast<int>(indices.shape[1]),
                   numbers<bool>(mask, {batch, size}, "mask"),
                   required,
                   static_cast<int>(points),
                   numbers<int64_t>(jacobian, {points, -1, size}, "jacobian"),
                   p.data(),
                   static_cast<int>(families),
                   numbers<int>(inside, {families, size}, "inside"),
                   numbers<int>(outside, {families, size}, "outside"),
                   at_once,
                   numbers<int>(indices, {batch, -1}, "indices"),
                   numbers<int8_t>(classes, {batch}, "classes")};
  run(classes, stream, [&](sl::cuda::Stream& on) { sl::cuda::screen(a, on); });
}
void found_by_loss(const Array& loss, const Array& y, double tol, const Array* open, const Array& found, uintptr_t stream) {
  const int64_t batch = found.rows();
  check(y.shape.size() == 2, "y: wrong shape");
  sl::FoundByLossArgs a{batch, static_cast<int>(y.shape[1]), numbers<double>(loss, {batch}, "loss"),   numbers<double>(y, {batch, -1}, "y"),
                        tol,   opened(open, batch),          numbers<int32_t>(found, {batch}, "found")};
  run(found, stream, [&](sl::cuda::Stream& on) { sl::cuda::found_by_loss(a, on); });
}

// Waits in short sleeps, so that Ctrl-C is heard.
void wait(const sl::cuda::Queue& queue) {
  for (int sleeps = 0; !queue.idle(); ++sleeps) {
    if (sleeps % 64 == 63 && PyErr_CheckSignals() != 0) throw py::error_already_set();
    py::gil_scoped_release release;
    std::this_thread::sleep_for(std::chrono::microseconds(sleeps < 64 ? 20 : 500));
  }
}
// A numpy array in pinned memory.
py::array pinned(const std::vector<int64_t>& shape, const py::dtype& dtype, std::shared_ptr<sl::cuda::Queue> queue) {
  size_t bytes = static_cast<size_t>(dtype.itemsize());
  for (int64_t s : shape) bytes *= static_cast<size_t>(s);
  auto memory = std::make_unique<sl::cuda::Pinned>(bytes, std::move(queue));
  void* data = memory->data();
  py::capsule owner(memory.release(), [](void* p) {
    py::gil_scoped_release release;
    delete static_cast<sl::cuda::Pinned*>(p);
  });
  return py::array(dtype, shape, data, owner);
}

void jacobian_mod(const sl::Shape& s, const Array& theta, const Array& x, uint64_t hidden_seed, uint32_t p, const Array& out,
                  uintptr_t stream) {
  const int64_t batch = out.rows();
  check(p == sl::kPrimes[0] || p == sl::kPrimes[1], "p: expected one of PRIMES");
  check(s.activation != sl::Activation::relu, "jacobian_mod: relu has no Jacobian over GF(p)");
  sl::JacobianModArgs a{
      &s,          batch, numbers<int64_t>(theta, {batch, s.size}, "theta"),          numbers<int64_t>(x, {batch, s.inputs_size}, "x"),
      hidden_seed, p,     numbers<int64_t>(out, {batch, s.equations, s.size}, "out"), 0};
  run(out, stream, [&](sl::cuda::Stream& on) { sl::cuda::jacobian_mod(a, on); });
}

py::dict interface(const Ref& a) {
  py::list shape;
  for (int64_t s : a->shape) shape.append(s);
  // 1 stands for the default stream
  const py::object stream = a->stream < 0 ? py::object(py::none()) : py::int_(a->stream ? a->stream : 1);
  return py::dict("shape"_a = py::tuple(shape), "typestr"_a = a->dtype.attr("str"),
                  "data"_a = py::make_tuple(reinterpret_cast<uintptr_t>(a->data), false), "version"_a = 3, "strides"_a = py::none(),
                  "stream"_a = stream);
}

// stream: as in the array API: None or 1 the default stream, -1 no waiting, else a handle.
py::capsule to_dlpack(const Ref& a, const py::object& stream, const py::object&, const py::object& device, const py::object& copy) {
  const auto here = py::make_tuple(dlpack::kCuda, a->device);
  if (!device.is_none() && !device.equal(here)) throw py::buffer_error("dl_device: this array stays on its GPU");
  if (!copy.is_none() && copy.cast<bool>()) throw py::buffer_error("copy: this array is exported without a copy");
  const int64_t reader = stream.is_none() ? 0 : stream.cast<int64_t>();
  if (a->stream >= 0 && reader != -1 && (reader == 1 ? 0 : reader) != a->stream) {
    py::gil_scoped_release release;
    sl::cuda::Stream(reinterpret_cast<void*>(a->stream), a->device).let_wait(reinterpret_cast<void*>(reader == 1 ? 0 : reader));
  }
  return dlpack::export_array(a->data, a->device, a->shape, a->dtype.kind(), static_cast<size_t>(a->dtype.itemsize()), a);
}
// stream: the one that will read it.
Ref from_dlpack(const std::string& name, const py::object& capsule, uintptr_t stream) {
  give_back();
  const dlpack::Import in = dlpack::import(capsule);
  const dlpack::Tensor& t = in.tensor;
  check(t.device_type == dlpack::kCuda || t.device_type == dlpack::kCudaManaged,
        name + ": its DLPack capsule holds memory of device type " + std::to_string(t.device_type) + ", not of a CUDA device");
  const std::string dtype = dlpack::dtype_of(t);
  if (dtype.empty())
    throw py::type_error(name + ": expected a dtype that numpy has, got DLPack code " + std::to_string(t.code) + " of " +
                         std::to_string(t.bits) + " bits, " + std::to_string(t.lanes) + " lanes");
  const std::vector<int64_t> shape(t.shape, t.shape + t.ndim);
  const std::vector<int64_t> strides(t.strides, t.strides + (t.strides ? t.ndim : 0));
  check(dlpack::row_major(t), name + ": expected a C-contiguous device array, got strides " +
                                  py::str(py::cast(strides)).cast<std::string>() + " of a DLPack array");
  auto out = std::make_shared<Array>(static_cast<char*>(t.data) + t.byte_offset, shape, py::dtype(dtype), t.device, in.owner);
  out->read_on = static_cast<int64_t>(stream);
  return out;
}

}  // namespace

PYBIND11_MODULE(SL_MODULE, m) {
  m.doc() = "Compiled CUDA kernels of sublearn. Arguments are checked by the Python layer.";
  py::module_::import("sublearn._cpu");  // where Shape is known to Python
#if defined(SL_EMULATE)
  m.attr("EMULATED") = true;
#else
  m.attr("EMULATED") = false;
#endif
  py::class_<sl::cuda::Queue, std::shared_ptr<sl::cuda::Queue>>(m, "Queue", "A stream of its own, in no order with the default stream.")
      .def(py::init<int>(), "device"_a = 0)
      .def_property_readonly("stream", [](const sl::cuda::Queue& q) {
    return reinterpret_cast<uintptr_t>(q.handle());
  }).def("wait", &wait);
  py::class_<Array, Ref>(m, "Array",
                         "A row-major array in the memory of a GPU; cupy, torch and jax read it by __cuda_array_interface__ or "
                         "__dlpack__.")
      .def(py::init<std::vector<int64_t>, py::dtype, int, std::shared_ptr<sl::cuda::Queue>>(), "shape"_a, "dtype"_a, "device"_a = 0,
           "queue"_a = std::shared_ptr<sl::cuda::Queue>())
      .def(py::init<std::vector<int64_t>, py::dtype, int, uintptr_t, bool>(), "shape"_a, "dtype"_a, "device"_a, "stream"_a, "of_a_call"_a)
      .def_static("view",
                  [](uintptr_t data, std::vector<int64_t> shape, py::dtype dtype, int device, py::object keep) {
    return std::make_shared<Array>(reinterpret_cast<void*>(data), std::move(shape), std::move(dtype), device, std::move(keep));
  }, "data"_a, "shape"_a, "dtype"_a, "device"_a, "keep"_a)
      .def_property_readonly("shape", [](const Array& a) { return py::tuple(py::cast(a.shape)); })
      .def_property_readonly("ndim", [](const Array& a) { return a.shape.size(); })
      .def_readonly("dtype", &Array::dtype)
      .def_readonly("device", &Array::device)
      .def_property_readonly("data", [](const Array& a) { return reinterpret_cast<uintptr_t>(a.data); })
      .def_property_readonly("nbytes", &Array::bytes)
      .def_readwrite("stream", &Array::stream)
      .def_property_readonly("__cuda_array_interface__", &interface)
      .def("__dlpack__", &to_dlpack, py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(), "dl_device"_a = py::none(),
           "copy"_a = py::none())
      .def("__dlpack_device__", [](const Array& a) { return py::make_tuple(dlpack::kCuda, a.device); })
      .def_static("from_dlpack", &from_dlpack, "name"_a, "capsule"_a, "stream"_a = 0)
      .def("reshape",
           [](const Ref& a, std::vector<int64_t> shape) {
    auto out = Array::part(a, a->data, std::move(shape));
    check(out->count() == a->count(), "reshape: another number of entries");
    return out;
  }, "shape"_a)
      .def("rows",
           [](const Ref& a, int64_t from, int64_t to) {  // a view of rows from .. to - 1
    check(!a->shape.empty() && 0 <= from && from <= to && to <= a->shape[0], "rows: outside the array");
    std::vector<int64_t> shape = a->shape;
    const size_t row = a->shape[0] ? a->bytes() / static_cast<size_t>(a->shape[0]) : 0;
    shape[0] = to - from;
    return Array::part(a, static_cast<char*>(a->data) + row * static_cast<size_t>(from), std::move(shape));
  }, "from_"_a, "to"_a)
      .def("upload",
           [](const Array& a, const py::array& from, uintptr_t stream) {
    check(static_cast<size_t>(from.nbytes()) == a.bytes() && (from.flags() & py::array::c_style), "upload: another size or order");
    const void* source = from.data();
    run(a, stream, [&](sl::cuda::Stream& s) {
      s.upload(a.data, source, a.bytes());
      if (sl::cuda::pinned_on_host(source)) s.wait();  // the caller may write to it again
    });
  }, "from_"_a, "stream"_a = 0)
      .def("carry",
           [](const Array& a, py::array to, uintptr_t stream) {  // into a pinned array, without waiting
    check(static_cast<size_t>(to.nbytes()) >= a.bytes() && (to.flags() & py::array::c_style), "carry: too small, or another order");
    void* host = to.mutable_data();
    run(a, stream, [&](sl::cuda::Stream& s) { s.carry(host, a.data, a.bytes()); });
  }, "to"_a, "stream"_a = 0)
      .def("take",
           [](const Array& a, const py::array_t<int, py::array::c_style>& rows, uintptr_t stream) {  // some rows, as numpy
    check(!a.shape.empty() && rows.ndim() == 1, "take: wrong shape");
    for (py::ssize_t k = 0; k < rows.size(); ++k) check(rows.data()[k] >= 0 && rows.data()[k] < a.shape[0], "take: no such row");
    std::vector<int64_t> shape = a.shape;
    shape[0] = rows.size();
    py::array out(a.dtype, shape);
    void* host = out.mutable_data();
    const int* from = rows.data();
    const int64_t count = rows.size();
    const size_t bytes = a.shape[0] ? a.bytes() / static_cast<size_t>(a.shape[0]) : 0;
    run(a, stream, [&](sl::cuda::Stream& s) {
      int* which = s.scratch<int>(count);
      s.upload(which, from, sizeof(int) * static_cast<size_t>(count));
      void* together = s.scratch(bytes * static_cast<size_t>(count));
      s.gather(together, a.data, bytes, which, count);
      s.download(host, together, bytes * static_cast<size_t>(count));
    });
    return out;
  }, "rows"_a, "stream"_a = 0)
      .def("numpy", [](const Array& a, uintptr_t stream) {
    py::array out(a.dtype, a.shape);
    void* to = out.mutable_data();
    run(a, stream, [&](sl::cuda::Stream& s) { s.download(to, a.data, a.bytes()); });
    return out;
  }, "stream"_a = 0);

  m.def("device_count", &sl::cuda::device_count);
  m.def("why_no_device", &sl::cuda::why_no_device);
  m.def("device_of", [](uintptr_t p) { return sl::cuda::device_of(reinterpret_cast<const void*>(p)); }, "pointer"_a);
  m.def("device_info", [](int device) {
    const sl::cuda::Device d = sl::cuda::device_info(device);
    return py::dict("name"_a = d.name, "capability"_a = py::make_tuple(d.major, d.minor), "multiprocessors"_a = d.multiprocessors,
                    "total_bytes"_a = d.total_bytes, "free_bytes"_a = d.free_bytes);
  }, "device"_a = 0);
  m.def("free_bytes", &sl::cuda::free_bytes, "device"_a);
  m.def("let_wait", [](int device, uintptr_t later, uintptr_t earlier) {
    py::gil_scoped_release release;
    sl::cuda::Stream(reinterpret_cast<void*>(earlier), device).let_wait(reinterpret_cast<void*>(later));
  }, "device"_a, "later"_a, "earlier"_a, "What `later` does from now on waits for what `earlier` has been given so far.");
#if defined(SL_EMULATE)
  m.def("pretend", [](bool busy, bool capturing) {
    sl::emulate::pretence().busy = busy;
    sl::emulate::pretence().capturing = capturing;
  }, "busy"_a = false, "capturing"_a = false, "For tests: events do not happen; a graph is being captured.");
#endif
#if defined(SL_RACES)
  m.attr("RACES") = true;
  m.def("planted_race", [](int race) { return sl::cuda::planted_race(static_cast<sl::cuda::PlantedRace>(race)); }, "race"_a);
#endif
  m.def("synchronize", [](int device, uintptr_t stream) {
    py::gil_scoped_release release;
    sl::cuda::Stream(reinterpret_cast<void*>(stream), device).wait();
  }, "device"_a = 0, "stream"_a = 0);

  m.def("rank_real", &rank_real, "a"_a, "rtol"_a, "rank"_a, "certified"_a, "finite"_a, "stream"_a = 0);
  m.def("rank_questions", &rank_questions, "certified"_a, "finite"_a, "stream"_a = 0,
        "(numbers of the matrices whose rank is not proven, number of the first with nan or inf or -1), as numpy and int.");
  m.def("rank_mod", &rank_mod, "a"_a, "p"_a, "rank"_a, "stream"_a = 0);
  m.def("outputs", &outputs, "shape"_a, "theta"_a, "x"_a, "out"_a, "stream"_a = 0);
  m.def("jacobian", &jacobian, "shape"_a, "theta"_a, "x"_a, "indices"_a, "out"_a, "stream"_a = 0);
  m.def("groups_used", &groups_used, "shape"_a, "indices"_a);
  m.def("fit", &fit, "shape"_a, "theta"_a, "x"_a, "y"_a, "indices"_a, "learns"_a, "steps"_a, "optimizer"_a, "lr"_a, "tol"_a, "theta_out"_a,
        "loss"_a, "steps_out"_a, "status"_a, "stream"_a = 0, "open"_a = nullptr);
  m.def("newton", &newton, "shape"_a, "theta"_a, "x"_a, "y"_a, "indices"_a, "learns"_a, "start_scale"_a, "starts"_a, "max_iterations"_a,
        "tol"_a, "seed"_a, "task"_a, "trials"_a, "theta_out"_a, "loss"_a, "found"_a, "iterations"_a, "stream"_a = 0, "open"_a = nullptr,
        "norm2"_a = nullptr);
  m.def("screen", &screen, "mask"_a, "jacobian"_a, "p"_a, "required"_a, "inside"_a, "outside"_a, "at_once"_a, "indices"_a, "classes"_a,
        "stream"_a = 0);
  m.def("found_by_loss", &found_by_loss, "loss"_a, "y"_a, "tol"_a, "open"_a, "found"_a, "stream"_a = 0);
  m.attr("NO") = sl::kNo;
  m.attr("SEARCHED") = sl::kSearched;
  m.attr("AFFINE") = sl::kAffine;
  m.attr("NOT_ALLOWED") = sl::kNotAllowed;
  m.def("strips", [](size_t most) {
    sl::cuda::strip_tuning().most = most;
    return sl::cuda::strip_tuning().last.load();
  }, "most"_a, "Bytes per warp up to which tables lie in shared memory, 0: the constants of the kernels. Returns the last launch's.");
  m.def("pinned", &pinned, "shape"_a, "dtype"_a, "queue"_a);
  m.def("continuation", &continuation, "shape"_a, "points"_a, "teacher"_a, "indices"_a, "degrees"_a, "rows"_a, "mix"_a, "learns"_a,
        "allocation"_a, "from_"_a, "to"_a, "group"_a, "start"_a, "stop_at_real"_a, "aim"_a, "least_step"_a, "max_steps"_a, "sliced"_a,
        "end"_a, "status"_a, "steps"_a, "largest"_a, "correction"_a, "done"_a, "first"_a, "stream"_a = 0);
  m.def("jacobian_mod", &jacobian_mod, "shape"_a, "theta"_a, "x"_a, "hidden_seed"_a, "p"_a, "out"_a, "stream"_a = 0);
  m.def("draw", &draw, "shape"_a, "seed"_a, "task"_a, "first"_a, "shared"_a, "gains"_a, "recipe"_a, "teacher"_a, "student"_a, "x"_a,
        "mask"_a, "stream"_a = 0);
}
