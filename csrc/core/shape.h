// shape.h: what a network is (D1), as numbers. No mathematics.
//
// Flat parameter layout: groups one after the other, C order inside a group; matrices first, then biases.
//   recurrent:    B (n x i), W (n x n), D (o x n), then b (n) and c (o) where present
//   feedforward:  W1 (n_1 x n_0) .. WL (n_L x n_{L-1}), then b1 (n_1) .. bL (n_L) where present
// Inputs of one trial: recurrent x[t][j] (T x i); feedforward x[j][s] (n_0 x m).
// Outputs of one trial: recurrent y[t][e] (T x o); feedforward y[e][s] (n_L x m).
#pragma once
#include <cstdint>

#include "core/hostdev.h"

namespace sl {

enum class Kind : int { recurrent, feedforward };
enum class Activation : int { linear, relu, tanh };
constexpr int kActivations = 3;  // loops that write activations out, beside network/activation.h, assert how many they know

constexpr int kMaxLayers = 16;
constexpr int kMaxGroups = 2 * kMaxLayers;

struct Shape {
  Kind kind = Kind::recurrent;
  Activation activation = Activation::linear;
  // recurrent
  int inputs = 0, hidden = 0, outputs = 0, steps = 0;
  int B = 0, W = 0, D = 0, b = -1, c = -1;  // offsets of the groups; -1 where absent
  // feedforward: widths[0..layers], weight[k] and bias[k] are the offsets of W(k+1) and b(k+1); bias -1 where absent
  int layers = 0, samples = 0;
  int widths[kMaxLayers + 1] = {};
  int weight[kMaxLayers] = {}, bias[kMaxLayers] = {};

  int groups = 0;
  int group_begin[kMaxGroups + 1] = {};  // offsets of all groups in flat order, then size
  int group_fan_in[kMaxGroups] = {};     // 0 for a bias
  int size = 0;                          // weights in all groups
  int equations = 0;                     // outputs of one trial
  int inputs_size = 0;                   // numbers in x of one trial

  static Shape recurrent(int inputs, int hidden, int outputs, int steps, Activation, bool has_b, bool has_c);
  static Shape feedforward(int samples, int layers, const int* widths, Activation, const bool* has_bias);
};

// Where a flat index lies: which group (matrix or bias), which row and column (column 0 in a bias).
struct Place {
  int group;  // recurrent: 'B', 'W', 'D', 'b', 'c'; feedforward: layer 0..L-1
  bool is_bias;
  int row, col;
};
SL_INLINE Place place_of(const Shape& s, int flat) {  // flat in 0 .. size - 1
  if (s.kind == Kind::recurrent) {
    if (s.c >= 0 && flat >= s.c) return {'c', true, flat - s.c, 0};
    if (s.b >= 0 && flat >= s.b) return {'b', true, flat - s.b, 0};
    if (flat >= s.D) return {'D', false, (flat - s.D) / s.hidden, (flat - s.D) % s.hidden};
    if (flat >= s.W) return {'W', false, (flat - s.W) / s.hidden, (flat - s.W) % s.hidden};
    return {'B', false, flat / s.inputs, flat % s.inputs};
  }
  for (int k = s.layers - 1; k >= 0; --k)
    if (s.bias[k] >= 0 && flat >= s.bias[k]) return {k, true, flat - s.bias[k], 0};
  int k = s.layers - 1;
  while (flat < s.weight[k]) --k;
  return {k, false, (flat - s.weight[k]) / s.widths[k], (flat - s.weight[k]) % s.widths[k]};
}

}  // namespace sl
