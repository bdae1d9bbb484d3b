// One ordered map. Where it is full what is over goes, and if that is nothing all goes: the database knows it anyway.
// Tested by tests/gateway/gates/gates_postgres_test.cpp.
#include "gateway/gates/full_rates.h"

#include <algorithm>

namespace tollgate::gates {
namespace {

constexpr std::size_t kKeptMax = 10'000;

}  // namespace

void FullRates::Note(base::TeamId team, const Rate& rate, Time until) {
  base::Lock lock(mu_);
  if (until_.size() >= kKeptMax) {
    const Time now = std::chrono::steady_clock::now();
    std::erase_if(until_, [now](const auto& one) { return one.second <= now; });
    if (until_.size() >= kKeptMax) until_.clear();
  }
  until_[KeyOf(team, rate)] = until;
}

std::optional<std::int64_t> FullRates::Left(base::TeamId team, const Rate& rate, Time now) {
  base::Lock lock(mu_);
  const auto found = until_.find(KeyOf(team, rate));
  if (found == until_.end()) return std::nullopt;
  if (found->second <= now) {
    until_.erase(found);
    return std::nullopt;
  }
  return std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(found->second - now).count());
}

void FullRates::Forget(base::TeamId team, const std::string& who) {
  base::Lock lock(mu_);
  std::erase_if(until_, [&](const auto& one) { return std::get<0>(one.first) == team && std::get<2>(one.first) == who; });
}

}  // namespace tollgate::gates
