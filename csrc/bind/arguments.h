// arguments.h (bind): what both modules ask of arguments. Arguments are checked in Python before they come here; what is checked again here
// is only what memory safety needs.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "bind/gil.h"
#include "ops/trial.h"

namespace bindings {
namespace py = pybind11;
using namespace pybind11::literals;

inline void check(bool ok, const std::string& what) {
  if (!ok) throw py::value_error(what);
}

// Holds the arrays of a recipe alive while C++ points into them.
struct OwnedRecipe {
  template <class T> using Array = py::array_t<T, py::array::c_style>;
  Array<bool> fixed;
  std::vector<Array<int64_t>> arrays;
  std::vector<sl::RecipePiece> pieces;
  OwnedRecipe(const py::tuple& recipe, int size) {
    fixed = recipe[0].cast<Array<bool>>();
    check(fixed.size() == size, "recipe: fixed has the wrong size");
    for (auto item : recipe[1].cast<py::sequence>()) {
      auto piece = item.cast<py::tuple>();
      arrays.push_back(piece[0].cast<Array<int64_t>>());
      arrays.push_back(piece[1].cast<Array<int64_t>>());
      const auto &members = arrays[arrays.size() - 2], &offsets = arrays.back();
      sl::RecipePiece p{members.data(), offsets.data(), offsets.size() - 1, piece[2].cast<int64_t>(), piece[3].cast<int64_t>()};
      check(p.lists >= 0 && p.pick >= 0 && p.pick <= p.lists && p.each >= 0, "recipe: picks more lists than there are");
      for (py::ssize_t k = 0; k < members.size(); ++k)
        check(members.data()[k] >= 0 && members.data()[k] < size, "recipe: member outside the network");
      for (int64_t k = 0; k < p.lists; ++k)
        check(p.offsets[k] >= 0 && p.offsets[k + 1] - p.offsets[k] >= p.each && p.offsets[k + 1] <= members.size(),
              "recipe: picks more members than a list has");
      pieces.push_back(p);
    }
  }
  sl::Recipe view() const { return {fixed.data(), pieces.data(), static_cast<int64_t>(pieces.size())}; }
};

}  // namespace bindings
