// planted_limit.h: see planted_limit.cpp.
#pragma once

namespace sl {
namespace cuda {
void planted_limit(bool by_call);  // by_call: an Error, the limit that one launch sets is too low for the other
}  // namespace cuda
}  // namespace sl
