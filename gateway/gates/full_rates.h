// FullRates: rates that stand at their limit until their window ends, as the database said. Whoever asks meanwhile needs no database to be
// refused. Memory only; bounded; thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "base/mutex.h"
#include "gateway/gates/gates.h"

namespace tollgate::gates {

class FullRates {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void Note(base::TeamId team, const Rate& rate, Time until);
  // Milliseconds until its window ends, at least 1; nullopt: not known to be full.
  std::optional<std::int64_t> Left(base::TeamId team, const Rate& rate, Time now);
  void Forget(base::TeamId team, const std::string& who);

 private:
  // With window and limit: a rule that changes is another one.
  using Key = std::tuple<base::TeamId, std::string, std::string, std::int64_t, std::int64_t>;
  static Key KeyOf(base::TeamId team, const Rate& rate) { return {team, rate.rule, rate.who, rate.window_seconds, rate.limit}; }

  base::Mutex mu_;
  std::map<Key, Time> until_ GUARDED_BY(mu_);
};

}  // namespace tollgate::gates
