// Counts are kept by second, so that a flush never splits one, and come back into the same map when they cannot be written.
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/pipeline/refusals.h"

#include <algorithm>

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {
constexpr std::int64_t kSecondUs = 1'000'000;
constexpr const char* kOther = "OTHER";
constexpr std::chrono::milliseconds kPatience{1000};
}  // namespace

Refusals::Refusals(audit::Journal& journal, const base::Clock& clock, std::size_t distinct_max)
    : journal_(journal), clock_(clock), distinct_max_(distinct_max) {}

void Refusals::Add(State& state, const Who& who, std::int64_t count, std::size_t distinct_max) {
  base::Lock lock(state.mu);
  if (auto it = state.counts.find(who); it != state.counts.end()) {
    it->second += count;
  } else if (state.counts.size() < distinct_max) {
    state.counts.emplace(who, count);
  } else {
    // One entry for all that does not fit, in the oldest second that it stands for.
    const auto other = std::find_if(state.counts.begin(), state.counts.end(), [](const auto& kept) { return kept.first.reason == kOther; });
    if (other != state.counts.end()) {
      other->second += count;
    } else {
      state.counts.emplace(Who{.reason = kOther, .second_us = who.second_us}, count);
    }
  }
}

void Refusals::Count(const directory::Place& place, const std::string& source_hmac, const std::string& reason) {
  Who who{.source = source_hmac, .reason = reason};
  const std::int64_t now_us = base::ToMicros(clock_.Wall());
  who.second_us = now_us - now_us % kSecondUs;
  if (place.key) {
    who.source.clear();  // One record a key, from wherever it is used.
    who.org = place.org->id.Bytes();
    who.team = place.team->id.Bytes();
    who.project = place.project->id.Bytes();
    who.key = place.key->id.Bytes();
  }
  Add(*state_, who, 1, distinct_max_);
}

void Refusals::Flush(bool all) {
  if (journal_.health().state != audit::Health::State::kGood) return;
  const std::int64_t now_us = base::ToMicros(clock_.Wall());
  std::map<Who, std::int64_t> ready;
  {
    base::Lock lock(state_->mu);
    for (auto it = state_->counts.begin(); it != state_->counts.end();) {
      const bool over = it->first.second_us + kSecondUs <= now_us;
      if (over || all) {
        ready.insert(*it);
        it = state_->counts.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (const auto& [who, count] : ready) {
    audit::Entry entry;
    v1::Record& record = entry.record;
    record.set_kind(v1::RECORD_KIND_REFUSED);
    record.set_org_id(who.org);
    record.set_team_id(who.team);
    record.set_project_id(who.project);
    record.set_key_id(who.key);
    v1::RefusedBody* body = record.mutable_refused();
    body->set_source_hmac(who.source);
    body->set_reason(who.reason);
    body->set_count(count);
    body->set_second_us(who.second_us);
    auto keep = [state = state_, who = who, count = count, most = distinct_max_](absl::StatusOr<audit::Position> position) {
      if (absl::IsUnavailable(position.status())) Add(*state, who, count, most);
    };
    journal_.Append(std::move(entry), std::chrono::steady_clock::now() + kPatience, keep);
  }
}

}  // namespace tollgate::pipeline
