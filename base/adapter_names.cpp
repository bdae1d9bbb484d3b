// How it works. The last colon divides, because adapters' names have none; what follows is cut at each '+'.
//
// Tested by tests/base/adapter_names_test.cpp.
#include "base/adapter_names.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace tollgate::base {

AdapterNames SplitAdapters(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return {};
  AdapterNames out{std::string(name.substr(0, colon)), {}};
  std::string_view rest = name.substr(colon + 1);
  while (true) {
    const std::string_view one = rest.substr(0, rest.find('+'));
    const bool plain = std::all_of(one.begin(), one.end(),
                                   [](unsigned char c) { return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'); });
    if (one.empty() || !plain) return {};
    out.adapters.push_back(out.base + ":" + std::string(one));
    if (one.size() == rest.size()) return out;
    rest.remove_prefix(one.size() + 1);
  }
}

absl::Status AdapterNames::Check() const {
  std::vector<std::string> sorted = adapters;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return InvalidArgument("model: name each adapter once");
  if (adapters.size() <= kAdaptersMax) return absl::OkStatus();
  return InvalidArgument(fmt::format("model: {} adapters are named; at most {} act together", adapters.size(), kAdaptersMax));
}

std::string JoinAdapters(std::vector<std::string> full_names) {
  std::sort(full_names.begin(), full_names.end());
  std::string joined = full_names.front();
  for (std::size_t i = 1; i < full_names.size(); ++i) joined += "+" + full_names[i].substr(full_names[i].rfind(':') + 1);
  return joined;
}

}  // namespace tollgate::base
