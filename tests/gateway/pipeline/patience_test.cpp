// How long policy may take over a text: it ends with the request, or with its own bound, where it holds up nobody; and what it could not
// judge goes nowhere, in words that name the remedy.
#include "gateway/pipeline/patience.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <thread>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/thread_pool.hpp>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using pipeline::Patience;
using pipeline::SlowPolicies;
using std::chrono::steady_clock;
using test::ReasonOf;
namespace v1 = tollgate::v1;

namespace {

std::string Reason(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return detail ? detail->reason : "";
}

std::string Repeat(std::string_view piece, std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += piece;
  return out;
}

std::string Rules(int n, const std::string& direction, const std::string& detect) {
  std::string out;
  for (int i = 0; i < n; ++i) out += fmt::format("  - {{id: r{}, where: {{direction: {}}}, detect: {}, do: flag}}\n", i, direction, detect);
  return test::HousePolicy(out);
}

// Over this a regex like kSlow is no automaton's for long, and costs a walk over all of it for each byte.
const std::string kSlow = "{regex: 'a[ab]{400}c'}";
std::string SlowText(std::size_t bytes) {
  std::string out;
  for (std::uint32_t x = 1; out.size() < bytes;) out += (x = x * 1664525 + 1013904223) >> 31 == 0 ? 'a' : 'b';
  return out;
}

}  // namespace

TEST_CASE("Policy goes on until its client is gone, its time is up, the instance ends or it took too long") {
  pipeline::Cancellation cancellation;
  std::atomic<bool> shutting_down{false};
  auto deadline = steady_clock::now() + 1h;
  Patience patience(cancellation, shutting_down, deadline, "ask for less");
  patience.Begin(1h);
  CHECK(patience.Ask().ok());
  CHECK(patience.AskOfShadow().ok());
  CHECK_FALSE(patience.ran_out());
  patience.Begin(0ms, /*here=*/true);
  CHECK(patience.here());
  CHECK(Reason(patience.Ask()) == "POLICY_TOO_SLOW");
  CHECK_THAT(base::Message(patience.Ask()), ContainsSubstring("tollgate policy lint"));
  CHECK(patience.ran_out());
  patience.Begin(1h);
  CHECK(patience.Ask().ok());
  CHECK_FALSE(patience.ran_out());
  deadline = steady_clock::now();
  CHECK(absl::IsDeadlineExceeded(patience.Ask()));
  CHECK_THAT(base::Message(patience.Ask()), ContainsSubstring("ask for less"));
  shutting_down = true;
  CHECK(Reason(patience.Ask()) == "SHUTTING_DOWN");
  cancellation.Cancel();
  CHECK(absl::IsCancelled(patience.Ask()));
}

TEST_CASE("Policies that took long are remembered for a minute, and only so many") {
  SlowPolicies slow;
  const auto now = steady_clock::now();
  const base::Digest one = base::Sha256("one"), other = base::Sha256("other");
  slow.Took(one, SlowPolicies::kLong - 1ms, now);
  CHECK_FALSE(slow.Has(one, now));
  slow.Took(one, SlowPolicies::kLong, now);
  CHECK(slow.Has(one, now));
  CHECK_FALSE(slow.Has(other, now));
  CHECK_FALSE(slow.Has(one, now + SlowPolicies::kRemembered));
  CHECK_FALSE(slow.Has(one, now));  // It was forgotten.
  slow.Took(one, 1s, now);
  for (std::size_t i = 0; i < SlowPolicies::kMost; ++i) slow.Took(base::Sha256(std::to_string(i)), 1s, now + 1s);
  CHECK_FALSE(slow.Has(one, now));
  CHECK(slow.Has(base::Sha256("0"), now));
}

