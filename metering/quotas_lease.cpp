// The lease side of Quotas: one exchange with the store at a time, for all buckets that want one.
//
// An answer is absolute (what the store has granted to this holder in all), so available = granted - held - spent whatever happened to
// the exchanges before it; one that got no answer leaves its buckets `unsure`, to be asked about again, and what it gave back in limbo,
// not spendable. Calls that wait are tried again after each answer, in order of arrival; each is refused only when the store has said
// that nothing is left.
//
// Tested by tests/metering/quotas_test.cpp and tests/metering/quotas_property_test.cpp.
#include <algorithm>
#include <limits>
#include <utility>

#include "metering/quota_refusals.h"
#include "metering/quotas_core.h"

namespace tollgate::metering {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kSweepEvery{1'000};
constexpr std::size_t kSweepStep = 1'000;
constexpr milliseconds kRenewAfter{1'000};
constexpr milliseconds kClockAfter{30'000};  // With no lease to renew, the database's time is still asked.
constexpr std::int64_t kDemandSeconds = 2;

// But for its amount and its name.
bool SameLimit(const QuotaRule& a, const QuotaRule& b) {
  return a.scope.kind == b.scope.kind && a.scope.id == b.scope.id && a.meter == b.meter && a.window == b.window;
}

}  // namespace

void Quotas::Core::Wait(Waiter waiter, base::MonoTime now, After& after) {
  waiter.deadline = now + options.lease_wait;
  waiting.push_back(std::move(waiter));
  StartExchange(now, true, after);
}

// False: it waits on.
bool Quotas::Core::TryAgain(Waiter& w, base::MonoTime now, After& after) {
  if (w.admission != nullptr) {
    auto result = std::make_shared<absl::StatusOr<Reservation>>();
    if (!TryReserve(w.admission, w.need, now, w.deadline, result.get())) return false;
    after.push_back([done = std::move(w.reserved), result] { done(std::move(*result)); });
  } else {
    absl::StatusOr<Extension> result;
    if (!TryExtend(*w.reservation, w.want, now, &result)) return false;
    after.push_back([done = std::move(w.extended), result = std::move(result)] { done(result); });
  }
  return true;
}

// Tries every waiting call again.
void Quotas::Core::RunWaiters(base::MonoTime now, After& after) {
  for (Bucket* b : soon) b->wanted = 0;
  std::deque<Waiter> still;
  for (Waiter& w : waiting) {
    if (!TryAgain(w, now, after)) still.push_back(std::move(w));
  }
  waiting.swap(still);
}

// Those that waited for more output than the leases here have take what there is.
void Quotas::Core::EndLateReserves(base::MonoTime now, After& after) {
  std::deque<Waiter> still;
  for (Waiter& w : waiting) {
    if (w.admission == nullptr || w.deadline > now || !TryAgain(w, now, after)) still.push_back(std::move(w));
  }
  waiting.swap(still);
}

void Quotas::Core::FailWaiters(const std::function<bool(const Waiter&)>& which, const absl::Status& status, After& after) {
  std::deque<Waiter> still;
  for (Waiter& w : waiting) {
    if (!which(w)) {
      still.push_back(std::move(w));
    } else if (w.admission != nullptr) {
      after.push_back([done = std::move(w.reserved), status] { done(status); });
    } else {
      after.push_back([done = std::move(w.extended), status] { done(status); });
    }
  }
  waiting.swap(still);
}

// The ask of one bucket. What it holds beyond need is a guess: two seconds of demand, doubled while it runs dry within a second.
LeaseAsk Quotas::Core::AskFor(Bucket& b, base::MonoTime now) {
  LeaseAsk ask{.quota = b.rule->id, .meter = b.rule->meter, .window = b.window, .amount = b.rule->amount};
  const std::int64_t wanted = stopping ? 0 : b.wanted + b.pending;
  if (wanted > 0) ask.need = std::clamp<std::int64_t>(wanted - b.available, 0, b.rule->amount);
  const bool dry = b.known && now - b.asked_at < kRenewAfter && b.available < b.target / 2;
  b.target = std::min(std::max(ask.need > 0 ? 2 * wanted : 0, dry ? b.target * 2 : b.target), b.rule->amount);
  if (b.give == 0 && !b.retired && !stopping) ask.want = std::max<std::int64_t>(b.target - b.available, 0);
  ask.give = std::exchange(b.give, 0);
  ask.close = b.retired && b.refs == 0 && b.available <= 0 && !b.unsure;  // Unsure, there may be more to give back.
  b.wanted = 0;
  b.asked_at = now;
  b.in_flight = true;
  b.closing = ask.close || (b.closing && b.unsure);
  return ask;
}

// Starts an exchange if there is anything to ask (or to renew) and none is under way.
void Quotas::Core::StartExchange(base::MonoTime now, bool renew, After& after) {
  if (in_flight || fenced || now < down_until || (Idle() && !renew)) return;
  flight.clear();
  for (BucketQueue* from : {&soon, &later}) {
    while (!from->empty() && flight.size() < options.asks_max) {
      flight.push_back(from->front());
      Unqueue(*from->front());
    }
  }
  std::vector<LeaseAsk> asks;
  for (Bucket* b : flight) asks.push_back(AskFor(*b, now));
  in_flight = true;
  after.push_back([this, now, asks = std::move(asks)]() mutable {
    leases.Exchange(std::move(asks), [this, now](absl::StatusOr<LeaseReply> reply) { OnReply(now, std::move(reply)); });
  });
}

void Quotas::Core::Apply(Bucket& b, const LeaseState& state, base::MonoTime now) {
  b.in_flight = false;
  b.unsure = b.lowered = false;
  const bool closed = std::exchange(b.closing, false) && (state.granted == 0 || state.number != b.lease);
  if (closed) b.spent = 0;  // The lease is forgotten, and with it what was spent of it; where its rule was set again, there is another.
  b.available = state.granted - b.held - b.spent - b.give;
  b.debited = state.debited;
  b.lease = state.number;
  b.known = true;
  b.known_at = now;
  b.giving = b.give > 0;
  GiveExcess(b);
  if (closed && b.retired && b.refs == 0 && b.queue == nullptr) Erase(b);
}

void Quotas::Core::OnReply(base::MonoTime sent, absl::StatusOr<LeaseReply> reply) {
  After after;
  {
    base::Lock lock(mu);
    const base::MonoTime now = clock.Mono();
    const std::vector<Bucket*> asked = std::exchange(flight, {});
    if (reply.ok()) {
      TG_CHECK(reply->leases.size() == asked.size(), "a lease store answered another number of leases than was asked");
      db_time = reply->database_time;
      db_at = reply->taken_at;
      clock_known = true;
      holders = reply->holders;
      spend_until = sent + options.lease_ttl;
      sent_at = sent;
      for (std::size_t i = 0; i < asked.size(); ++i) Apply(*asked[i], reply->leases[i], now);
      RunWaiters(now, after);
    } else {
      if (reply.status().code() == absl::StatusCode::kFailedPrecondition) fenced = true;
      down_until = now + options.recheck;
      for (Bucket* b : asked) {
        b->in_flight = false;
        b->unsure = true;
        Queue(*b, later);
      }
      RunWaiters(now, after);  // What a lease has may be used while the store is away.
      FailWaiters([](const Waiter&) { return true; }, fenced ? LeasesLost() : StoreAway(), after);
    }
    in_flight = false;
    StartExchange(now, !waiting.empty(), after);
    changed.notify_all();  // Under the lock: the destructor may be what waits.
  }
  for (auto& call : after) call();
}

void Quotas::Core::SweepOne(Bucket& b, base::MonoTime now) {
  if (b.in_flight && (b.unsure || b.retired)) return;
  if (b.unsure) return Queue(b, later);
  if (b.retired) {
    if (b.refs == 0) GiveAll(b);
    if (b.refs == 0 || b.give > 0) Queue(b, later);
    return;
  }
  const double seconds = std::chrono::duration<double>(now - b.rate_since).count();
  if (seconds < 0.9) return;
  const auto demand = static_cast<std::int64_t>(kDemandSeconds * static_cast<double>(b.drawn) / seconds);
  b.target = std::max(demand, b.target / 2);
  b.drawn = 0;
  b.rate_since = now;
  if (!b.in_flight && holders > 1 && b.known && now - b.known_at >= kSweepEvery && b.available > 2 * b.target) {
    b.give += b.available - b.target;
    b.available = b.target;
    b.giving = true;
    Queue(b, later);
  }
}

void Quotas::Core::Erase(Bucket& b) {
  all[b.index] = all.back();
  all[b.index]->index = b.index;
  all.pop_back();
  buckets.erase(BucketKey{b.rule->id, b.window.start});
}

// A stretch of all buckets, so that nobody waits long for the mutex: windows that ended, demand that changed, leases that nobody needs
// here. A round begins once a second.
void Quotas::Core::Sweep(base::MonoTime now) {
  if (sweep_at == 0) {
    next_sweep = now + kSweepEvery;
    std::erase_if(graveyard, [](const auto& state) { return state->running == 0; });
  }
  const base::WallTime wall = DatabaseTime(now);
  const std::size_t end = std::min(all.size(), sweep_at + kSweepStep);
  while (sweep_at < std::min(end, all.size())) {
    Bucket& b = *all[sweep_at];
    if (b.owner != nullptr && clock_known && !b.window.Holds(wall)) Retire(*b.owner);
    if (b.retired && b.refs == 0 && !b.known && !b.unsure && b.queue == nullptr && !b.in_flight) {
      Erase(b);
      continue;
    }
    SweepOne(b, now);
    ++sweep_at;
  }
  if (sweep_at >= all.size()) sweep_at = 0;
}

void Quotas::Core::Tick() {
  bool more = true;
  for (bool first = true; more; first = false) {
    After after;
    {
      base::Lock lock(mu);
      const base::MonoTime now = clock.Mono();
      if (first) EndLateReserves(now, after);
      if (first) FailWaiters([&](const Waiter& w) { return w.deadline <= now; }, StoreSlow(), after);
      if (sweep_at > 0 || now >= next_sweep) Sweep(now);
      more = sweep_at > 0;
      const auto renew_after = buckets.empty() ? kClockAfter : kRenewAfter;
      StartExchange(now, !clock_known || now - sent_at >= renew_after, after);
    }
    for (auto& call : after) call();
  }
}

// Of a rule that is new, or is set again while requests still run under it.
std::unique_ptr<RuleState> Quotas::Core::StateOf(const QuotaRule& rule) {
  if (rule.meter == Meter::kConcurrent) {
    base::Lock lock(mu);
    for (auto& old : graveyard) {
      if (old->rule->id != rule.id || !SameLimit(*old->rule, rule)) continue;
      std::swap(old, graveyard.back());
      auto state = std::move(graveyard.back());
      graveyard.pop_back();
      return state;
    }
  }
  auto state = std::make_unique<RuleState>();
  state->rule = std::make_shared<const QuotaRule>(rule);
  state->meter = rule.meter;
  return state;
}

// New rules: a rule that stays keeps its state. Whoever swaps is alone with `rules`, and with what is not yet in by_scope.
RuleSwap Quotas::Core::PrepareSwap(const QuotaRules& next) {
  RuleSwap swap;
  std::unordered_map<base::Uuid, std::unique_ptr<RuleState>, base::UuidHash> kept;
  for (const QuotaRule& rule : next.all()) {
    std::unique_ptr<RuleState> state;
    const auto old = rules.find(rule.id);
    if (old != rules.end()) {
      const QuotaRule& was = *old->second->rule;
      if (SameLimit(was, rule)) {
        state = std::move(old->second);
        if (was.amount != rule.amount || was.scope.name != rule.scope.name) {
          swap.edited[rule.id] = {state.get(), std::make_shared<const QuotaRule>(rule)};
        }
        rules.erase(old);
      }
    }
    if (state == nullptr) {
      state = StateOf(rule);
      swap.edited[rule.id] = {state.get(), std::make_shared<const QuotaRule>(rule)};
    }
    swap.by_scope[ScopeKey{rule.scope.kind, rule.scope.id}].push_back(state.get());
    kept[rule.id] = std::move(state);
  }
  for (auto& [id, state] : rules) swap.removed.push_back(std::move(state));
  rules = std::move(kept);
  return swap;
}

// The moment from which on the new rules count: all that every request waits for.
void Quotas::Core::Swap(RuleSwap& swap) {
  base::Lock gate(swap_gate);
  swapping.store(true, std::memory_order_relaxed);
  std::unique_lock readers(rules_mu);
  base::Lock lock(mu);
  by_scope.swap(swap.by_scope);
  for (auto& [id, edit] : swap.edited) edit.state->rule = edit.rule;
  for (auto& state : swap.removed) {
    Retire(*state);
    if (state->running > 0) graveyard.push_back(std::move(state));
  }
  ++generation;
  swapping.store(false, std::memory_order_relaxed);
}

// A lowered rule gives its lease back, so that the next one is cut to the new amount, and so does one that is set again lower than when it
// was removed. A window that is over keeps the amount it ended with, unless that was lowered. Like a sweep in stretches, from the last
// bucket to the first: the place of one that is erased meanwhile is taken by one from behind.
void Quotas::Core::EditBuckets(const RuleSwap& swap) {
  std::size_t left = swap.edited.empty() ? 0 : std::numeric_limits<std::size_t>::max();
  while (left > 0) {
    base::Lock lock(mu);
    const base::WallTime wall = DatabaseTime(clock.Mono());
    left = std::min(left, all.size());
    for (std::size_t n = 0; n < kSweepStep && left > 0; ++n) {
      Bucket& b = *all[--left];
      const auto found = swap.edited.find(b.rule->id);
      if (found == swap.edited.end()) continue;
      const auto& rule = found->second.rule;
      if (rule->amount < b.rule->amount || b.window.Holds(wall)) SetRule(b, rule);
    }
  }
}

}  // namespace tollgate::metering
