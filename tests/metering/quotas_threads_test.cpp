#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "tests/metering/quota_fixture.h"

namespace tollgate::metering {
namespace {

TEST_CASE("200 threads against one budget spend it to the last request and never more") {
  constexpr std::int64_t kBudget = 50'000;
  constexpr std::int64_t kRequests = 4'000;
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, kBudget), Rule(kOrg, Meter::kRequests, Window::kMonth, kRequests)});
  std::atomic<std::int64_t> tokens = 0, requests = 0;
  const auto client = [&] {
    while (true) {
      auto admission = f.quotas.Admit(kScopes);
      if (!admission.ok()) return;
      std::promise<absl::StatusOr<Reservation>> reserved;
      f.quotas.Reserve(*admission, 7, 4, [&](absl::StatusOr<Reservation> r) { reserved.set_value(std::move(r)); });
      auto reservation = reserved.get_future().get();
      if (!reservation.ok()) return;
      std::promise<absl::StatusOr<Extension>> extended;
      f.quotas.Extend(*reservation, 5, [&](absl::StatusOr<Extension> e) { extended.set_value(std::move(e)); });
      if (!extended.get_future().get().ok()) return;
      tokens += reservation->tokens();
      ++requests;
      f.quotas.Settle(*reservation, Used(7, reservation->output_tokens()));
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 200; ++i) threads.emplace_back(client);
  for (auto& thread : threads) thread.join();
  CHECK(requests <= kRequests);
  CHECK(tokens <= kBudget);
  CHECK(tokens > kBudget - 8);
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == kBudget - tokens);
}

TEST_CASE("Rules can be swapped while requests run under them") {
  QuotaRule tokens = Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000), slots = Rule(kKey, Meter::kConcurrent, Window::kNone, 100);
  Fixture f({tokens, slots});
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> used = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        auto admission = f.quotas.Admit(kScopes);
        if (!admission.ok()) continue;
        std::promise<absl::StatusOr<Reservation>> reserved;
        f.quotas.Reserve(*admission, 3, 2, [&](absl::StatusOr<Reservation> r) { reserved.set_value(std::move(r)); });
        auto reservation = reserved.get_future().get();
        if (!reservation.ok()) continue;
        f.quotas.Settle(*reservation, Used(3, 1));
        used += 4;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    tokens.amount += 1 - 2 * (i % 2);
    f.SetRules(i % 3 == 0 ? std::vector<QuotaRule>{tokens} : std::vector<QuotaRule>{tokens, slots});
    f.quotas.Tick();
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  f.SetRules({tokens, slots});
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == std::max<std::int64_t>(0, tokens.amount - used));
  CHECK(f.Admit().ok());
}

}  // namespace
}  // namespace tollgate::metering
