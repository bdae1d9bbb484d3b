// Where it is full all goes: a value that is kept once more costs a row that is there already. All goes too with each new session of the
// keys', for a failover loses what was kept last.
// Tested by tests/audit/keys_postgres_test.cpp.
#include "audit/kept_values.h"

namespace tollgate::audit {
namespace {

constexpr std::size_t kValuesMax = 100'000;

}  // namespace

void KeptValues::Note(base::TeamId team, const std::string& subject, const std::string& pseudonym, Time now) {
  base::Lock lock(mu_);
  if (until_.size() >= kValuesMax) until_.clear();
  until_[{team, subject, pseudonym}] = now + kRemembered;
}

bool KeptValues::Has(base::TeamId team, const std::string& subject, const std::string& pseudonym, Time now) {
  base::Lock lock(mu_);
  const auto found = until_.find({team, subject, pseudonym});
  return found != until_.end() && now < found->second;
}

void KeptValues::Forget(base::TeamId team) {
  base::Lock lock(mu_);
  const auto first = until_.lower_bound({team, "", ""});
  auto last = first;
  while (last != until_.end() && std::get<0>(last->first) == team) ++last;
  until_.erase(first, last);
}

void KeptValues::Clear() {
  base::Lock lock(mu_);
  until_.clear();
}

}  // namespace tollgate::audit
