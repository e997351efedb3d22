// networks.h: the networks of packs of float or double, compiled once for all kernels (networks.cpp): a call a pass, nothing inlined. Each kernel
// with copies of its own took twice as long to compile and was no faster.
#pragma once
#include "cpu/models.h"

namespace sl {
namespace SL_ISA {

template <class Model, class S>
class Network : public Model {
 public:
  using Model::Model;
  void prepare(const S* theta);
  void forward(const S* theta, S* y);
  void adjoints(const S* theta, const S* e);
  void gradient(const S* theta, const S* e, S* g);
  void sensitivities(const S* theta);
  void column(const Slots<Traits<S>::lanes>& slots, int k, int first, S* out);  // stride 1
};

template <class S, class F>
SL_INLINE void with_network(const Shape& s, F&& f) {
  with_model<S>(s, [&](auto type) { f(Type<Network<typename decltype(type)::type, S>>{}); });
}

}  // namespace SL_ISA
}  // namespace sl
