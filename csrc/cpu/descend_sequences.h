// descend_sequences.h: masked descent of recurrent networks of many sequences. See descend_sequences.cpp.
#pragma once
#include "cpu/descend_samples.h"

namespace sl {
namespace SL_ISA {

// Whether it is the faster way, by the shape alone: a student's result does not depend on its batch.
template <class T> bool descends_by_sequences(const Shape&);
template <class T> void descend_by_sequences(const SomeStudents<T>&, Control&);

}  // namespace SL_ISA
}  // namespace sl
