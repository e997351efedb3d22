// students.h (ops): the batch of students every operation on networks takes. Row-major; a stride of 0 means that all students
// share that array.
#pragma once
#include <cstdint>

#include "core/shape.h"

namespace sl {
template <class T>
struct Students {
  const Shape* shape = nullptr;
  int64_t batch = 0;
  const T* theta = nullptr;  // [batch][size]
  int64_t theta_stride = 0;
  const T* x = nullptr;      // [batch][inputs_size]
  int64_t x_stride = 0;
};
}  // namespace sl
