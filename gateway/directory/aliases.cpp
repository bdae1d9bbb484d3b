// The choice is a hash of the request's id, and no counter or generator: two instances choose alike, a test can foresee it, and what a
// record says can be checked from the record alone. Targets count in the order in which they stand, so that moving weight from the first to
// the last moves as few requests as can be. Tested by tests/gateway/directory/aliases_test.cpp.
#include "gateway/directory/aliases.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include <fmt/format.h>

#include "base/crypto.h"
#include "gateway/directory/names.h"

namespace tollgate::directory {
namespace {

constexpr std::size_t kTargetsMax = 16;
constexpr std::size_t kFallbacksMax = 8;
constexpr std::int64_t kWeightMax = 1'000'000;

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

bool Repeats(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end();
}

std::vector<std::string> ModelsOf(const Alias& alias) {
  std::vector<std::string> names;
  for (const AliasTarget& target : alias.targets) names.push_back(target.model);
  return names;
}

}  // namespace

absl::Status Validate(const Alias& alias) {
  TG_RETURN_IF_ERROR(base::Annotate(CheckModelName(alias.name), "alias"));
  if (alias.targets.empty() || alias.targets.size() > kTargetsMax)
    return base::InvalidArgument(fmt::format("targets: name 1 to {} models", kTargetsMax));
  if (alias.fallbacks.size() > kFallbacksMax) return base::InvalidArgument(fmt::format("fallbacks: name at most {} models", kFallbacksMax));
  for (const AliasTarget& target : alias.targets) {
    TG_RETURN_IF_ERROR(base::Annotate(CheckModelName(target.model), "targets"));
    if (target.weight < 1 || target.weight > kWeightMax)
      return base::InvalidArgument(fmt::format("targets: the weight of {} is {}; use 1 to {}", target.model, target.weight, kWeightMax));
  }
  for (const std::string& model : alias.fallbacks) TG_RETURN_IF_ERROR(base::Annotate(CheckModelName(model), "fallbacks"));
  if (Repeats(ModelsOf(alias))) return base::InvalidArgument("targets: name each model once");
  if (Repeats(alias.fallbacks)) return base::InvalidArgument("fallbacks: name each model once");
  return absl::OkStatus();
}

std::string TargetsText(const Alias& alias) {
  std::string text;
  for (const AliasTarget& target : alias.targets) text += fmt::format("{}{}={}", text.empty() ? "" : " ", target.model, target.weight);
  return text;
}

std::string FallbacksText(const Alias& alias) { return fmt::format("{}", fmt::join(alias.fallbacks, " ")); }

absl::StatusOr<Alias> MakeAlias(const std::string& name, std::string_view targets, std::string_view fallbacks) {
  Alias alias;
  alias.name = name;
  for (const std::string_view word : Words(targets)) {
    const std::size_t equals = word.rfind('=');
    AliasTarget& target = alias.targets.emplace_back();
    target.model = word.substr(0, equals);
    if (equals == std::string_view::npos) continue;
    const char* end = word.data() + word.size();
    const auto read = std::from_chars(word.data() + equals + 1, end, target.weight);
    if (read.ec != std::errc() || read.ptr != end) return base::InvalidArgument("targets: write MODEL=WEIGHT, the weight a whole number");
  }
  for (const std::string_view word : Words(fallbacks)) alias.fallbacks.emplace_back(word);
  TG_RETURN_IF_ERROR(Validate(alias));
  return alias;
}

absl::StatusOr<Alias> AliasOf(const Row& row) { return MakeAlias(row.Text("name"), row.Text("targets"), row.Text("fallbacks")); }

const AliasTarget& Choose(const std::vector<AliasTarget>& targets, const base::RequestId& request) {
  TG_CHECK(!targets.empty(), "an alias without a target");
  const base::Digest digest = base::Sha256(request.Bytes());
  std::uint64_t draw = 0;
  for (int i = 0; i < 8; ++i) draw = draw << 8 | digest[static_cast<std::size_t>(i)];
  const std::int64_t sum =
      std::accumulate(targets.begin(), targets.end(), std::int64_t{0}, [](std::int64_t s, const AliasTarget& t) { return s + t.weight; });
  auto left = static_cast<std::int64_t>(draw % static_cast<std::uint64_t>(sum));
  for (const AliasTarget& target : targets) {
    left -= target.weight;
    if (left < 0) return target;
  }
  return targets.back();
}

}  // namespace tollgate::directory
