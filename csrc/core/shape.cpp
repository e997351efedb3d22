#include "core/shape.h"

#include "core/error.h"

namespace sl {

static int add_group(Shape& s, int64_t count, int fan_in) {
  require(count > 0 && s.size + count < (int64_t{1} << 31), "network too large or empty");
  const int at = s.size;
  s.group_begin[s.groups] = at;
  s.group_fan_in[s.groups] = fan_in;
  s.size += static_cast<int>(count);
  s.group_begin[++s.groups] = s.size;
  return at;
}

static void count_trial(Shape& s, int64_t equations, int64_t inputs) {
  require(equations < (int64_t{1} << 31) && inputs < (int64_t{1} << 31), "trial too large");
  s.equations = static_cast<int>(equations);
  s.inputs_size = static_cast<int>(inputs);
}

Shape Shape::recurrent(int i, int n, int o, int T, Activation act, bool has_b, bool has_c) {
  Shape s;
  s.kind = Kind::recurrent;
  s.activation = act;
  s.inputs = i;
  s.hidden = n;
  s.outputs = o;
  s.steps = T;
  s.B = add_group(s, int64_t{n} * i, i);
  s.W = add_group(s, int64_t{n} * n, n);
  s.D = add_group(s, int64_t{o} * n, n);
  if (has_b) s.b = add_group(s, n, 0);
  if (has_c) s.c = add_group(s, o, 0);
  count_trial(s, int64_t{T} * o, int64_t{T} * i);
  return s;
}

Shape Shape::feedforward(int m, int layers, const int* widths, Activation act, const bool* has_bias) {
  require(layers >= 1 && layers <= kMaxLayers, "a feedforward network has 1 to 16 layers");
  Shape s;
  s.kind = Kind::feedforward;
  s.activation = act;
  s.samples = m;
  s.layers = layers;
  for (int k = 0; k <= layers; ++k) s.widths[k] = widths[k];
  for (int k = 0; k < layers; ++k) s.weight[k] = add_group(s, int64_t{widths[k + 1]} * widths[k], widths[k]);
  for (int k = 0; k < layers; ++k) s.bias[k] = has_bias[k] ? add_group(s, widths[k + 1], 0) : -1;
  count_trial(s, int64_t{m} * widths[layers], int64_t{m} * widths[0]);
  return s;
}

}  // namespace sl
