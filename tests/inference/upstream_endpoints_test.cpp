#include "inference/engines/upstream_endpoints.h"

#include <algorithm>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "tests/support/random.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using Outcome = UpstreamEndpoints::Outcome;

const base::MonoTime kStart{std::chrono::seconds(100)};

void Fail(UpstreamEndpoints& fleet, std::size_t endpoint, base::MonoTime now) {
  const auto begun = fleet.Began(endpoint, now);
  fleet.Ended(endpoint, Outcome::kFailed, now, begun);
}

TEST_CASE("A prompt comes back to the endpoint that knows it, and one that goes moves only its own prompts") {
  UpstreamEndpoints fleet(5);
  UpstreamEndpoints without(5);
  without.Probed(2, false);
  std::set<std::size_t> used;
  for (std::uint64_t prompt = 0; prompt < 1000; ++prompt) {
    const std::size_t chosen = *fleet.Choose(prompt, kStart, {});
    used.insert(chosen);
    REQUIRE(fleet.Choose(prompt, kStart, {}) == chosen);
    if (chosen != 2) REQUIRE(without.Choose(prompt, kStart, {}) == chosen);
    if (chosen == 2) REQUIRE(without.Choose(prompt, kStart, {}) != 2);
  }
  CHECK(used.size() == 5);
}

TEST_CASE("One prompt asked again and again spreads once its endpoint has a quarter more than the mean") {
  UpstreamEndpoints fleet(4);
  for (int i = 0; i < 400; ++i) fleet.Began(*fleet.Choose(7, kStart, {}), kStart);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(fleet.load(i) >= 20);
    CHECK(fleet.load(i) <= 126);
  }
}

