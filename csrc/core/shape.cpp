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
  s.first_gain = s.size - s.gained;
  s.equations = static_cast<int>(equations);
  s.inputs_size = static_cast<int>(inputs);
}

Shape Shape::recurrent(int i, int n, int o, int T, Activation act, bool has_b, bool has_c, const Extras& extras) {
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
  if (has_b) s.b = add_group(s, n, kFanInOfBias);
  if (has_c) s.c = add_group(s, o, kFanInOfBias);
  if (extras.gain) s.g = add_group(s, n, kFanInOfGain);
  s.gained = extras.gain ? n : 0;
  require(extras.leak > 0 && extras.leak <= 1, "a leak lies above 0 and up to 1");
  require(extras.sequences >= 1, "a trial has at least one sequence");
  s.leak = extras.leak;
  s.start = extras.start;
  s.samples = extras.sequences;
  const int64_t most = int64_t{1} << 31;
  require(int64_t{T} * o < most && int64_t{T} * i + n < most, "trial too large");
  count_trial(s, int64_t{s.samples} * T * o, s.samples * (int64_t{T} * i + (s.start ? n : 0)));
  return s;
}

Shape Shape::feedforward(int m, int layers, const int* widths, Activation act, const bool* has_bias, const bool* has_gain) {
  require(layers >= 1 && layers <= kMaxLayers, "a feedforward network has 1 to 16 layers");
  Shape s;
  s.kind = Kind::feedforward;
  s.activation = act;
  s.samples = m;
  s.layers = layers;
  for (int k = 0; k <= layers; ++k) s.widths[k] = widths[k];
  for (int k = 0; k < layers; ++k) s.weight[k] = add_group(s, int64_t{widths[k + 1]} * widths[k], widths[k]);
  for (int k = 0; k < layers; ++k) s.bias[k] = has_bias[k] ? add_group(s, widths[k + 1], kFanInOfBias) : -1;
  for (int k = 0; k < layers; ++k) {
    const bool has = k + 1 < layers && has_gain[k];  // the last layer is linear and read by nobody
    s.gain[k] = has ? add_group(s, widths[k + 1], kFanInOfGain) : -1;
    if (has) s.gained += widths[k + 1];
  }
  count_trial(s, int64_t{m} * widths[layers], int64_t{m} * widths[0]);
  return s;
}

}  // namespace sl
