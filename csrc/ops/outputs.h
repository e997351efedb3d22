// outputs: y[b] = f(theta[b]; x[b])   (D1).   out [batch][equations]. Cost: one forward pass per student.
#pragma once
#include "core/parallel.h"
#include "ops/isa.h"
#include "ops/students.h"

namespace sl {
template <class T> struct OutputsArgs { Students<T> students; T* out; int threads; };
SL_PER_ISA(void outputs(const OutputsArgs<float>&, Control&); void outputs(const OutputsArgs<double>&, Control&);)
}  // namespace sl