TEST_CASE("Loads stay within their bound for any mix of prompts that come and go") {
  std::mt19937_64 random(test::Seed());
  UpstreamEndpoints fleet(6);
  std::vector<std::size_t> running;
  for (int i = 0; i < 20'000; ++i) {
    if (!running.empty() && random() % 3 == 0) {
      const std::size_t at = random() % running.size();
      fleet.Ended(running[at], Outcome::kGood, kStart, {});
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    const std::size_t chosen = *fleet.Choose(random() % 10, kStart, {});
    const double bound = std::max(1.25 * static_cast<double>(running.size() + 1) / 6, 1.0);
    const auto least = fleet.load(*fleet.Choose(0, kStart, {}));
    REQUIRE((fleet.load(chosen) + 1 <= bound || fleet.load(chosen) <= least));
    fleet.Began(chosen, kStart);
    running.push_back(chosen);
  }
}

TEST_CASE("Three failures in a row open the circuit, for twice as long each time; then one request may try") {
  UpstreamEndpoints fleet(1);
  base::MonoTime now = kStart;
  for (int i = 0; i < 2; ++i) Fail(fleet, 0, now);
  fleet.Ended(0, Outcome::kGood, now, fleet.Began(0, now));
  for (int i = 0; i < 2; ++i) Fail(fleet, 0, now);
  CHECK(fleet.usable(now) == 1);
  Fail(fleet, 0, now);
  CHECK(fleet.usable(now) == 0);
  CHECK(fleet.RetryIn(now) == milliseconds(1000));
  for (const int cooldown : {1000, 2000, 4000, 8000, 16'000, 30'000, 30'000}) {
    CHECK_FALSE(fleet.Choose(1, now + milliseconds(cooldown - 1), {}));
    now += milliseconds(cooldown);
    REQUIRE(fleet.Choose(1, now, {}));
    const auto begun = fleet.Began(0, now);
    REQUIRE(begun.trying);
    CHECK_FALSE(fleet.Choose(1, now, {}));  // One alone may try.
    fleet.Ended(0, Outcome::kFailed, now, begun);
  }
  now += milliseconds(30'000);
  const auto last = fleet.Began(0, now);
  REQUIRE(last.trying);
  fleet.Ended(0, Outcome::kGood, now, last);
  CHECK(fleet.usable(now) == 1);
  Fail(fleet, 0, now);
  CHECK(fleet.usable(now) == 1);
}

TEST_CASE("What we cancelled says nothing of an endpoint, and a try that was cancelled may be tried again") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  const base::MonoTime later = kStart + milliseconds(1000);
  const auto begun = fleet.Began(0, later);
  REQUIRE(begun.trying);
  fleet.Ended(0, Outcome::kNeither, later, begun);
  CHECK(fleet.Choose(1, later, {}));
}

TEST_CASE("Whoever tries and begins to be answered lets the others in; if that answer fails, one failure opens it again, for longer") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  base::MonoTime now = kStart + milliseconds(1000);
  auto begun = fleet.Began(0, now);
  REQUIRE(begun.trying);
  CHECK_FALSE(fleet.Choose(1, now, {}));
  fleet.Answers(0);
  CHECK(fleet.Choose(1, now, {}));
  const auto ordinary = fleet.Began(0, now);
  CHECK_FALSE(ordinary.trying);
  fleet.Ended(0, Outcome::kNeither, now, ordinary);
  fleet.Ended(0, Outcome::kFailed, now, {false, begun.round});
  CHECK_FALSE(fleet.Choose(1, now + milliseconds(1999), {}));
  now += milliseconds(2000);
  begun = fleet.Began(0, now);
  REQUIRE(begun.trying);
  fleet.Answers(0);
  fleet.Ended(0, Outcome::kGood, now, {false, begun.round});
  for (int i = 0; i < 2; ++i) Fail(fleet, 0, now);
  CHECK(fleet.Choose(1, now, {}));  // A good answer, and the count begins anew.
}

TEST_CASE("Whoever tries and is not answered keeps the others out for five seconds each, and no longer") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  base::MonoTime now = kStart + milliseconds(1000);
  std::vector<UpstreamEndpoints::Begun> tries;
  for (int i = 0; i < 3; ++i, now += milliseconds(5000)) {
    REQUIRE(fleet.Choose(1, now, {}));
    tries.push_back(fleet.Began(0, now));
    REQUIRE(tries.back().trying);
    CHECK_FALSE(fleet.Choose(1, now + milliseconds(4999), {}));
  }
  fleet.Ended(0, Outcome::kNeither, now, tries[0]);  // Another is trying.
  now -= milliseconds(1);
  CHECK_FALSE(fleet.Choose(1, now, {}));
  fleet.Ended(0, Outcome::kSilent, now, tries[1]);
  CHECK_FALSE(fleet.Choose(1, now + milliseconds(1999), {}));
  CHECK(fleet.Choose(1, now + milliseconds(2000), {}));
  fleet.Ended(0, Outcome::kFailed, now, tries[2]);  // It began before the circuit opened again.
  CHECK(fleet.Choose(1, now + milliseconds(2000), {}));
}

TEST_CASE("A try that fails once the circuit is closed is a failure like others") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  const base::MonoTime first = kStart + milliseconds(1000), second = first + milliseconds(5000);
  const auto slow = fleet.Began(0, first), quick = fleet.Began(0, second);
  REQUIRE(quick.trying);
  fleet.Answers(0);
  fleet.Ended(0, Outcome::kGood, second, {false, quick.round});
  fleet.Ended(0, Outcome::kFailed, second, slow);
  CHECK(fleet.Choose(1, second, {}));
}

