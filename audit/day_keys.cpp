// A map that is swept when a key comes, at most once in kLookAgain: a walk over all teams. Tested by tests/audit/day_keys_test.cpp.
#include "audit/day_keys.h"

#include <utility>

namespace tollgate::audit {

DayKeys::Found DayKeys::Find(base::TeamId team, std::int64_t day, base::MonoTime now) const {
  const auto it = held_.find(team);
  if (it == held_.end() || it->second.key->day != day || now - it->second.asked >= kKnownFor || it->second.key->stored->gone) return {};
  return {it->second.key, now - it->second.asked >= kLookAgain};
}

void DayKeys::Put(base::TeamId team, DayKeyPtr key, base::MonoTime asked) {
  if (asked - swept_ >= kLookAgain) {
    std::erase_if(held_, [&](const auto& held) { return held.second.key->day != key->day || asked - held.second.asked >= kKnownFor; });
    swept_ = asked;
  }
  if (held_.size() >= teams_max_) held_.clear();
  held_[team] = {std::move(key), asked};
}

}  // namespace tollgate::audit
