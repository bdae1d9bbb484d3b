// Why a pattern's match counts, or what is missing. Inside policy/ only; for explanations.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/pattern.h"

namespace tollgate::policy {

// "email", or "regex" for a pattern that a policy wrote itself.
std::string DetectorOf(const Pattern& pattern);

// What the accepted match [begin, end) meets beside its form, one sentence each, its entropy left out. Empty for a plain regex.
std::vector<std::string> EvidenceOf(const Pattern& pattern, std::string_view text, std::size_t begin, std::size_t end);

// A place that has the form and does not count.
struct NearMiss {
  std::size_t begin = 0, end = 0;
  std::string missing;  // "its check digits are wrong"
};
// The first few places are looked at; one that lacks only a word beside it comes last. nullopt if no place has the form.
std::optional<NearMiss> FindNearMiss(const Pattern& pattern, std::string_view text);

}  // namespace tollgate::policy
