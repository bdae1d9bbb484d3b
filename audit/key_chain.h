// The middle of the key hierarchy, in memory: a tenant-day key and the request keys under it. Internal to audit/.
#pragma once

#include <memory>
#include <string>

#include "audit/seal.h"
#include "audit/wrap.h"
#include "base/clock.h"

namespace tollgate::audit {

// A team's key of one day, in clear. Immutable; wiped when it goes.
struct DayKey {
  DayKey(base::TeamId team, std::int64_t day, std::shared_ptr<const StoredDay> stored, std::string key, std::string subject_key)
      : team(team),
        day(day),
        stored(std::move(stored)),
        key(std::move(key)),
        subject_key(std::move(subject_key)),
        pseudonym_key(PseudonymKey(this->subject_key)) {}
  ~DayKey() {
    base::Wipe(key);
    base::Wipe(subject_key);
    base::Wipe(pseudonym_key);
  }
  DayKey(const DayKey&) = delete;
  DayKey& operator=(const DayKey&) = delete;

  const base::TeamId team;
  const std::int64_t day;  // Days since 1970-01-01, UTC.
  const std::shared_ptr<const StoredDay> stored;
  std::string key;
  std::string subject_key;
  std::string pseudonym_key;
};

std::int64_t DayOf(base::WallTime t);
std::string DayText(std::int64_t day);  // "2026-11-25"

absl::Status NoValue();  // Keys::FindValue's NOT_FOUND.

std::shared_ptr<const RequestKey> NewKeyUnder(const DayKey& day, base::RequestId request);
std::shared_ptr<const RequestKey> KeyUnder(const DayKey& day, KeyRow row);  // What it was; another day's or row's is another key.

}  // namespace tollgate::audit
