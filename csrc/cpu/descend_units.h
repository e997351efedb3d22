// descend_units.h: masked descent of recurrent networks with many hidden units. See descend_units.cpp.
#pragma once
#include "cpu/descend_samples.h"

namespace sl {
namespace SL_ISA {

// Whether it is the faster way for students with up to so many learnable weights. Both ways give the same bits.
template <class T> bool descends_by_units(const Shape&, int learnable);
template <class T> void descend_by_units(const SomeStudents<T>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
