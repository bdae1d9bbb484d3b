// DayKeys: the teams' keys of the day that this instance holds in the clear. What another instance or an operator destroys is noticed
// within `kKnownFor`, and a key that was not looked at again for so long, or is of another day, is forgotten as soon as another one comes.
// One that the database is found to lack (StoredDay::gone) is not given any more. Internal to audit/. Memory only, bounded; one thread at a
// time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "audit/key_chain.h"
#include "base/clock.h"

namespace tollgate::audit {

using DayKeyPtr = std::shared_ptr<const DayKey>;

class DayKeys {
 public:
  static constexpr std::chrono::seconds kLookAgain{20};
  static constexpr std::chrono::seconds kKnownFor{60};

  explicit DayKeys(std::size_t teams_max) : teams_max_(teams_max) {}

  struct Found {
    DayKeyPtr key;            // Null: it has to be read.
    bool look_again = false;  // It is good, and old enough to be read again beside its use.
  };
  Found Find(base::TeamId team, std::int64_t day, base::MonoTime now) const;
  void Put(base::TeamId team, DayKeyPtr key, base::MonoTime asked);  // As it was read; the reading began at `asked`.
  void Forget(base::TeamId team) { held_.erase(team); }
  std::size_t size() const { return held_.size(); }

 private:
  struct Held {
    DayKeyPtr key;
    base::MonoTime asked;
  };

  const std::size_t teams_max_;
  std::map<base::TeamId, Held> held_;
  base::MonoTime swept_{};
};

}  // namespace tollgate::audit
