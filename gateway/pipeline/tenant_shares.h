// What tenants hold of something of which there is only so much: a team may hold as much as it leaves to others, an org three times that,
// and either one thing of `one`, so that one always has room where nothing else is held. Not thread-safe: under its owner's lock.
//
// Tested with what it is part of: tests/gateway/pipeline/pipeline_test.cpp, tests/gateway/http/body_bytes_test.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "gateway/pipeline/service.h"

namespace tollgate::pipeline {

class TenantShares {
 public:
  enum class Lack { kNone, kAll, kTeam, kOrg };  // Whose share has no room; kAll: there is none at all.

  TenantShares(std::int64_t most, std::int64_t one) : most_(most), one_(one) {}

  Lack LackFor(const Tenant& tenant, std::int64_t amount) const {
    const std::int64_t left = most_ - held_ - amount;
    if (left < 0) return Lack::kAll;
    if (tenant.team.empty()) return Lack::kNone;
    if (HeldOf(tenant.team) + amount > std::max(one_, left)) return Lack::kTeam;
    if (HeldOf(tenant.org) + amount > std::max(one_, 3 * left)) return Lack::kOrg;
    return Lack::kNone;
  }

  // Nobody's (an empty tenant) counts in total alone.
  void Take(const Tenant& tenant, std::int64_t amount) {
    held_ += amount;
    if (tenant.team.empty()) return;
    for (const std::string* whose : {&tenant.team, &tenant.org}) held_of_[*whose] += amount;
  }

  // REQUIRES: taken before.
  void GiveBack(const Tenant& tenant, std::int64_t amount) {
    held_ -= amount;
    if (tenant.team.empty()) return;
    for (const std::string* whose : {&tenant.team, &tenant.org}) {
      const auto own = held_of_.find(*whose);
      own->second -= amount;
      if (own->second == 0) held_of_.erase(own);
    }
  }

  std::int64_t held() const { return held_; }
  std::int64_t HeldOf(const std::string& whose) const {
    const auto found = held_of_.find(whose);
    return found == held_of_.end() ? 0 : found->second;
  }

 private:
  const std::int64_t most_;
  const std::int64_t one_;
  std::int64_t held_ = 0;
  std::unordered_map<std::string, std::int64_t> held_of_;  // By team and by org; none holds 0.
};

}  // namespace tollgate::pipeline
