// How fast quotas are in process: admit, reserve, extend and settle under six limits of four scopes, with 100,000 keys drawn by Zipf, on
// two threads, over a store in memory. One round is one whole request.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <thread>

#include "metering/quotas.h"
#include "tests/support/fake_leases.h"
#include "tollgate/v1/record.pb.h"

namespace {

using namespace tollgate;
using namespace tollgate::metering;
using Steady = std::chrono::steady_clock;

constexpr int kKeys = 100'000, kProjects = 100, kTeams = 10, kThreads = 2, kRuns = 7;
constexpr int kRequests = 400'000;  // A thread and run.
constexpr std::int64_t kPlenty = 1'000'000'000'000;

struct World {
  std::vector<std::vector<Scope>> scopes;  // Of each key.
  std::vector<QuotaRule> rules;
  std::vector<double> zipf;  // Cumulative.

  World() {
    const Scope org{Scope::Kind::kOrg, base::Uuid::NewV7(), "acme"};
    const auto make = [](Scope::Kind kind, int n) {
      std::vector<Scope> out;
      for (int i = 0; i < n; ++i) out.push_back({kind, base::Uuid::NewV7(), std::to_string(i)});
      return out;
    };
    const auto teams = make(Scope::Kind::kTeam, kTeams), projects = make(Scope::Kind::kProject, kProjects),
               keys = make(Scope::Kind::kKey, kKeys);
    const auto limit = [&](const Scope& scope, Meter meter, Window window) {
      rules.push_back({base::Uuid::NewV7(), scope, meter, window, kPlenty});
    };
    limit(org, Meter::kTokens, Window::kMonth);
    for (const Scope& t : teams) limit(t, Meter::kTokens, Window::kMonth);
    for (const Scope& t : teams) limit(t, Meter::kTokens, Window::kMinute);
    for (const Scope& p : projects) limit(p, Meter::kTokens, Window::kDay);
    for (const Scope& k : keys) limit(k, Meter::kTokens, Window::kMinute);
    for (const Scope& k : keys) limit(k, Meter::kRequests, Window::kMinute);
    double sum = 0;
    for (int i = 0; i < kKeys; ++i) {
      scopes.push_back({keys[i], projects[i % kProjects], teams[i % kTeams], org});
      zipf.push_back(sum += 1.0 / (i + 1));
    }
    for (double& z : zipf) z /= sum;
  }
};

// Waits for the callback; it has come already where the lease is healthy.
template <typename T, typename Start>
void Await(const Start& start, absl::StatusOr<T>& result) {
  std::atomic<bool> called = false;
  start([&](absl::StatusOr<T> r) {
    result = std::move(r);
    called.store(true, std::memory_order_release);
  });
  while (!called.load(std::memory_order_acquire)) std::this_thread::yield();
}

// Every 64th request is timed, so that the clock is not what is measured.
void Client(Quotas& quotas, const World& world, const std::vector<int>& draw, std::vector<double>& us, std::atomic<int>& refused) {
  v1::TokenCounts used;
  used.set_input(100);
  for (int i = 0; i < kRequests; ++i) {
    const bool timed = i % 64 == 0;
    const auto begin = timed ? Steady::now() : Steady::time_point();
    {
      auto admission = quotas.Admit(world.scopes[static_cast<std::size_t>(draw[static_cast<std::size_t>(i)])]);
      if (!admission.ok()) {
        ++refused;
        continue;
      }
      absl::StatusOr<Reservation> reservation;
      Await<Reservation>([&](auto done) { quotas.Reserve(*admission, 100, 64, std::move(done)); }, reservation);
      if (!reservation.ok()) {
        ++refused;
        continue;
      }
      absl::StatusOr<Extension> extension;
      Await<Extension>([&](auto done) { quotas.Extend(*reservation, 64, std::move(done)); }, extension);
      if (!extension.ok() || extension->granted < 64) ++refused;
      used.set_output(reservation->output_tokens());
      quotas.Settle(*reservation, used);
    }
    if (timed) us.push_back(std::chrono::duration<double, std::micro>(Steady::now() - begin).count());
  }
}

struct Figures {
  double per_s = 0, p99_us = 0;
};

Figures Run(Quotas& quotas, const World& world, std::uint64_t seed) {
  std::vector<std::vector<int>> draws(kThreads);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (auto& draw : draws) {
    for (int i = 0; i < kRequests; ++i) {
      draw.push_back(static_cast<int>(std::lower_bound(world.zipf.begin(), world.zipf.end() - 1, uniform(random)) - world.zipf.begin()));
    }
  }
  std::vector<std::vector<double>> us(kThreads);
  std::atomic<int> refused = 0;
  const auto begin = Steady::now();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back([&, t] { Client(quotas, world, draws[t], us[t], refused); });
  for (auto& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Steady::now() - begin).count();
  if (refused > 0) std::fprintf(stderr, "%d requests were refused or cut short\n", refused.load());
  std::vector<double> all;
  for (const auto& part : us) all.insert(all.end(), part.begin(), part.end());
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() * 99 / 100), all.end());
  return {static_cast<double>(kThreads) * kRequests / seconds, all[all.size() * 99 / 100]};
}

void Print(const char* name, std::vector<double> values, const char* unit) {
  std::sort(values.begin(), values.end());
  const double median = values[values.size() / 2], spread = (values.back() - values.front()) / median;
  std::printf("%s %.6g %s spread %.0f%%%s\n", name, median, unit, spread * 100, spread > 0.15 ? " unstable" : "");
}

}  // namespace

int main() {
  const World world;
  test::FakeLeaseStore store;
  test::FakeLeases leases(store, base::SystemClock(), {base::InstanceId::New(), 1});
  Quotas quotas(base::SystemClock(), leases);
  quotas.SetRules(*QuotaRules::Make(world.rules));
  quotas.StartTicking();
  std::vector<double> per_s, p99_us;
  Run(quotas, world, 0);  // Leases grow to the demand.
  for (std::uint64_t run = 1; run <= kRuns; ++run) {
    const Figures f = Run(quotas, world, run);
    per_s.push_back(f.per_s);
    p99_us.push_back(f.p99_us);
  }
  Print("quota.inprocess.per_s", per_s, "requests/s");
  Print("quota.inprocess.p99_us", p99_us, "us");
  return 0;
}
