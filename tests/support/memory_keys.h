// Keys in memory, under a root key that every test shares: for tests and benchmarks of whoever seals or appends.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/key_chain.h"
#include "audit/keys.h"
#include "audit/wrap.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace tollgate::test {

// Thread-safe; calls back before it returns.
class MemoryKeys final : public audit::Keys {
 public:
  explicit MemoryKeys(const base::Clock& clock = base::SystemClock()) : clock_(clock) {}

  void NewRequestKey(base::TeamId team, base::RequestId request, std::chrono::steady_clock::time_point, Done done) override {
    std::shared_ptr<const audit::RequestKey> key;
    {
      base::Lock lock(mu_);
      if (!makes_.ok()) return done(makes_);
      auto& day = days_[team];
      if (day == nullptr) {
        auto stored = std::make_shared<const audit::StoredDay>(static_cast<std::int32_t>(days_.size()), "");
        day = std::make_shared<audit::DayKey>(team, audit::DayOf(clock_.Wall()), std::move(stored), base::RandomBytes(audit::kKeyBytes),
                                              base::RandomBytes(audit::kKeyBytes));
      }
      key = audit::NewKeyUnder(*day, request);
      keys_[request] = key;
    }
    done(std::move(key));
  }

  absl::StatusOr<std::shared_ptr<const audit::RequestKey>> Find(base::TeamId team, base::RequestId request) override {
    base::Lock lock(mu_);
    const auto found = keys_.find(request);
    if (found == keys_.end() || found->second->team() != team) return base::NotFound("there is no key for this request");
    return found->second;
  }

  void KeepValues(base::TeamId team, const std::string& subject, std::vector<SealedValue> values, std::chrono::steady_clock::time_point,
                  Kept done) override {
    {
      base::Lock lock(mu_);
      if (!keeps_.ok()) return done(keeps_);
      for (const SealedValue& value : values) values_.try_emplace({team, value.pseudonym, subject, value.mark}, value);
    }
    done(absl::OkStatus());
  }

  // What keeping values says from now on; OK: it keeps them.
  void SetKeeps(absl::Status status) {
    base::Lock lock(mu_);
    keeps_ = std::move(status);
  }

  // What making a key says from now on; OK: it makes one.
  void SetMakes(absl::Status status) {
    base::Lock lock(mu_);
    makes_ = std::move(status);
  }

  absl::StatusOr<std::vector<std::string>> FindValues(base::TeamId team, const std::string& pseudonym) override {
    base::Lock lock(mu_);
    std::vector<std::string> out;
    std::set<std::string> marks;
    for (auto at = values_.lower_bound({team, pseudonym, "", ""}); at != values_.end(); ++at) {
      if (at->first.team != team || at->first.pseudonym != pseudonym) break;
      if (marks.insert(at->first.mark).second) out.push_back(at->second.sealed);
    }
    if (out.empty()) return audit::NoValue();
    return out;
  }

  absl::StatusOr<Erased> EraseValues(base::TeamId team, ValuesOf by, const std::string& which) override {
    base::Lock lock(mu_);
    Erased out;
    std::set<std::string> marks;
    out.rows = static_cast<std::int64_t>(std::erase_if(values_, [&](const auto& row) {
      const std::string& its = by == ValuesOf::kSubject     ? row.first.subject
                               : by == ValuesOf::kPseudonym ? row.first.pseudonym
                                                            : row.second.mark;
      if (row.first.team != team || its != which) return false;
      marks.insert(row.second.mark);
      return true;
    }));
    out.others = std::count_if(values_.begin(), values_.end(),
                               [&](const auto& row) { return row.first.team == team && marks.contains(row.second.mark); });
    return out;
  }

  std::string SourceHmac(std::string_view source) const override { return audit::SourceMark(source_key_, source); }

 private:
  struct ValueKey {
    base::TeamId team;
    std::string pseudonym, subject, mark;
    auto operator<=>(const ValueKey&) const = default;
  };

  const std::string source_key_ = audit::RootKey::FromBytes(std::string(32, 'r')).Derive("source-hmac");
  const base::Clock& clock_;
  base::Mutex mu_;
  std::map<ValueKey, SealedValue> values_ GUARDED_BY(mu_);
  absl::Status keeps_ GUARDED_BY(mu_);
  absl::Status makes_ GUARDED_BY(mu_);
  std::map<base::TeamId, std::shared_ptr<audit::DayKey>> days_ GUARDED_BY(mu_);
  std::map<base::RequestId, std::shared_ptr<const audit::RequestKey>> keys_ GUARDED_BY(mu_);
};

}  // namespace tollgate::test
