// Packs: policies to start from, compiled into the program. Each is a complete policy file with its own tests, to be put in force as it is
// or changed first; docs/packs.md tells what each does and does not do. All of them may be in force together.
//
// Static and immutable; any thread.
#pragma once

#include <span>
#include <string_view>

namespace tollgate::policy {

struct Pack {
  std::string_view name;         // "pii-eu"; also the name in the file.
  std::string_view description;  // One sentence, the file's own.
  std::string_view yaml;
};

// In the order in which they are listed.
std::span<const Pack> Packs();

// Null if there is none of that name.
const Pack* FindPack(std::string_view name);

}  // namespace tollgate::policy
