// shape.h: what a network is (D1), as numbers. No mathematics.
//
// Flat parameter layout: groups one after the other, C order inside a group; matrices first, then biases.
//   recurrent:    B (n x i), W (n x n), D (o x n), then b (n), c (o) and g (n) where present
//   feedforward:  W1 (n_1 x n_0) .. WL (n_L x n_{L-1}), then b1 (n_1) .. bL (n_L), then g1 (n_1) .. g{L-1} (n_{L-1}) where present
// Inputs of one trial: recurrent x[k][t][j] (sequences x T x i), with `start` then h_0[k][a] (sequences x n); feedforward x[j][s]
// (n_0 x m).
// Outputs of one trial: recurrent y[k][t][e] (sequences x T x o); feedforward y[e][s] (n_L x m).
#pragma once
#include <cstdint>

#include "core/hostdev.h"

namespace sl {

enum class Kind : int { recurrent, feedforward };
enum class Activation : int { linear, relu, tanh };
constexpr int kActivations = 3;  // loops that write activations out, beside network/activation.h, assert how many they know

constexpr int kMaxLayers = 16;
constexpr int kMaxGroups = 3 * kMaxLayers;
constexpr int kFanInOfBias = 0, kFanInOfGain = -1;  // instead of a number of weights into one unit

struct Shape {
  Kind kind = Kind::recurrent;
  Activation activation = Activation::linear;
  // recurrent
  int inputs = 0, hidden = 0, outputs = 0, steps = 0;
  int B = 0, W = 0, D = 0, b = -1, c = -1, g = -1;  // offsets of the groups; -1 where absent
  double leak = 1;  // a in s_t = (1 - a) s_{t-1} + a phi(..)
  bool start = false;  // h_0 is given with the inputs; otherwise it is 0
  // feedforward: widths[0..layers]; weight[k], bias[k] and gain[k] are the offsets of W(k+1), b(k+1) and g(k+1); -1 where absent
  int layers = 0;
  int widths[kMaxLayers + 1] = {};
  int weight[kMaxLayers] = {}, bias[kMaxLayers] = {}, gain[kMaxLayers] = {};
  int samples = 0;  // feedforward: input columns; recurrent: sequences

  int groups = 0;
  int group_begin[kMaxGroups + 1] = {};  // offsets of all groups in flat order, then size
  int group_fan_in[kMaxGroups] = {};
  int size = 0;  // weights in all groups
  int equations = 0;  // outputs of one trial
  int inputs_size = 0;  // numbers in x of one trial

  int gained = 0;  // units with a gain
  int first_gain = 0;  // gains come last: size - gained

  // A network of one sequence with h_t = phi(..), h_0 = 0 or of layers a_l = phi(..): what kernels with a network of their own know.
  SL_INLINE bool plain() const { return gained == 0 && !start && leak == 1 && (kind == Kind::feedforward || samples == 1); }

  struct Extras {  // what goes beyond a plain recurrent network
    bool gain = false, start = false;
    double leak = 1;
    int sequences = 1;
  };
  static Shape recurrent(int inputs, int hidden, int outputs, int steps, Activation, bool has_b, bool has_c, const Extras&);
  static Shape feedforward(int samples, int layers, const int* widths, Activation, const bool* has_bias, const bool* has_gain);
};

// Where a flat index lies: which group, of which kind, and which row and column (column 0 in biases and gains).
enum class GroupKind : int { matrix, bias, gain };
struct Place {
  int group;  // recurrent: 'B', 'W', 'D', 'b', 'c', 'g'; feedforward: layer 0..L-1
  GroupKind kind;
  int row, col;
};
SL_INLINE Place place_of(const Shape& s, int flat) {  // flat in 0 .. size - 1
  if (s.kind == Kind::recurrent) {
    if (s.g >= 0 && flat >= s.g) return {'g', GroupKind::gain, flat - s.g, 0};
    if (s.c >= 0 && flat >= s.c) return {'c', GroupKind::bias, flat - s.c, 0};
    if (s.b >= 0 && flat >= s.b) return {'b', GroupKind::bias, flat - s.b, 0};
    if (flat >= s.D) return {'D', GroupKind::matrix, (flat - s.D) / s.hidden, (flat - s.D) % s.hidden};
    if (flat >= s.W) return {'W', GroupKind::matrix, (flat - s.W) / s.hidden, (flat - s.W) % s.hidden};
    return {'B', GroupKind::matrix, flat / s.inputs, flat % s.inputs};
  }
  for (int k = s.layers - 2; k >= 0; --k)
    if (s.gain[k] >= 0 && flat >= s.gain[k]) return {k, GroupKind::gain, flat - s.gain[k], 0};
  for (int k = s.layers - 1; k >= 0; --k)
    if (s.bias[k] >= 0 && flat >= s.bias[k]) return {k, GroupKind::bias, flat - s.bias[k], 0};
  int k = s.layers - 1;
  while (flat < s.weight[k]) --k;
  return {k, GroupKind::matrix, (flat - s.weight[k]) / s.widths[k], (flat - s.weight[k]) % s.widths[k]};
}

}  // namespace sl
