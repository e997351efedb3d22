// Krawczyk's test, one student at a time. Compiled once: a proof is cheap beside the search for what it proves. See ops/certify.h.
#include "ops/certify.h"

#include <utility>

#include "cpu/models.h"
#include "scalar/ball.h"

namespace sl {
using namespace base;
namespace {

constexpr int kPolish = 3;
constexpr double kInflate[] = {2.0, 16.0, 256.0, 1e4};

inline void widen(double*, double) {}  // a middle is enough for polishing
inline void widen(Ball* target, double radius) { target->rad += radius; }

// Residual at `rows` and, with J, the Jacobian [k][k] at theta, in the scalar S.
template <class Model, class S>
struct System {
  const CertifyArgs& a;
  const Shape& s;
  Model model;
  S *theta, *y, *column, *target;
  Slots<1> slots;

  System(const CertifyArgs& args, int64_t b, Scratch& scratch) : a(args), s(*args.students.shape), model(s, scratch) {
    theta = static_cast<S*>(scratch.take(sizeof(S) * s.size));
    y = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
    column = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
    target = static_cast<S*>(scratch.take(sizeof(S) * s.equations));
    slots.allocate(a.budget, [&](size_t n) { return static_cast<int*>(scratch.take(n * sizeof(int))); });
    for (int e = 0; e < s.equations; ++e) {
      target[e] = S(a.y[b * s.equations + e]);
      if (a.y_radius) widen(target + e, a.y_radius[b * s.equations + e]);
    }
    const double *from = a.students.theta + b * a.students.theta_stride, *x = a.students.x + b * a.students.x_stride;
    for (int k = 0; k < s.size; ++k) theta[k] = S(from[k]);
    for (int k = 0; k < s.inputs_size; ++k) *model.input(k) = S(x[k]);
    for (int k = 0; k < a.budget; ++k) set_slot(model, slots, k, 0, a.indices[b * a.index_stride + k]);
    bool all[kMaxGroups];
    for (bool& g : all) g = true;
    model.learn(all);
    model.inputs_ready(S(1.0));
    if (!a.teacher) return;
    S* student = static_cast<S*>(scratch.take(sizeof(S) * s.size));
    for (int k = 0; k < s.size; ++k) {
      student[k] = theta[k];
      theta[k] = S(a.teacher[b * s.size + k]);
    }
    model.prepare(theta);
    model.forward(theta, target);
    for (int k = 0; k < s.size; ++k) theta[k] = student[k];
  }
  void evaluate(const S* z, S* F, S* J) {
    for (int k = 0; k < a.budget; ++k) theta[slots.flat[k]] = z[k];
    model.prepare(theta);
    model.forward(theta, y);
    for (int e = 0; e < a.budget; ++e) F[e] = y[a.rows[e]] - target[a.rows[e]];
    if (!J) return;
    model.sensitivities(theta);
    for (int k = 0; k < a.budget; ++k) {
      model.column(slots, k, 0, column, 1);
      for (int e = 0; e < a.budget; ++e) J[e * a.budget + k] = column[a.rows[e]];
    }
  }
};

// X = J^-1 by Gauss-Jordan elimination with partial pivoting; work [k][2 k]. False where a pivot is zero or not finite.
bool invert(const double* J, int k, double* work, double* X) {
  const int w = 2 * k;
  for (int r = 0; r < k; ++r)
    for (int c = 0; c < k; ++c) {
      work[r * w + c] = J[r * k + c];
      work[r * w + k + c] = r == c;
    }
  for (int c = 0; c < k; ++c) {
    int best = c;
    for (int r = c + 1; r < k; ++r)
      if (std::fabs(work[r * w + c]) > std::fabs(work[best * w + c])) best = r;
    const double pivot = work[best * w + c];
    if (!(std::fabs(pivot) > 0) || !std::isfinite(pivot)) return false;
    for (int j = 0; j < w; ++j) {
      std::swap(work[c * w + j], work[best * w + j]);
      work[c * w + j] /= pivot;
    }
    for (int r = 0; r < k; ++r) {
      const double f = work[r * w + c];
      if (r == c || f == 0) continue;
      for (int j = 0; j < w; ++j) work[r * w + j] -= f * work[c * w + j];
    }
  }
  for (int r = 0; r < k; ++r)
    for (int c = 0; c < k; ++c) X[r * k + c] = work[r * w + k + c];
  return true;
}

template <template <class> class Model>
void certify_one(void* context, int, int64_t b, Control&) {
  const CertifyArgs& a = *static_cast<const CertifyArgs*>(context);
  const int k = a.budget;
  const size_t kk = static_cast<size_t>(k) * k;
  using Plain = System<Model<double>, double>;
  using Sure = System<Model<Ball>, Ball>;
  Scratch scratch;
  auto take = [&](size_t n) { return static_cast<double*>(scratch.take(sizeof(double) * n)); };
  Plain plain(a, b, scratch);
  Sure sure(a, b, scratch);
  double *J = take(kk), *X = take(kk), *work = take(2 * kk), *F = take(k), *d = take(k), *rad = take(k);
  Ball *ball_z = static_cast<Ball*>(scratch.take(sizeof(Ball) * k)), *ball_F = static_cast<Ball*>(scratch.take(sizeof(Ball) * k)),
       *ball_J = static_cast<Ball*>(scratch.take(sizeof(Ball) * kk));
  double* z = a.polished + b * k;
  for (int j = 0; j < k; ++j) z[j] = plain.theta[plain.slots.flat[j]];
  a.radius_out[b] = -1;
  for (int step = 0; step <= kPolish; ++step) {
    plain.evaluate(z, F, J);
    if (!invert(J, k, work, X)) return;
    if (step == kPolish) break;
    for (int r = 0; r < k; ++r) {
      double sum = 0;
      for (int c = 0; c < k; ++c) sum += X[r * k + c] * F[c];
      d[r] = sum;
    }
    for (int r = 0; r < k; ++r) z[r] -= d[r];
  }
  for (int j = 0; j < k; ++j) ball_z[j] = Ball(z[j]);
  sure.evaluate(ball_z, ball_F, nullptr);
  for (int r = 0; r < k; ++r) {
    Ball sum;
    for (int c = 0; c < k; ++c) sum += Ball(X[r * k + c]) * ball_F[c];
    d[r] = sum.most();
    if (!std::isfinite(d[r])) return;
  }
  for (const double inflate : kInflate) {
    double largest = 0;
    for (int j = 0; j < k; ++j) {
      rad[j] = inflate * d[j] + 1e-15 * std::fabs(z[j]) + Ball::kTiny;
      ball_z[j] = Ball(z[j], rad[j]);
      largest = std::fmax(largest, rad[j]);
    }
    sure.evaluate(ball_z, ball_F, ball_J);
    bool inside = true;
    for (int r = 0; r < k && inside; ++r) {
      double reach = d[r];
      for (int c = 0; c < k; ++c) {
        Ball entry(r == c ? 1.0 : 0.0);
        for (int j = 0; j < k; ++j) entry = entry - Ball(X[r * k + j]) * ball_J[j * k + c];
        reach += entry.most() * rad[c] * Ball::kUp;
      }
      inside = reach * (1 + 1e-12) < rad[r];  // false for NaN; the factor covers the k roundings of the sum (k < 1000)
    }
    if (inside) {
      a.radius_out[b] = largest;
      return;
    }
  }
}

template <class S> using RecurrentOf = Recurrent<S, 0>;
template <class S> using FeedforwardOf = Feedforward<S>;

}  // namespace

void certify(const CertifyArgs& a, Control& control) {
  Body body = a.students.shape->kind == Kind::feedforward ? certify_one<FeedforwardOf> : certify_one<RecurrentOf>;
  parallel_for(a.students.batch, a.threads, control, body, const_cast<CertifyArgs*>(&a));
}

}  // namespace sl
