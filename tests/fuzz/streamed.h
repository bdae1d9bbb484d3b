// A stream beside the whole text: shared by the properties. Dies where they differ.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "policy/policy_set.h"

namespace tollgate::fuzz {

// How many bytes the code point at `at` of a valid text has.
std::size_t CodePointBytes(std::string_view text, std::size_t at);

// Streams `text` in pieces of `points()` code points and compares with FilterWhole: what leaves at each step and in all, verdict and raw
// spans. Where nothing blocked, what leaves is led back to the text. Returns what left. A text that is not UTF-8 must be refused by both:
// "".
std::string StreamAndCompare(const policy::PolicySet& policies, std::string_view text, const std::function<std::size_t()>& points);

}  // namespace tollgate::fuzz
