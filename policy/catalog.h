// The detectors that come with Tollgate, by the names that rules use: what a name stands for, as compiled patterns.
//
// The tables themselves, with their sources, are in catalog/. Thread-safe; a pattern is compiled when it is first asked for and then shared
// by all policies.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/pattern.h"

namespace tollgate::policy {

enum class Catalog { kPersonalData, kSecrets, kUnicode };

// The detectors' names in the order of the tables.
const std::vector<std::string>& DetectorNames(Catalog catalog);

// The names of families of secrets ("github_token"), which stand for all of their members.
const std::vector<std::string>& FamilyNames(Catalog catalog);

// All forms of one detector, of all of a family, or of "all"; empty if nothing has that name.
std::vector<std::shared_ptr<const Pattern>> DetectorPatterns(Catalog catalog, std::string_view name);

}  // namespace tollgate::policy
