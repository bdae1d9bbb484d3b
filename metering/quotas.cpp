// How it works. Each rule has a bucket per window: what the lease store granted to this instance, in three parts: available, held by open
// requests, spent. Reserve, Extend and Settle move tokens between the parts under one mutex, for all scopes of the request at once, which
// makes them atomic; nothing else happens on the way of a request. When a bucket runs low, or a call lacks tokens, one exchange with the
// store is started (quotas_lease.cpp) and the calls that lack something wait for it. The sum of the parts never exceeds what the store
// granted, and the store never grants more than the rule's amount over all holders: that is promise P8, whatever pauses or dies.
//
// Windows are named by the database's clock, learned with every answer as an offset to the monotonic clock. A lease is spendable for
// lease_ttl after the exchange that was last known good, so that a paused or cut-off instance stops by itself; what it did not spend
// stays debited until it comes back or the next owner of its log recounts it.
//
// A request is counted by the usage row that ends it: one that is refused, released or dropped before it was recorded gives its request
// unit back.
//
// Tested by tests/metering/quotas_test.cpp, tests/metering/quotas_threads_test.cpp and tests/metering/quotas_property_test.cpp.
#include "metering/quotas.h"

#include <algorithm>
#include <utility>

#include "metering/quota_refusals.h"
#include "metering/quotas_core.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {
namespace {

void Run(After& after) {
  for (auto& call : after) call();
}

}  // namespace

