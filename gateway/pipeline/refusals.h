// Refusals before the REQUEST record are counted, and go on record as one REFUSED record for each (who, reason, second): a storm of bad
// keys costs a row a second, and never takes queue room from admitted requests.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "audit/journal.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::pipeline {

// Thread-safe.
class Refusals {
 public:
  // At most `distinct_max` different ones are kept a second; the others are counted together under reason OTHER.
  Refusals(audit::Journal& journal, const base::Clock& clock, std::size_t distinct_max = 256);

  // `place` as far as it is known; `source_hmac` says where the call came from.
  void Count(const directory::Place& place, const std::string& source_hmac, const std::string& reason);

  // Appends what was counted in seconds that are over (`all`: also in the present one). Counts that cannot be written are kept for the next
  // time, within the bound. Returns at once.
  void Flush(bool all);

 private:
  struct Who {
    std::string source, org, team, project, key, reason;
    std::int64_t second_us = 0;
    auto operator<=>(const Who&) const = default;
  };
  struct State {
    base::Mutex mu;
    std::map<Who, std::int64_t> counts GUARDED_BY(mu);
  };
  static void Add(State& state, const Who& who, std::int64_t count, std::size_t distinct_max);

  audit::Journal& journal_;
  const base::Clock& clock_;
  const std::size_t distinct_max_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace tollgate::pipeline
