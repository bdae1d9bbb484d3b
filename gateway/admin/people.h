// The people behind a key: whoever may know its secret, and so may act with it. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::admin {

// The owner of a key, or the command line's user, and those beside them who may know the secret, a line for each, sorted.
struct Person {
  std::string name, made_by;
};

// Whoever makes or rotates a key sees its secret, and whoever may know the maker's own may have been the maker. So for a key of `owner`
// that `maker` makes these are the lines of made_by: all who stand behind the maker's key, but the owner.
std::string MadeBy(const Person& maker, std::string_view owner);

// OK if nobody stands on both sides. Else FAILED_PRECONDITION, SECOND_PERSON_NEEDED: `same` if both have one name; if not, who counts
// twice, and what to do.
absl::Status NeedTwoPeople(const Person& first, const Person& second, std::string_view same);

}  // namespace tollgate::admin
