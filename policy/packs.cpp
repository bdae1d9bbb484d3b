// The files lie in policy/packs/; the build makes a table of them (pack_table.inc), so that the program works from anywhere. The
// description is cut out of the file, where it stands on one line of its own.
//
// Tested by tests/policy/packs_test.cpp.
#include "policy/packs.h"

#include <algorithm>
#include <vector>

namespace tollgate::policy {
namespace {

struct Embedded {
  std::string_view name, yaml;
};

constexpr Embedded kEmbedded[] = {
#include <pack_table.inc>
};

std::string_view DescriptionOf(std::string_view yaml) {
  constexpr std::string_view kField = "\ndescription: ";
  const std::size_t at = yaml.find(kField);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = yaml.substr(at + kField.size());
  return rest.substr(0, rest.find('\n'));
}

}  // namespace

std::span<const Pack> Packs() {
  static const std::vector<Pack> packs = [] {
    std::vector<Pack> out;
    for (const Embedded& file : kEmbedded) out.push_back({file.name, DescriptionOf(file.yaml), file.yaml});
    return out;
  }();
  return packs;
}

const Pack* FindPack(std::string_view name) {
  const auto packs = Packs();
  const auto found = std::find_if(packs.begin(), packs.end(), [&](const Pack& pack) { return pack.name == name; });
  return found == packs.end() ? nullptr : &*found;
}

}  // namespace tollgate::policy
