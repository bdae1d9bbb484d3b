// The rows of the catalogue of personal data and financial identifiers, by part of the world. Inside policy/ only.
//
// A row says what its number looks like, what its digits must satisfy and, where the shape alone tells little, which words stand before
// it. Rows with one name are forms of one detector (with and without separators).
#pragma once

#include <span>
#include <string_view>

#include "policy/validators.h"

namespace tollgate::policy {

struct Identifier {
  const char* name;            // In `personal_data:`; in capitals it is the placeholder's text.
  const char* regex;           // Made whole-word unless it begins with an edge of its own (\b) or `accept` is set.
  IdCheck check;               // Of the match's letters and digits; nullptr: the shape suffices.
  const char* context = "";    // Words in lower case, separated by '|': one must stand to the left.
  Validator accept = nullptr;  // For what is more than letters and digits.
};

std::span<const Identifier> WorldIdentifiers();
std::span<const Identifier> AmericanIdentifiers();
std::span<const Identifier> WestEuropeanIdentifiers();
std::span<const Identifier> NorthAndEastEuropeanIdentifiers();
std::span<const Identifier> AsianAfricanPacificIdentifiers();

}  // namespace tollgate::policy
