// One mutex over two lanes. One org runs half of a lane's threads at most, all orgs together all but one of them, and of the places the
// same in quarters; who acts for the installation is held to none of it. Of those who may go on the org whose last turn is longest ago goes
// first: a look at each that waits, some hundreds at most, before work that takes milliseconds. When that was is kept of those too that
// have nothing here now: else who comes back at once would have waited for ever, and go before whoever stayed.
//
// Tested by tests/gateway/admin/workers_test.cpp.
#include "gateway/admin/workers.h"

#include <algorithm>

#include "base/error_detail.h"

namespace tollgate::admin {
namespace {

// Of one, somebody must be let; of two, both orgs, as an operator's urgent calls have threads of their own.
std::size_t ThreadsOfOrg(std::size_t threads) { return std::max<std::size_t>(threads / 2, 1); }
std::size_t ThreadsOfOrgs(std::size_t threads) { return threads <= 2 ? threads : threads - 1; }

absl::Status Busy(std::string_view message) {
  return base::WithDetail(base::ResourceExhausted(message), {.reason = "ADMIN_BUSY", .retry_after_ms = 1000});
}

}  // namespace

Workers::Workers(int threads, int urgent_threads, std::size_t queue_max) : queue_max_(queue_max) {
  lanes_[0].threads = static_cast<std::size_t>(threads);
  lanes_[1].threads = static_cast<std::size_t>(urgent_threads);
  for (Lane& lane : lanes_) {
    for (std::size_t i = 0; i < lane.threads; ++i) threads_.emplace_back([this, &lane] { Loop(lane); });
  }
}

Workers::~Workers() {
  {
    base::Lock lock(mu_);
    stopping_ = true;
    for (Lane& lane : lanes_) lane.ready.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Workers::HasPlace(const Lane& lane, const base::OrgId& org) const {
  const std::size_t waiting = lane.queue.size();
  if (waiting >= queue_max_) return Busy("the admin API is busy: too many calls wait; try again in a moment");
  if (org.IsNone()) return absl::OkStatus();
  const auto found = lane.orgs.find(org);
  const std::size_t own = found == lane.orgs.end() ? 0 : found->second.waiting;
  if (own < std::max<std::size_t>(queue_max_ / 2, 1) && lane.of_orgs.waiting < queue_max_ - queue_max_ / 4) return absl::OkStatus();
  return Busy("the admin API is busy: too many calls of orgs wait; try again in a moment");
}

absl::Status Workers::Submit(const Whose& whose, std::function<void()> job) {
  std::deque<Waiting> gone;
  absl::Status place;
  {
    base::Lock lock(mu_);
    Lane& lane = lanes_[whose.urgent ? 1 : 0];
    place = HasPlace(lane, whose.org);
    if (!place.ok()) {
      gone = TakeGone(lane);
      place = HasPlace(lane, whose.org);
    }
    if (place.ok()) {
      ++lane.orgs[whose.org].waiting;
      if (!whose.org.IsNone()) ++lane.of_orgs.waiting;
      lane.queue.push_back({whose.org, std::move(job), whose.gone});
    }
    lane.ready.notify_all();
  }
  for (Waiting& one : gone) one.job();
  return place;
}

std::deque<Workers::Waiting> Workers::TakeGone(Lane& lane) {
  std::deque<Waiting> gone, stay;
  for (Waiting& one : lane.queue) {
    const bool is_gone = one.gone != nullptr && one.gone->load();
    if (is_gone) {
      --lane.orgs.at(one.org).waiting;
      if (!one.org.IsNone()) --lane.of_orgs.waiting;
    }
    (is_gone ? gone : stay).push_back(std::move(one));
  }
  lane.queue = std::move(stay);
  return gone;
}

std::deque<Workers::Waiting>::iterator Workers::Next(Lane& lane) const {
  auto next = lane.queue.end();
  std::uint64_t longest_ago = 0;
  for (auto it = lane.queue.begin(); it != lane.queue.end(); ++it) {
    const Load& load = lane.orgs.at(it->org);
    const bool may = it->org.IsNone() || (load.running < ThreadsOfOrg(lane.threads) && lane.of_orgs.running < ThreadsOfOrgs(lane.threads));
    if (!may || (next != lane.queue.end() && load.served >= longest_ago)) continue;
    next = it;
    longest_ago = load.served;
  }
  return next;
}

void Workers::Leave(Lane& lane, const base::OrgId& org) {
  --lane.orgs.at(org).running;
  if (!org.IsNone()) --lane.of_orgs.running;
  lane.ready.notify_all();  // Another's turn may have come, or the end.
}

void Workers::Loop(Lane& lane) {
  base::Lock lock(mu_);
  while (true) {
    auto next = lane.queue.end();
    lane.ready.wait(lock.native(), [&]() REQUIRES(mu_) {
      next = Next(lane);
      return next != lane.queue.end() || (stopping_ && lane.queue.empty());
    });
    if (next == lane.queue.end()) return;
    Waiting turn = std::move(*next);
    lane.queue.erase(next);
    Load& load = lane.orgs.at(turn.org);
    --load.waiting;
    ++load.running;
    load.served = ++turns_;
    if (!turn.org.IsNone()) {
      --lane.of_orgs.waiting;
      ++lane.of_orgs.running;
    }
    lock.native().unlock();
    turn.job();
    turn.job = nullptr;
    lock.native().lock();
    Leave(lane, turn.org);
  }
}

}  // namespace tollgate::admin
