// How a model with LoRA adapters is called, by callers, the directory and the pool alike: "BASE:ADAPTER", or with several
// "BASE:ADAPTER+ADAPTER". The base's own name may hold colons. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::base {

constexpr std::size_t kAdaptersMax = 4;  // That act together.

// The parts of a name: the base, and each adapter by its full name, "BASE:ADAPTER", in order. No adapters: the name has no such form.
struct AdapterNames {
  std::string base;
  std::vector<std::string> adapters;

  absl::Status Check() const;  // INVALID_ARGUMENT: one adapter stands twice, or there are more than kAdaptersMax.
};
AdapterNames SplitAdapters(std::string_view name);

// The name of several together: the same whatever their order. REQUIRES: full names, all of one base.
std::string JoinAdapters(std::vector<std::string> full_names);

}  // namespace tollgate::base