TEST_CASE("What is held to a form tries beside the others and never in their place, and that it is not begun then says nothing") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  base::MonoTime now = kStart + milliseconds(1000);
  CHECK_FALSE(fleet.Choose(1, now - milliseconds(1), {}, true));
  REQUIRE(fleet.Choose(1, now, {}, true));
  const auto form = fleet.Began(0, now, true);
  REQUIRE(form.trying);
  CHECK_FALSE(fleet.Choose(1, now, {}, true));  // One of these, too.
  CHECK(fleet.usable(now) == 1);
  REQUIRE(fleet.Choose(1, now, {}));
  const auto plain = fleet.Began(0, now);
  REQUIRE(plain.trying);
  fleet.Ended(0, Outcome::kSilent, now, form);
  CHECK(fleet.Choose(1, now, {}, true));
  CHECK_FALSE(fleet.Choose(1, now, {}));
  SECTION("what breaks off does") {
    const auto again = fleet.Began(0, now, true);
    fleet.Ended(0, Outcome::kFailed, now, again);
    CHECK_FALSE(fleet.Choose(1, now + milliseconds(1999), {}, true));
    CHECK_FALSE(fleet.Choose(1, now + milliseconds(1999), {}));
  }
  SECTION("and its beginning lets everybody in") {
    fleet.Answers(0);
    CHECK(fleet.Choose(1, now, {}));
  }
  SECTION("of a plain one it opens the circuit again") {
    fleet.Ended(0, Outcome::kSilent, now, plain);
    CHECK_FALSE(fleet.Choose(1, now + milliseconds(1999), {}));
  }
}

TEST_CASE("What began before the circuit opened and fails after it closed again opens nothing, however late it fails") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 6; ++i) CHECK_FALSE(fleet.Began(0, kStart).trying);
  for (int i = 0; i < 3; ++i) fleet.Ended(0, Outcome::kFailed, kStart, {});
  base::MonoTime now = kStart + milliseconds(1000);
  const auto begun = fleet.Began(0, now);
  REQUIRE(begun.trying);
  fleet.Answers(0);
  for (int i = 0; i < 3; ++i) {
    now += milliseconds(1000);
    fleet.Ended(0, Outcome::kFailed, now, {});
    CHECK(fleet.Choose(1, now, {}));
  }
  fleet.Ended(0, Outcome::kFailed, now, {false, begun.round});  // The one that tried.
  CHECK_FALSE(fleet.Choose(1, now, {}));
}

TEST_CASE("Old requests that end well take nothing from what new ones' failures mean") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 60; ++i) fleet.Began(0, kStart);
  for (int i = 0; i < 3; ++i) fleet.Ended(0, Outcome::kFailed, kStart, {});
  for (int i = 0; i < 57; ++i) fleet.Ended(0, Outcome::kGood, kStart, {});  // They close it.
  std::vector<UpstreamEndpoints::Begun> others;
  for (int i = 0; i < 60; ++i) others.push_back(fleet.Began(0, kStart));
  for (int i = 0; i < 2; ++i) fleet.Ended(0, Outcome::kFailed, kStart, others[static_cast<std::size_t>(i)]);
  CHECK(fleet.Choose(1, kStart, {}));
  fleet.Ended(0, Outcome::kFailed, kStart, others[2]);
  CHECK_FALSE(fleet.Choose(1, kStart, {}));
}

TEST_CASE("Requests that fail after the circuit opened do not lengthen it") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 10; ++i) fleet.Began(0, kStart);
  for (int i = 0; i < 10; ++i) fleet.Ended(0, Outcome::kFailed, kStart, {});
  CHECK(fleet.Choose(1, kStart + milliseconds(1000), {}));
}

TEST_CASE("While one tries, the end of a request that began before the circuit opened lets in no second") {
  UpstreamEndpoints fleet(1);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(fleet.Began(0, kStart).trying);
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, kStart);
  const base::MonoTime later = kStart + milliseconds(1000);
  const auto begun = fleet.Began(0, later);
  REQUIRE(begun.trying);
  fleet.Ended(0, Outcome::kNeither, later, {});
  CHECK_FALSE(fleet.Choose(1, later, {}));
  fleet.Ended(0, Outcome::kFailed, later, {});  // It opened for such as this one already.
  CHECK_FALSE(fleet.Choose(1, later, {}));
  fleet.Ended(0, Outcome::kFailed, later, begun);
  CHECK_FALSE(fleet.Choose(1, later + milliseconds(1999), {}));
  CHECK(fleet.Choose(1, later + milliseconds(2000), {}));
  CHECK(fleet.Began(0, later + milliseconds(2000)).trying);
  CHECK_FALSE(fleet.Began(0, later + milliseconds(2000)).trying);
  fleet.Ended(0, Outcome::kGood, later + milliseconds(2000), {});  // It works: why wait for the try?
  CHECK(fleet.Choose(1, later + milliseconds(2000), {}));
}

