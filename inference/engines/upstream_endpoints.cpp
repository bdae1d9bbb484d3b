// How it works. Each prompt has an order of the endpoints of its own (rendezvous hashing: the score of an endpoint does not depend on the
// others, so that one that comes or goes moves only its own prompts), and takes the first whose load is within bounds (consistent hashing
// with bounded loads, Mirrokni, Thorup and Zadimoghaddam, 2018). Loads are those of this instance.
//
// Tested by tests/inference/upstream_endpoints_test.cpp.
#include "inference/engines/upstream_endpoints.h"

#include <algorithm>
#include <utility>

namespace tollgate::inference {
namespace {

constexpr double kBound = 1.25;  // Of the mean load.

std::uint64_t Score(std::uint64_t affinity, std::size_t endpoint) {
  std::uint64_t x = affinity ^ (0x9E3779B97F4A7C15ULL * (endpoint + 1));  // splitmix64's finish.
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

bool UpstreamEndpoints::Usable(const Endpoint& endpoint, base::MonoTime now, bool form) {
  if (!endpoint.healthy || now < endpoint.rests_until) return false;
  if (!endpoint.open_until) return true;
  const Trial& trial = endpoint.TrialOf(form);
  return now >= *endpoint.open_until && (trial.number == 0 || now >= trial.alone_until);
}

std::optional<std::size_t> UpstreamEndpoints::Choose(std::uint64_t affinity, base::MonoTime now, const std::vector<std::size_t>& tried,
                                                     bool form) const {
  std::vector<std::size_t> order;
  int total = 0;
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    if (!Usable(endpoints_[i], now, form) || std::find(tried.begin(), tried.end(), i) != tried.end()) continue;
    order.push_back(i);
    total += endpoints_[i].load;
  }
  if (order.empty()) return std::nullopt;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return Score(affinity, a) > Score(affinity, b); });
  const double most = kBound * (total + 1) / static_cast<double>(order.size());
  for (const std::size_t i : order) {
    if (endpoints_[i].load + 1 <= std::max(most, 1.0)) return i;
  }
  return *std::min_element(order.begin(), order.end(),
                           [this](std::size_t a, std::size_t b) { return endpoints_[a].load < endpoints_[b].load; });
}

UpstreamEndpoints::Begun UpstreamEndpoints::Began(std::size_t index, base::MonoTime now, bool form) {
  Endpoint& endpoint = endpoints_[index];
  ++endpoint.load;
  Begun begun{.round = endpoint.round, .form = form};
  Trial& trial = endpoint.TrialOf(form);
  if (!endpoint.open_until || now < *endpoint.open_until || (trial.number != 0 && now < trial.alone_until)) return begun;
  begun.trying = true;
  begun.trial = ++endpoint.trials;
  trial = {begun.trial, now + rules_.trial};
  return begun;
}

void UpstreamEndpoints::Answers(std::size_t index) {
  Endpoint& endpoint = endpoints_[index];
  endpoint.plain = endpoint.form = {};
  endpoint.open_until.reset();
  endpoint.failures = rules_.failures_max - 1;
}

void UpstreamEndpoints::Ended(std::size_t index, Outcome outcome, base::MonoTime now, const Begun& begun) {
  Endpoint& endpoint = endpoints_[index];
  --endpoint.load;
  Trial& trial = endpoint.TrialOf(begun.form);
  if (begun.trying && trial.number == begun.trial) trial = {};
  const bool known = begun.round != endpoint.round;  // It began before the circuit opened: what it fails at is known.
  const bool tried = begun.trying && endpoint.open_until.has_value();
  // Where one is tried with a form, that it is not begun may be the form's doing.
  const bool failed = outcome == Outcome::kFailed || (outcome == Outcome::kSilent && !(tried && begun.form));
  if (outcome == Outcome::kGood) {
    endpoint.failures = endpoint.opened = 0;
    endpoint.open_until.reset();
  } else if (failed && !known && (++endpoint.failures >= rules_.failures_max || tried)) {
    ++endpoint.round;
    endpoint.plain = endpoint.form = {};
    const auto cooldown = rules_.cooldown * (1LL << std::min(endpoint.opened, 20));
    ++endpoint.opened;
    endpoint.open_until = now + std::min<std::chrono::milliseconds>(cooldown, rules_.cooldown_max);
  }
}

void UpstreamEndpoints::Rest(std::size_t index, std::chrono::milliseconds wait, base::MonoTime now) {
  endpoints_[index].rests_until = std::max(endpoints_[index].rests_until, now + std::min(wait, rules_.cooldown_max));
}

void UpstreamEndpoints::Probed(std::size_t index, bool healthy) { endpoints_[index].healthy = healthy; }

int UpstreamEndpoints::usable(base::MonoTime now) const {
  return static_cast<int>(std::count_if(endpoints_.begin(), endpoints_.end(), [now](const Endpoint& e) { return Usable(e, now, false); }));
}

std::chrono::milliseconds UpstreamEndpoints::RetryIn(base::MonoTime now) const {
  auto first = rules_.cooldown_max;
  for (const Endpoint& endpoint : endpoints_) {
    const base::MonoTime until = std::max(endpoint.open_until.value_or(now), endpoint.rests_until);
    const bool known = endpoint.healthy && until > now;  // Of one that is not well, or is being tried, it is not.
    first = std::min(first, known ? std::chrono::ceil<std::chrono::milliseconds>(until - now) : rules_.cooldown);
  }
  return std::max(first, std::chrono::milliseconds(100));
}

}  // namespace tollgate::inference