TEST_CASE("What takes long on an I/O thread is judged anew elsewhere, and so are the next ones from the start") {
  boost::asio::io_context io;
  boost::asio::thread_pool cpu(1);
  pipeline::Cancellation cancellation;
  std::atomic<bool> shutting_down{false};
  const auto deadline = steady_clock::now() + 1h;
  Patience patience(cancellation, shutting_down, deadline, "ask for less");
  SlowPolicies slow;
  const auto io_thread = std::this_thread::get_id();  // It runs in this one.
  const base::Digest policies = base::Sha256("policies");
  std::vector<bool> here;
  bool heavy = true;
  // Judges until it is not to go on, there.
  const auto work = [&] {
    here.push_back(std::this_thread::get_id() == io_thread);
    while (heavy && patience.here() && patience.Ask().ok()) {
    }
    return patience.here() && heavy ? patience.Ask() : absl::OkStatus();
  };
  const auto run = [&](bool large) {
    auto done = boost::asio::co_spawn(io, pipeline::RunJudgement(large, policies, slow, patience, 1h, cpu.get_executor(), work),
                                      boost::asio::use_future);
    io.restart();
    auto guard = boost::asio::make_work_guard(io);
    while (done.wait_for(0s) != std::future_status::ready) io.run_one_for(10ms);
    guard.reset();
    CHECK(done.get().ok());
    return std::exchange(here, {});
  };
  heavy = false;
  CHECK(run(false) == std::vector<bool>{true});
  CHECK(run(true) == std::vector<bool>{false});
  heavy = true;
  CHECK(run(false) == std::vector<bool>{true, false});
  CHECK(run(false) == std::vector<bool>{false});
}

TEST_CASE("A prompt that policy cannot judge within its time is refused, and neither routed nor recorded as judged") {
  test::World world(Rules(400, "input", kSlow));
  world.options.judge_max = 100ms;
  CHECK(ReasonOf(world.Chat(world.Ask(SlowText(2000)))) == "POLICY_TOO_SLOW");
  CHECK(world.Kinds().find("REQUEST") == std::string::npos);
  v1::CountTokensRequest count;
  *count.mutable_messages() = world.Ask(SlowText(2000)).messages();
  count.set_model("script");
  CHECK(Reason(world.CountAs(world.NewCaller(), count).status()) == "POLICY_TOO_SLOW");
  CHECK(ReasonOf(world.Chat(world.Ask("hello"))) == "answered");  // The rules are slow over that text alone.
  world.CheckBooks();
}

TEST_CASE("A prompt in which rules find more than can be judged is refused") {
  test::World world(Rules(600, "input", "{keywords: a}"));
  CHECK(ReasonOf(world.Chat(world.Ask(Repeat("a ", 3900)))) == "POLICY_TOO_MANY_HITS");
  CHECK(world.Kinds().find("REQUEST") == std::string::npos);
}

TEST_CASE("A reply that policy cannot judge within its bounds ends there, on record with the reason") {
  test::World world(Rules(1900, "output", "{keywords: a}"));
  CHECK(ReasonOf(world.Chat(world.Ask(Repeat("a ", 1400)))) == "POLICY_TOO_MANY_HITS");
  const auto entries = world.journal.entries();
  REQUIRE(!entries.empty());
  CHECK(entries.back().record.kind() == v1::RECORD_KIND_ABORT);
  CHECK(entries.back().record.end().reason() == "POLICY_TOO_MANY_HITS");
  world.CheckBooks();
}

TEST_CASE("A shadow that cannot judge within its bounds is recorded as failed, and changes nothing") {
  test::World world(Rules(1, "both", "{keywords: bluebird}"));
  world.Try(Rules(1900, "both", "{keywords: a}"), "shadow");
  CHECK(ReasonOf(world.Chat(world.Ask(Repeat("a ", 1400)))) == "answered");
  const auto entries = world.journal.entries();
  REQUIRE(entries.size() == 2);
  const v1::Verdict prompt = entries[0].record.request().shadow().verdict(), reply = entries[1].record.end().shadow_output().verdict();
  CHECK(prompt.not_scanned(0) == "shadow_failed");
  CHECK(reply.not_scanned(0) == "shadow_failed");
  world.CheckBooks();
}
