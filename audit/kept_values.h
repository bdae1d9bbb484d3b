// KeptValues: which values of pseudonyms are known to be kept, so that a conversation that is sent again does not keep them again. Internal
// to audit/. Memory only, bounded; thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <tuple>

#include "base/mutex.h"
#include "base/uuid.h"

namespace tollgate::audit {

class KeptValues {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Another instance may erase a value: for so long this one may take it for kept.
  static constexpr std::chrono::minutes kRemembered{10};

  void Note(base::TeamId team, const std::string& subject, const std::string& pseudonym, Time now);
  bool Has(base::TeamId team, const std::string& subject, const std::string& pseudonym, Time now);
  void Forget(base::TeamId team);
  void Clear();

 private:
  using Key = std::tuple<base::TeamId, std::string, std::string>;

  base::Mutex mu_;
  std::map<Key, Time> until_ GUARDED_BY(mu_);
};

}  // namespace tollgate::audit
