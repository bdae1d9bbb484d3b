// The detectors that come with Tollgate, by the names that rules use.
#pragma once

#include <span>
#include <string_view>

#include "policy/validators.h"

namespace tollgate::policy {

struct BuiltIn {
  const char* name;          // In `personal_data:` or `secrets:`.
  const char* label;         // The placeholder's text: [EMAIL].
  const char* regex;         // The subset of regex_syntax.h.
  Validator validator;       // nullptr: the pattern is enough.
  int digits_min;            // No match has fewer digits.
  int cap;                   // Bytes, for an unbounded pattern; else 0.
  bool needs_phone_context;  // Only worth a look near a phone word or a '+'.
};

std::span<const BuiltIn> PersonalData();
std::span<const BuiltIn> Secrets();
const BuiltIn* FindBuiltIn(std::span<const BuiltIn> list, std::string_view name);  // nullptr if there is none.

}  // namespace tollgate::policy