Admission& Admission::operator=(Admission&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Admission::~Admission() {
  if (impl_ == nullptr) return;
  base::Lock lock(impl_->core->mu);
  impl_->core->DropAdmission(*impl_);
}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

Reservation::~Reservation() {
  if (impl_ == nullptr) return;
  base::Lock lock(impl_->core->mu);
  impl_->core->Finish(*impl_, impl_->recorded ? State::kExpired : State::kReleased, impl_->recorded ? impl_->tokens : 0);
}

Reservation::State Reservation::state() const {
  if (impl_ == nullptr) return State::kReleased;
  base::Lock lock(impl_->core->mu);
  return impl_->state;
}

std::int64_t Reservation::tokens() const {
  if (impl_ == nullptr) return 0;
  base::Lock lock(impl_->core->mu);
  return impl_->tokens;
}

std::int64_t Reservation::output_tokens() const {
  if (impl_ == nullptr) return 0;
  base::Lock lock(impl_->core->mu);
  return impl_->output;
}

void Reservation::MarkRecorded() {
  if (impl_ == nullptr) return;
  base::Lock lock(impl_->core->mu);
  impl_->recorded = true;
  impl_->admission->named = true;
}

std::vector<Hold> Reservation::holds() const {
  std::vector<Hold> holds;
  if (impl_ == nullptr) return holds;
  base::Lock lock(impl_->core->mu);
  if (impl_->state != State::kHeld) return holds;
  for (const Bucket* b : impl_->buckets) holds.push_back({b->rule->id, b->window.start, b->lease});
  if (!impl_->names_units) return holds;
  for (const RequestUnit& unit : impl_->admission->requests)
    holds.push_back({unit.bucket->rule->id, unit.bucket->window.start, unit.bucket->lease});
  return holds;
}

void FillHolds(const Reservation& reservation, v1::RequestBody* body) {
  const std::vector<Hold> holds = reservation.holds();
  if (holds.empty()) return;
  for (const Hold& hold : holds) body->add_leases(hold.lease);
  body->set_epoch(reservation.impl_->core->leases.holder().epoch);
}

Quotas::Quotas(const base::Clock& clock, Leases& leases, QuotaOptions options) : core_(std::make_unique<Core>(clock, leases, options)) {}

Quotas::~Quotas() {
  After after;
  {
    base::Lock lock(core_->mu);
    core_->stopping = true;
    core_->fenced = true;  // No exchange starts any more.
    core_->ticking = false;
    core_->FailWaiters([](const Waiter&) { return true; }, base::Cancelled("this instance is stopping"), after);
    core_->stop.notify_all();
  }
  Run(after);
  if (core_->ticker.joinable()) core_->ticker.join();
  base::Lock lock(core_->mu);
  core_->changed.wait(lock.native(), [&]() REQUIRES(core_->mu) { return !core_->in_flight; });
}

void Quotas::SetRules(std::shared_ptr<const QuotaRules> rules) {
  After after;
  {
    RuleSwap swap;
    base::Lock order(core_->swap_order);
    if (rules == core_->in_force) return;
    swap = core_->PrepareSwap(*rules);
    core_->Swap(swap);
    core_->EditBuckets(swap);
    core_->in_force = std::move(rules);
    base::Lock lock(core_->mu);
    core_->StartExchange(core_->clock.Mono(), !core_->clock_known, after);
  }
  Run(after);
}

absl::StatusOr<Admission> Quotas::Admit(std::span<const Scope> scopes) {
  After after;
  absl::StatusOr<Admission> result;
  auto impl = std::make_shared<Admission::Impl>();
  impl->core = core_.get();
  if (core_->swapping.load(std::memory_order_relaxed)) base::Lock wait(core_->swap_gate);
  {
    std::shared_lock rules(core_->rules_mu);
    const auto found = core_->RulesOf(scopes, *impl);
    base::Lock lock(core_->mu);
    const base::MonoTime now = core_->clock.Mono();
    result = core_->Admit(std::move(impl), found, now);
    if (!core_->Idle() || !core_->clock_known) core_->StartExchange(now, !core_->clock_known, after);
  }
  Run(after);
  return result;
}

void Quotas::Reserve(Admission& admission, std::int64_t input_tokens, std::int64_t output_tokens, Done<Reservation> done,
                     std::int64_t least) {
  TG_CHECK(admission.impl_ != nullptr, "Reserve needs an admission");
  if (input_tokens < 0 || output_tokens < 0 || input_tokens > QuotaRules::kAmountMax || output_tokens > QuotaRules::kAmountMax) {
    return done(base::InvalidArgument("a reservation needs token counts between 0 and 10^15"));
  }
  After after;
  absl::StatusOr<Reservation> result;
  bool decided = false;
  {
    base::Lock lock(core_->mu);
    const base::MonoTime now = core_->clock.Mono();
    decided = core_->TryReserve(admission.impl_, {input_tokens, output_tokens, least}, now, now + core_->options.lease_wait, &result);
    if (!decided && core_->waiting.size() >= core_->options.waiting_max) {
      decided = true;
      result = TooManyWaiting();
    }
    if (decided) {
      if (!core_->Idle()) core_->StartExchange(now, false, after);
    } else {
      core_->Wait({.admission = admission.impl_, .need = {input_tokens, output_tokens, least}, .reserved = std::move(done)}, now, after);
    }
  }
  Run(after);
  if (decided) done(std::move(result));
}

void Quotas::Extend(Reservation& reservation, std::int64_t want, Done<Extension> done) {
  if (reservation.impl_ == nullptr) return done(base::Cancelled("the reservation was closed"));
  if (want < 0 || want > QuotaRules::kAmountMax) return done(base::InvalidArgument("an extension needs a token count between 0 and 10^15"));
  After after;
  absl::StatusOr<Extension> result;
  bool decided = false;
  {
    base::Lock lock(core_->mu);
    const base::MonoTime now = core_->clock.Mono();
    decided = core_->TryExtend(*reservation.impl_, want, now, &result);
    if (!decided && core_->waiting.size() >= core_->options.waiting_max) {
      decided = true;
      result = TooManyWaiting();
    }
    if (decided) {
      if (!core_->Idle()) core_->StartExchange(now, false, after);
    } else {
      core_->Wait({.reservation = reservation.impl_, .want = want, .extended = std::move(done)}, now, after);
    }
  }
  Run(after);
  if (decided) done(std::move(result));
}

void Quotas::Settle(Reservation& reservation, const v1::TokenCounts& used) {
  if (reservation.impl_ == nullptr) return;
  base::Lock lock(core_->mu);
  core_->Finish(*reservation.impl_, Reservation::State::kSettled, std::max<std::int64_t>(0, used.input() + used.output()));
}

void Quotas::Release(Reservation& reservation) {
  if (reservation.impl_ == nullptr) return;
  base::Lock lock(core_->mu);
  core_->Finish(*reservation.impl_, Reservation::State::kReleased, 0);
}

Remaining Quotas::RemainingOf(std::span<const Scope> scopes) {
  Remaining remaining;
  base::Lock lock(core_->mu);
  if (!core_->clock_known) return remaining;
  const base::MonoTime now = core_->clock.Mono();
  const base::WallTime wall = core_->DatabaseTime(now);
  for (const Scope& scope : scopes) {
    const auto found = core_->by_scope.find(ScopeKey{scope.kind, scope.id});
    if (found == core_->by_scope.end()) continue;
    for (RuleState* state : found->second) {
      if (state->rule->meter == Meter::kConcurrent) continue;
      const Bucket* b = core_->Current(*state, wall, now);
      const std::int64_t left = std::max<std::int64_t>(0, b->rule->amount - b->debited + std::max<std::int64_t>(b->available, 0));
      auto& slot = state->rule->meter == Meter::kTokens ? remaining.tokens : remaining.requests;
      if (slot && slot->remaining <= left) continue;
      slot = {b->rule->amount, left, std::chrono::ceil<std::chrono::milliseconds>(b->window.end - wall)};
    }
  }
  return remaining;
}

void Quotas::StartTicking() {
  base::Lock lock(core_->mu);
  TG_CHECK(!core_->ticking, "StartTicking was called twice");
  core_->ticking = true;
  core_->ticker = std::thread([core = core_.get()] {
    while (true) {
      core->Tick();
      base::Lock wait(core->mu);
      core->stop.wait_for(wait.native(), core->options.tick, [&]() REQUIRES(core->mu) { return !core->ticking; });
      if (!core->ticking) return;
    }
  });
}

void Quotas::Tick() { core_->Tick(); }

bool Quotas::Ready() {
  base::Lock lock(core_->mu);
  return core_->clock_known && !core_->fenced && !core_->stopping && core_->clock.Mono() >= core_->down_until;
}

bool Quotas::Fenced() {
  base::Lock lock(core_->mu);
  return core_->fenced;
}

bool Quotas::Close(std::chrono::milliseconds wait) {
  After after;
  {
    base::Lock lock(core_->mu);
    core_->stopping = true;  // An exchange that is on its way asks for more: its answer goes back as well.
    for (auto& [key, b] : core_->buckets) core_->GiveAll(*b);
    core_->StartExchange(core_->clock.Mono(), false, after);
  }
  Run(after);
  base::Lock lock(core_->mu);
  const auto all_went = [&]() REQUIRES(core_->mu) { return !core_->in_flight && core_->Idle(); };
  core_->changed.wait_for(lock.native(), wait, [&]() REQUIRES(core_->mu) { return all_went() || core_->fenced; });
  return all_went();
}

}  // namespace tollgate::metering
