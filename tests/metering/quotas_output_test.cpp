// What a Reserve gets of its output: what the quotas have, not what happens to be leased here.
#include <catch2/catch_test_macros.hpp>

#include <optional>

#include "base/error_detail.h"
#include "tests/metering/quota_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;

TEST_CASE("A long answer is reserved wholly where the quota has it, however little of it is leased here") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000), Rule(kOrg, Meter::kTokens, Window::kMinute, 100'000)});
  REQUIRE(f.Serve(20, 64).ok());
  auto admission = f.Admit();
  const auto held = f.Reserve(*admission, 20, 2000);
  REQUIRE(held.ok());
  CHECK(held->output_tokens() == 2000);
}

TEST_CASE("However little is leased, several replies at once get the tokens that their quota has") {
  for (const std::int64_t input : {25, 26, 29}) {
    INFO(input);
    Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000)});
    REQUIRE(f.Serve(20, 10).ok());
    auto admission = f.Admit();
    CHECK(f.Reserve(*admission, input, 8 * 64)->output_tokens() == 8 * 64);
  }
}

TEST_CASE("Where instances share a limit, a request each few seconds gets its whole answer each time") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 10'000'000)});
  f.store.SetHolders(2);
  for (int i = 0; i < 6; ++i) {
    auto admission = f.Admit();
    auto held = f.Reserve(*admission, 500, 4000);
    REQUIRE(held.ok());
    CHECK(held->output_tokens() == 4000);
    held->MarkRecorded();
    f.quotas.Settle(*held, Used(500, 300));
    for (int tick = 0; tick < 24; ++tick) f.Advance(250ms);
  }
}

TEST_CASE("One limit that is spent bounds the answer, and nobody waits for the others to have more than that") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000), Rule(kOrg, Meter::kTokens, Window::kMonth, 200)}, true);
  const auto reserve = [&](Admission& admission, std::int64_t output) {
    std::optional<absl::StatusOr<Reservation>> result;
    f.quotas.Reserve(admission, 20, output, [&](absl::StatusOr<Reservation> r) { result = std::move(r); });
    while (!result && f.leases.Deliver()) {
    }
    return *std::move(result);
  };
  auto admission = f.Admit();
  CHECK(reserve(*admission, 2000)->output_tokens() == 180);  // And goes back.
  auto held = reserve(*admission, 2000);
  CHECK(held->output_tokens() == 180);
  const int before = f.store.exchanges();
  f.quotas.Release(*held);
  CHECK(reserve(*admission, 2000)->output_tokens() == 180);
  CHECK(f.store.exchanges() == before);
}

TEST_CASE("Fewer tokens of output than a request can do with are refused by the limit that leaves so few, and nothing is held") {
  for (const auto& [window, reason] : {std::pair{Window::kMinute, "RATE_LIMITED"}, std::pair{Window::kMonth, "QUOTA_SPENT"}}) {
    Fixture f({Rule(kTeam, Meter::kTokens, window, 100), Rule(kOrg, Meter::kTokens, Window::kMonth, 1'000)});
    REQUIRE(f.Serve(80, 10).ok());
    const auto reserve = [&](std::int64_t output, std::int64_t least) {
      auto admission = f.Admit();
      absl::StatusOr<Reservation> result = base::Unknown("not called");
      f.quotas.Reserve(
          *admission, 7, output, [&](absl::StatusOr<Reservation> r) { result = std::move(r); }, least);
      return result.ok() ? absl::StatusOr<std::int64_t>(result->output_tokens()) : result.status();
    };
    const absl::Status refused = reserve(256, 4).status();
    CHECK(base::Message(refused).starts_with("team search has used 90 of 100 tokens and this request needs 11; resets "));
    CHECK(base::DetailOf(refused)->reason == reason);
    CHECK(base::DetailOf(refused)->may_retry == (window == Window::kMinute));
    CHECK(base::Message(reserve(256, 94).status()).find("needs 101 tokens, more than the 100") != std::string::npos);
    CHECK(reserve(256, 3).value() == 3);
    CHECK(reserve(2, 4).value() == 2);  // It wants no more.
    CHECK(f.quotas.RemainingOf(std::vector<Scope>{kTeam}).tokens->remaining == 10);
  }
}

TEST_CASE("With the store away, or too slow, a request takes what is leased here of its answer") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000)});
  REQUIRE(f.Serve(20, 64).ok());
  f.leases.SetAway(true);
  auto admission = f.Admit();
  for (int i = 0; i < 2; ++i) {  // As it is found to be away, and once that is known.
    const auto held = f.Reserve(*admission, 20, 2000);
    REQUIRE(held.ok());
    CHECK(held->output_tokens() >= 20);
    CHECK(held->output_tokens() < 2000);
  }
  CHECK(base::DetailOf(f.Reserve(*admission, 2000, 64).status())->reason == "QUOTA_UNAVAILABLE");

  Fixture slow({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000)}, true);
  auto first = slow.Admit();
  std::optional<absl::StatusOr<Reservation>> small, large, prompt;
  slow.quotas.Reserve(*first, 20, 64, [&](absl::StatusOr<Reservation> r) { small = std::move(r); });
  while (!small && slow.leases.Deliver()) {
  }
  REQUIRE((small && small->ok()));
  slow.quotas.Release(**small);
  slow.quotas.Reserve(*first, 20, 2000, [&](absl::StatusOr<Reservation> r) { large = std::move(r); });
  slow.quotas.Reserve(*first, 2000, 64, [&](absl::StatusOr<Reservation> r) { prompt = std::move(r); });
  CHECK(!large.has_value());
  slow.Advance(1s);
  REQUIRE((large && large->ok()));
  CHECK((*large)->output_tokens() >= 64);
  REQUIRE(prompt.has_value());
  CHECK(prompt->status().code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tollgate::metering
