// What languages are told apart by: words that are everywhere in them and seldom in others, and letters that are theirs. Facts of the
// languages, written down by hand. Inside policy/ only.
#pragma once

#include <span>
#include <string_view>

namespace tollgate::policy {

struct LanguageWords {
  std::string_view code;
  std::string_view words;    // In lower case, separated by spaces.
  std::string_view letters;  // In lower case, not in ASCII.
};

// Languages of the Latin and the Cyrillic script, and of the Arabic one.
std::span<const LanguageWords> AllLanguageWords();

}  // namespace tollgate::policy
