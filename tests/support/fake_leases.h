// A lease store in memory with the semantics of metering.exchange and metering.return_leases, for tests of quotas and of the pipeline.
// Several instances may share one store. Exchanges are answered at once, or when the test delivers them; answers can be lost.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "metering/leases.h"

namespace tollgate::test {

// Thread-safe.
class FakeLeaseStore {
 public:
  struct Key {
    base::Uuid quota;
    base::WallTime start;
    auto operator<=>(const Key&) const = default;
  };

  absl::StatusOr<metering::LeaseReply> Exchange(const metering::Holder& holder, const std::vector<metering::LeaseAsk>& asks,
                                                base::WallTime now, base::MonoTime taken_at) {
    base::Lock lock(mu_);
    ++exchanges_;
    if (closed_.count(holder)) return base::FailedPrecondition("these leases have another owner");
    metering::LeaseReply reply{.database_time = now, .taken_at = taken_at, .holders = holders_};
    for (const metering::LeaseAsk& ask : asks) {
      std::int64_t& debited = balances_[{ask.quota, ask.window.start}];
      std::int64_t& mine = leases_[holder][{ask.quota, ask.window.start}];
      const std::int64_t give = std::min(ask.give, mine);
      debited -= give;
      const std::int64_t left = std::max<std::int64_t>(ask.amount - debited, 0);
      const std::int64_t take = std::min(left, std::max(ask.need, std::min(ask.want, left / (2 * holders_))));
      debited += take;
      mine += take - give;
      const Key key{ask.quota, ask.window.start};
      std::int32_t& number = numbers_[holder][key];
      if (number == 0 && mine > 0) number = ++last_number_;
      reply.leases.push_back({mine, debited, number});
      if (!ask.close && mine > 0) continue;
      if (ask.close) reply.leases.back() = {0, debited, 0};
      if (ask.close) numbers_[holder].erase(key);
      leases_[holder].erase(key);
    }
    return reply;
  }

  // The holder's log was adopted; `used` of each window is on record.
  void ReturnLeases(const metering::Holder& holder, const std::map<Key, std::int64_t>& used) {
    base::Lock lock(mu_);
    closed_[holder] = true;
    for (const auto& [key, granted] : leases_[holder]) {
      const auto found = used.find(key);
      balances_[key] += (found == used.end() ? 0 : found->second) - granted;
    }
    leases_.erase(holder);
  }

  void SetHolders(int holders) {
    base::Lock lock(mu_);
    holders_ = holders;
  }
  std::map<Key, std::int64_t> balances() const {
    base::Lock lock(mu_);
    return balances_;
  }
  std::int64_t leased(const metering::Holder& holder) const {
    base::Lock lock(mu_);
    std::int64_t sum = 0;
    if (const auto found = leases_.find(holder); found != leases_.end())
      for (const auto& [key, granted] : found->second) sum += granted;
    return sum;
  }
  // Of the holder's lease, while it has one.
  std::int32_t number(const metering::Holder& holder, const Key& key) const {
    base::Lock lock(mu_);
    const auto found = numbers_.find(holder);
    return found == numbers_.end() || !found->second.contains(key) ? 0 : found->second.at(key);
  }
  int exchanges() const {
    base::Lock lock(mu_);
    return exchanges_;
  }

 private:
  mutable base::Mutex mu_;
  std::map<Key, std::int64_t> balances_;
  std::map<metering::Holder, std::map<Key, std::int64_t>> leases_;
  std::map<metering::Holder, std::map<Key, std::int32_t>> numbers_;
  std::int32_t last_number_ = 0;
  std::map<metering::Holder, bool> closed_;
  int holders_ = 1;
  int exchanges_ = 0;
};

// One instance's way to the store.
class FakeLeases final : public metering::Leases {
 public:
  enum class Answer { kDone, kLostBefore, kLostAfter };  // Lost: UNAVAILABLE, and the exchange did not, or did, take place.

  FakeLeases(FakeLeaseStore& store, const base::Clock& clock, metering::Holder holder, bool queued = false)
      : store_(store), clock_(clock), holder_(holder), queued_(queued) {}

  metering::Holder holder() const override { return holder_; }
  void Exchange(std::vector<metering::LeaseAsk> asks, Done done) override {
    if (queued_) {
      jobs_.emplace_back(std::move(asks), std::move(done));
      return;
    }
    if (const auto call = std::exchange(before, nullptr)) call();
    done(away_ ? base::Unavailable("the store is away") : Run(asks));
  }

  std::size_t queued() const { return jobs_.size(); }
  std::function<void()> before;  // Called once, while an exchange waits for its answer.
  void SetAway(bool away) { away_ = away; }
  void SetAhead(std::chrono::microseconds by) { ahead_ = by; }  // The store's clock, before the instance's.

  // Answers the oldest exchange; false if there is none. Queued mode, one thread.
  bool Deliver(Answer answer = Answer::kDone) {
    if (jobs_.empty()) return false;
    auto [asks, done] = std::move(jobs_.front());
    jobs_.pop_front();
    absl::StatusOr<metering::LeaseReply> reply = base::Unavailable("no answer");
    if (answer != Answer::kLostBefore) reply = Run(asks);
    if (answer == Answer::kLostAfter) reply = base::Unavailable("no answer");
    done(std::move(reply));
    return true;
  }

 private:
  absl::StatusOr<metering::LeaseReply> Run(const std::vector<metering::LeaseAsk>& asks) {
    return store_.Exchange(holder_, asks, clock_.Wall() + ahead_, clock_.Mono());
  }

  FakeLeaseStore& store_;
  const base::Clock& clock_;
  const metering::Holder holder_;
  const bool queued_;
  bool away_ = false;
  std::chrono::microseconds ahead_{0};
  std::deque<std::pair<std::vector<metering::LeaseAsk>, Done>> jobs_;
};

}  // namespace tollgate::test
