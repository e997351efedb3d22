// The passes of networks over packs of students. See networks.h; the formulas are in network/recurrent.h and network/feedforward.h.
#include "cpu/networks.h"

namespace sl {
namespace SL_ISA {

template <class Model, class S> void Network<Model, S>::prepare(const S* theta) { Model::prepare(theta); }
template <class Model, class S> void Network<Model, S>::forward(const S* theta, S* y) { Model::forward(theta, y); }
template <class Model, class S> void Network<Model, S>::gradient(const S* theta, const S* e, S* g) { Model::gradient(theta, e, g); }
template <class Model, class S>
void Network<Model, S>::gradient(const S* theta, const S* e, const Listed* list, int count, S* g) {
  Model::adjoints(theta, e);
  for (int k = 0; k < count; ++k) g[list[k].flat] = Model::gradient_at(e, list[k].place);
}
template <class Model, class S> void Network<Model, S>::sensitivities(const S* theta) { Model::sensitivities(theta); }
// One copy for own places in each lane and one for shared places: asking in every gather cost 8 % with tanh.
template <class Model, class S>
__attribute__((flatten)) void Network<Model, S>::column(const Slots<Traits<S>::lanes>& slots, int k, int first, S* out) {
  Slots<Traits<S>::lanes> known = slots;
  if (slots.same) {
    known.same = true;
    Model::column(known, k, first, out, 1);
  } else {
    known.same = false;
    Model::column(known, k, first, out, 1);
  }
}

#define SL_NETWORKS(S)                        \
  template class Network<Feedforward<S>, S>;  \
  template class Network<Recurrent<S, 4>, S>; \
  template class Network<Recurrent<S, 8>, S>; \
  template class Network<Recurrent<S, 0>, S>;
SL_NETWORKS(Pack<float>)
SL_NETWORKS(Pack<double>)

}  // namespace SL_ISA
}  // namespace sl
