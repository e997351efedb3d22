// Tiles against three loops, on whole numbers, so that every order of summation gives the same; entries past the end stay as they are.
#include "network/tiles.h"

#include <vector>

#include "check.h"
#include "scalar/modp.h"
#include "scalar/pack.h"

using namespace sl::SL_ISA;

namespace {

using F = sl::ModP<2147483647u>;

template <class S> S draw(Random& random) { return S(random.below(201) - 100); }
template <> F draw<F>(Random& random) { return F(static_cast<uint32_t>(random.bits() % 2147483647u)); }
template <> Pack<double> draw<Pack<double>>(Random& random) {
  Pack<double> out{};
  for (int l = 0; l < kLanes<double>; ++l) out[l] = random.below(201) - 100;
  return out;
}
template <class S> bool same(const std::vector<S>& a, const std::vector<S>& b) {
  return __builtin_memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0;
}
// Aligned as packs want it.
template <class S> std::vector<S> some(Random& random, int count) {
  std::vector<S> out(static_cast<size_t>(count));
  for (S& each : out) each = draw<S>(random);
  return out;
}

template <class S> void products() {
  Random random{7};
  for (int rows = 0; rows <= 19; ++rows)
    for (int columns : {0, 1, 2, 3, 5, 8, 13}) {
      const int stride = columns + rows % 3, most = 24;
      const std::vector<S> M = some<S>(random, rows * stride + 1), v = some<S>(random, most), out = some<S>(random, most);
      std::vector<S> got = out, want = out;
      rows_times(M.data(), stride, v.data(), rows, columns, got.data());
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) want[i] += M[i * stride + j] * v[j];
      CHECK(same(got, want));

      got = want = out;
      cols_times(M.data(), stride, v.data(), rows, columns, got.data());
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) want[j] += M[i * stride + j] * v[i];
      CHECK(same(got, want));

      got = out;
      cols_times<true>(M.data(), stride, v.data(), rows, columns, got.data());
      for (int j = 0; j < columns; ++j) want[j] = S{};
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) want[j] += M[i * stride + j] * v[i];
      CHECK(same(got, want));

      const int times = rows % 4 + 1;  // sums over so many outer products
      const std::vector<S> left = some<S>(random, times * most), right = some<S>(random, times * most);
      std::vector<S> table = some<S>(random, most * most), truth = table;
      outer_sums(left.data(), most, rows, right.data(), most, columns, times, table.data(), most);
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) {
          S sum{};
          for (int t = 0; t < times; ++t) sum += left[t * most + i] * right[t * most + j];
          truth[i * most + j] = sum;
        }
      CHECK(same(table, truth));

      std::vector<S> two = some<S>(random, 2 * most), both = two;
      rows_times_many<2, false>(M.data(), stride, left.data(), 0, rows, columns, two.data(), most);
      for (int q = 0; q < 2; ++q)
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < columns; ++j) both[q * most + i] += M[i * stride + j] * left[j];
      CHECK(same(two, both));
    }
}

template <int N> void steps() {
  Random random{9};
  const std::vector<double> M = some<double>(random, N * N);
  double v[N], rows[N] = {}, cols[N] = {}, want_rows[N] = {}, want_cols[N] = {};
  for (double& each : v) each = draw<double>(random);
  rows_step<N>(M.data(), v, rows);
  cols_step<N>(M.data(), v, cols);
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < N; ++j) {
      want_rows[i] += M[i * N + j] * v[j];
      want_cols[j] += M[i * N + j] * v[i];
    }
  for (int k = 0; k < N; ++k) CHECK(rows[k] == want_rows[k] && cols[k] == want_cols[k]);
}

}  // namespace

void test_tiles() {
  products<double>();
  products<float>();
  products<F>();
  products<Pack<double>>();
  steps<2>();
  steps<5>();
  steps<8>();
}
