// descend_minibatches.h: descent on a part of the samples in each step. See descend_minibatches.cpp.
#pragma once
#include "ops/descend.h"

namespace sl {
namespace SL_ISA {

// descend: how a whole batch of samples descends (descend.cpp). a.more.learned and the moments that the optimiser has must be there.
template <class T> void descend_by_minibatches(const DescendArgs<T>& a, void (*descend)(const DescendArgs<T>&, Control&), Control&);

}  // namespace SL_ISA
}  // namespace sl
