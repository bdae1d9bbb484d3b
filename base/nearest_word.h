// The word that somebody meant, for refusals of unknown ones: "did you mean 'tools'?"
#pragma once

#include <span>
#include <string_view>

namespace tollgate::base {

// The word of `known` nearest to `word`, if it is near enough to be meant; else empty. Of several equally near ones, the first. A view of
// what `known` views. Pure.
std::string_view NearestWord(std::string_view word, std::span<const std::string_view> known);

}  // namespace tollgate::base