TEST_CASE(
    "One that asks for rest is left alone for so long, thirty seconds at most, and by a shorter wish no sooner; its circuit stays closed") {
  UpstreamEndpoints fleet(2);
  fleet.Rest(0, milliseconds(5000), kStart);
  fleet.Rest(0, milliseconds(1000), kStart);
  CHECK(fleet.usable(kStart) == 1);
  for (std::uint64_t prompt = 0; prompt < 20; ++prompt) CHECK(fleet.Choose(prompt, kStart + milliseconds(4999), {}) == 1);
  CHECK_FALSE(fleet.Choose(1, kStart, {1}));
  CHECK(fleet.Choose(1, kStart + milliseconds(5000), {1}) == 0);
  fleet.Rest(1, milliseconds(86'400'000), kStart);
  CHECK(fleet.usable(kStart) == 0);
  CHECK(fleet.RetryIn(kStart) == milliseconds(5000));
  CHECK(fleet.RetryIn(kStart + milliseconds(4000)) == milliseconds(1000));
  CHECK(fleet.usable(kStart + milliseconds(29'999)) == 1);
  CHECK(fleet.usable(kStart + milliseconds(30'000)) == 2);
  Fail(fleet, 0, kStart + milliseconds(30'000));
  CHECK(fleet.usable(kStart + milliseconds(30'000)) == 2);
}

TEST_CASE("When a fleet may be usable again is what its first endpoint waits for; of one that is not well it is not known") {
  UpstreamEndpoints fleet(2);
  base::MonoTime now = kStart;
  for (int i = 0; i < 3; ++i) Fail(fleet, 0, now);
  now += milliseconds(1000);
  const auto begun = fleet.Began(0, now);
  REQUIRE(begun.trying);
  fleet.Ended(0, Outcome::kFailed, now, begun);  // For two seconds.
  fleet.Rest(1, milliseconds(9000), now);
  CHECK(fleet.RetryIn(now) == milliseconds(2000));
  fleet.Probed(0, false);
  CHECK(fleet.RetryIn(now) == milliseconds(1000));
}

TEST_CASE("Of two servers the one that knows a prompt has it while it is not busier; then the other, and it comes back") {
  for (std::uint64_t prompt = 0; prompt < 100; ++prompt) {
    UpstreamEndpoints fleet(2);
    const std::size_t home = *fleet.Choose(prompt, kStart, {});
    const std::size_t away = 1 - home;
    fleet.Began(home, kStart);
    REQUIRE(fleet.Choose(prompt, kStart, {}) == away);
    fleet.Began(away, kStart);
    REQUIRE(fleet.Choose(prompt, kStart, {}) == home);
    for (int i = 0; i < 6; ++i) fleet.Began(away, kStart);  // Of others.
    for (int i = 0; i < 5; ++i) {
      REQUIRE(fleet.Choose(prompt, kStart, {}) == home);
      fleet.Began(home, kStart);
    }
    for (int i = 0; i < 6; ++i) fleet.Ended(home, Outcome::kGood, kStart, {});
    REQUIRE(fleet.load(home) == 0);
    REQUIRE(fleet.Choose(prompt, kStart, {}) == home);
  }
}

TEST_CASE("Endpoints that were tried, are not well, or whose circuit is open are not chosen") {
  UpstreamEndpoints fleet(4);
  fleet.Probed(0, false);
  for (int i = 0; i < 3; ++i) Fail(fleet, 1, kStart);
  CHECK(fleet.Choose(1, kStart, {2}) == 3);
  CHECK_FALSE(fleet.Choose(1, kStart, {2, 3}));
  fleet.Probed(0, true);
  CHECK(fleet.Choose(1, kStart, {2, 3}) == 0);
}

}  // namespace
}  // namespace tollgate::inference
