// networks.h: the networks of packs of float or double, compiled once for all kernels (networks.cpp): a call a pass. With copies in every
// kernel that uses them these took two and a half times as long to compile, and were no faster.
#pragma once
#include "cpu/models.h"

namespace sl {
namespace SL_ISA {

struct Listed {
  int flat;
  SlotPlace place;
};

template <class Model, class S>
class Network : public Model {
 public:
  using Model::Model;
  void prepare(const S* theta);
  void forward(const S* theta, S* y);
  void gradient(const S* theta, const S* e, S* g);
  void gradient(const S* theta, const S* e, const Listed* list, int count, S* g);  // of the listed weights only
  void sensitivities(const S* theta);
  void column(const Slots<Traits<S>::lanes>& slots, int k, int first, S* out);  // stride 1
};

template <class S, class F>
SL_INLINE void with_network(const Shape& s, F&& f) {
  with_model<S>(s, [&](auto type) { f(Type<Network<typename decltype(type)::type, S>>{}); });
}

}  // namespace SL_ISA
}  // namespace sl
