// descend_samples.h: masked descent of networks with one hidden layer and few learnable weights. See descend_samples.cpp.
#pragma once
#include "ops/descend.h"

namespace sl {
namespace SL_ISA {

template <class T>
struct SomeStudents {
  const DescendArgs<T>* args;
  const int64_t* order;  // [count]: which students; null: all of them
  int64_t count;
  int64_t student(int64_t k) const { return order ? order[k] : k; }
};

// Whether it is the faster way for a student with these learnable weights (its own: its result does not depend on its batch). Gains: only
// where the weights before them stay as they are.
// A batch with students of both kinds takes two passes, one after the other, with packs of their own.
template <class T> bool descends_by_samples(const Shape&, const int* indices, int learnable);
template <class T> void descend_by_samples(const SomeStudents<T>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
