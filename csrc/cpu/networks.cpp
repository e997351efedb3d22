// The passes of networks over packs of students. See networks.h; the formulas are in math/recurrent.h and math/feedforward.h.
#include "cpu/networks.h"

namespace sl {
namespace SL_ISA {

template <class Model, class S> void Network<Model, S>::prepare(const S* theta) { Model::prepare(theta); }
template <class Model, class S> void Network<Model, S>::forward(const S* theta, S* y) { Model::forward(theta, y); }
template <class Model, class S> void Network<Model, S>::adjoints(const S* theta, const S* e) { Model::adjoints(theta, e); }
template <class Model, class S> void Network<Model, S>::gradient(const S* theta, const S* e, S* g) { Model::gradient(theta, e, g); }
template <class Model, class S> void Network<Model, S>::sensitivities(const S* theta) { Model::sensitivities(theta); }
template <class Model, class S>
void Network<Model, S>::column(const Slots<Traits<S>::lanes>& slots, int k, int first, S* out, int stride) {
  Model::column(slots, k, first, out, stride);
}

#define SL_NETWORKS(S)                      \
  template class Network<Feedforward<S>, S>;  \
  template class Network<Recurrent<S, 4>, S>; \
  template class Network<Recurrent<S, 8>, S>; \
  template class Network<Recurrent<S, 0>, S>;
SL_NETWORKS(Pack<float>)
SL_NETWORKS(Pack<double>)

}  // namespace SL_ISA
}  // namespace sl
