// What goes into each step, watched from the engine's side: who decodes is always in it, prompts take what the budget leaves, what ended
// in the middle of its prompt is gone before the next one, and how long a tenant waits for its first token beside another's load. Time is
// what the watched steps say they take.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <set>

#include <fmt/format.h>

#include "inference/engines/script_engine.h"
#include "inference/replica.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using test::HearAll;
using test::Heard;

// The replica's thread alone writes it; to be read when the replica is gone.
struct Watch {
  base::ManualClock clock;
  std::function<void(std::span<const EngineWork>)> during = [](std::span<const EngineWork>) {};  // A step, as it begins.
  std::map<int, std::int64_t> left;                                                              // Of the prompt, by open slot.
  std::vector<std::string> events;                                                               // "step 0:64 1:0", "close 0".
  std::vector<std::string> faults;
  std::map<int, base::TeamId> tenant;           // Of an open slot.
  std::map<base::TeamId, std::int64_t> worked;  // Prompt tokens.
  int mixed = 0;                                // Steps with decoding sequences and prompts.
  microseconds longest{0};                      // Step.
};

// The scripted engine on a machine of known costs, each step held against a budget of its own that learns the same.
class WatchedEngine final : public Engine {
 public:
  WatchedEngine(const ModelOptions& model, Watch& watch)
      : inner_(MakeScriptedEngine(model, watch.clock)), watch_(watch), budget_(inner_->step_tokens_max(), model.step_target) {}

  const ModelInfo& Info() const override { return inner_->Info(); }
  std::int64_t step_tokens_max() const override { return inner_->step_tokens_max(); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return inner_->Render(turns); }
  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    watch_.left[slot] = static_cast<std::int64_t>(sequence.prompt_tokens.size());
    watch_.tenant[slot] = sequence.tenant;
    return inner_->Open(slot, sequence);
  }
  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    const std::int64_t decoding = std::count_if(work.begin(), work.end(), [](const EngineWork& item) { return item.prompt_tokens == 0; });
    std::int64_t prompt_tokens = 0;
    for (const EngineWork& item : work) prompt_tokens += item.prompt_tokens;
    Judge(work, decoding, prompt_tokens);
    for (const EngineWork& item : work) watch_.left[item.slot] -= item.prompt_tokens;
    for (const EngineWork& item : work) watch_.worked[watch_.tenant[item.slot]] += item.prompt_tokens;
    const microseconds took = milliseconds(2) + decoding * milliseconds(1) + prompt_tokens * microseconds(500);
    watch_.during(work);
    watch_.clock.Advance(took);
    watch_.longest = std::max(watch_.longest, took);
    budget_.Ran(prompt_tokens, decoding, took);
    return inner_->Step(work, outputs);
  }
  absl::Status Rewind(int slot, std::int64_t tokens, std::span<const std::int32_t> banned) override {
    return inner_->Rewind(slot, tokens, banned);
  }
  void Close(int slot) override {
    watch_.left.erase(slot);
    watch_.events.push_back(fmt::format("close {}", slot));
    inner_->Close(slot);
  }
  void Interrupt() override { inner_->Interrupt(); }

 private:
  void Judge(std::span<const EngineWork> work, std::int64_t decoding, std::int64_t prompt_tokens) {
    std::string shown = "step";
    for (const EngineWork& item : work) shown += fmt::format(" {}:{}", item.slot, item.prompt_tokens);
    watch_.events.push_back(shown);
    const auto fault = [&](std::string_view what) { watch_.faults.push_back(fmt::format("{}: {}", shown, what)); };
    std::int64_t waiting = 0, wanted = 0;
    std::set<base::TeamId> tenants, tenants_waiting;
    for (const auto& [slot, left] : watch_.left) {
      const auto is_in = std::count_if(work.begin(), work.end(), [s = slot](const EngineWork& item) { return item.slot == s; });
      if (is_in > 1) fault("a slot stands twice in it");
      if (left == 0 && is_in == 0) fault("a decoding sequence is left out");
      tenants.insert(watch_.tenant[slot]);
      if (left > 0) ++waiting, wanted += left, tenants_waiting.insert(watch_.tenant[slot]);
    }
    bool prompts = false;
    for (const EngineWork& item : work) {
      if (item.prompt_tokens == 0 && prompts) fault("who decodes stands behind a prompt");
      if (item.prompt_tokens > 0) prompts = true;
      if ((item.prompt_tokens == 0) != (watch_.left.at(item.slot) == 0)) fault("a slot is asked for what it has not");
      if (item.prompt_tokens > watch_.left.at(item.slot)) fault("more than the prompt has left");
    }
    if (decoding + prompt_tokens > step_tokens_max()) fault("more than a step may hold");
    if (waiting == 0) return;
    // A tenant's own prompts weigh as eight answers each, all of it beside others' as one.
    const std::int64_t weight = tenants.size() == 1 ? 1 + 8 * (waiting - 1) : std::ssize(tenants_waiting);
    const std::int64_t budget = std::min(wanted, budget_.PromptTokens(decoding, weight));
    if (prompt_tokens != budget) fault(fmt::format("the budget for prompts is {}", budget));
    if (decoding > 0) ++watch_.mixed;
  }

  std::unique_ptr<Engine> inner_;
  Watch& watch_;
  StepBudget budget_;
};

ModelOptions Model() {
  ModelOptions model = test::Scripted(4);
  model.step_tokens_max = 64;
  model.step_target = milliseconds(20);
  model.queue_timeout = std::chrono::hours(100);
  model.queue_sequences_max = 1000;
  model.stream_buffer_bytes = 1 << 20;
  return model;
}

std::unique_ptr<Replica> Start(const ModelOptions& model, Watch& watch) {
  auto replica = Replica::Start(model, watch.clock, 0, [&model, &watch]() -> absl::StatusOr<std::unique_ptr<Engine>> {
    return std::make_unique<WatchedEngine>(model, watch);
  });
  REQUIRE(replica.ok());
  return *std::move(replica);
}

SequenceRequest Ask(const Replica& replica, const std::string& text) {
  SequenceRequest request;
  request.model = "script";
  const Turn turn{"user", "", text};
  request.prompt_tokens = *replica.Render(std::span(&turn, 1));
  request.allowance = 1'000'000'000;
  return request;
}

std::shared_ptr<TokenStream> Submit(Replica& replica, SequenceRequest request) {
  auto stream = replica.Submit(std::move(request));
  REQUIRE(stream.ok());
  return *std::move(stream);
}

// A tenant's request with a prompt of so many tokens.
SequenceRequest AskLong(const Replica& replica, int tenant, const std::string& script, std::size_t tokens) {
  SequenceRequest request = Ask(replica, script + "\n" + std::string(40, 'x'));
  auto& prompt = request.prompt_tokens;
  REQUIRE(prompt.size() <= tokens);
  const std::size_t end = prompt.size() - 7;  // In the text, which what closes the turn follows.
  prompt.insert(prompt.begin() + static_cast<std::ptrdiff_t>(end), tokens - prompt.size(), prompt[end - 1]);
  request.tenant = test::Team(tenant);
  return request;
}

struct FirstToken {
  microseconds after{0};
  microseconds longest_step{0};
};

FirstToken VictimAlone(std::size_t prompt_tokens) {
  const ModelOptions model = Model();
  Watch watch;
  auto replica = Start(model, watch);
  const Heard heard = HearAll(*Submit(*replica, AskLong(*replica, 2, "!say hi", prompt_tokens)));
  replica.reset();
  REQUIRE(heard.end.first_token_at.has_value());
  return {std::chrono::duration_cast<microseconds>(*heard.end.first_token_at - heard.end.submitted_at), watch.longest};
}

// Beside 20 sequences of a tenant that was there first; it comes, never seen before, as so many steps have been taken and one begins.
FirstToken VictimBeside(std::size_t prompt_tokens, int arrives) {
  const ModelOptions model = Model();
  Watch watch;
  std::vector<absl::StatusOr<std::shared_ptr<TokenStream>>> others;
  std::promise<absl::StatusOr<std::shared_ptr<TokenStream>>> came;
  SequenceRequest one, mine;
  int steps = 0;
  auto replica = Start(model, watch);
  one = AskLong(*replica, 1, "!tokens 64", 256);
  mine = AskLong(*replica, 2, "!say hi", prompt_tokens);
  watch.during = [&](std::span<const EngineWork> /*work*/) {
    for (int i = 0; steps == 0 && i < 19; ++i) others.push_back(replica->Submit(one));
    if (steps++ == arrives) came.set_value(replica->Submit(mine));
  };
  const auto first = Submit(*replica, one);
  auto coming = came.get_future();
  REQUIRE(coming.wait_for(std::chrono::minutes(3)) == std::future_status::ready);
  const auto victim = coming.get();
  REQUIRE(victim.ok());
  const Heard heard = HearAll(**victim);
  replica.reset();
  REQUIRE(heard.end.first_token_at.has_value());
  REQUIRE(others.size() == 19);
  REQUIRE(others.back().ok());
  const auto last_started = HearAll(**others.back()).end.started_at;  // All the while there was more that waited.
  CHECK((!last_started || *last_started > *heard.end.first_token_at));
  return {std::chrono::duration_cast<microseconds>(*heard.end.first_token_at - heard.end.submitted_at), watch.longest};
}

bool WorksOn(std::span<const EngineWork> work, int slot, bool prompt) {
  return std::any_of(work.begin(), work.end(),
                     [&](const EngineWork& item) { return item.slot == slot && (item.prompt_tokens > 0) == prompt; });
}

}  // namespace

TEST_CASE("Every step holds all who decode, then of prompts just what the budget says, for any mix of lengths") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  ModelOptions model = Model();
  model.step_tokens_max = 256;  // More than the time of a step holds.
  Watch watch;
  auto replica = Start(model, watch);
  std::vector<std::shared_ptr<TokenStream>> streams;
  std::vector<std::int64_t> tokens;
  for (int i = 0; i < 150; ++i) {
    tokens.push_back(1 + static_cast<std::int64_t>(random() % 60));
    streams.push_back(Submit(*replica, Ask(*replica, std::string(random() % 2000, 'x') + fmt::format("\n!tokens {}", tokens.back()))));
  }
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const Heard heard = HearAll(*streams[i]);
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK(heard.end.tokens_decoded >= tokens[i]);
    CHECK(heard.end.input_tokens_evaluated == heard.end.input_tokens);
  }
  replica.reset();
  for (const std::string& fault : watch.faults) {
    UNSCOPED_INFO(fault);
  }
  CHECK(watch.faults.empty());
  CHECK(watch.mixed > 100);
}

TEST_CASE("What ends in the middle of its prompt, late or cancelled, is closed before the next step, beside one that goes on") {
  for (const bool late : {true, false}) {
    INFO((late ? "late" : "cancelled"));
    const ModelOptions model = Model();
    Watch watch;
    std::promise<std::shared_ptr<TokenStream>> told;
    std::future<std::shared_ptr<TokenStream>> ending = told.get_future();
    std::int64_t worked = 0;
    int steps = 0;
    watch.during = [&](std::span<const EngineWork> work) {
      if (!WorksOn(work, 0, false) || !WorksOn(work, 1, true)) return;
      for (const EngineWork& item : work) worked += item.slot == 1 ? item.prompt_tokens : 0;
      if (++steps != 3) return;
      if (late) watch.clock.Advance(std::chrono::hours(2));
      if (!late) ending.get()->Cancel();
    };
    auto replica = Start(model, watch);
    const auto beside = Submit(*replica, Ask(*replica, "!tokens 10000000"));
    while (beside->tokens_decoded() < 1) std::this_thread::yield();
    SequenceRequest request = Ask(*replica, std::string(20'000, 'x') + "\n!say never");
    if (late) request.deadline = watch.clock.Mono() + std::chrono::hours(1);
    const auto stream = Submit(*replica, std::move(request));
    told.set_value(stream);
    const Heard heard = HearAll(*stream);
    CHECK(heard.end.reason == (late ? EndReason::kDeadline : EndReason::kCancelled));
    CHECK(heard.end.status.code() == (late ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kCancelled));
    CHECK(heard.text.empty());
    CHECK(heard.end.tokens_decoded == 0);
    const std::int64_t decoded = beside->tokens_decoded();
    Piece piece;
    while (beside->tokens_decoded() < decoded + 10) static_cast<void>(beside->Take(piece));
    replica.reset();
    CHECK(HearAll(*beside).end.reason == EndReason::kShutdown);
    CHECK(steps == 3);
    CHECK(heard.end.input_tokens_evaluated == worked);
    CHECK(worked < heard.end.input_tokens);
    const auto closed = std::find(watch.events.begin(), watch.events.end(), "close 1");
    REQUIRE(closed != watch.events.end());
    CHECK((closed - 1)->find(" 1:") != std::string::npos);  // The step in which it ended.
    CHECK(std::none_of(closed, watch.events.end(), [](const std::string& event) { return event.find(" 1:") != std::string::npos; }));
    CHECK(watch.faults.empty());
  }
}

TEST_CASE("Beside a tenant with twenty sequences another's first token comes within twice its time alone and two steps, for any prompt") {
  for (const std::size_t tokens : {32, 512, 2000}) {
    const FirstToken alone = VictimAlone(tokens);
    for (const int arrives : {1, 2, 5, 12, 40, 80, 81, 120, 200, 290}) {
      const FirstToken beside = VictimBeside(tokens, arrives);
      INFO(tokens << " tokens, at step " << arrives << ": " << beside.after.count() << " us beside, " << alone.after.count()
                  << " us alone, longest step " << beside.longest_step.count() << " us");
      CHECK(beside.after > alone.after);  // Or there was no load.
      CHECK(beside.after <= 2 * alone.after + 2 * beside.longest_step);
    }
  }
}

TEST_CASE("Of tenants that always have prompts each is given as much of the steps, however many of its prompts are in work") {
  ModelOptions model = Model();
  model.slots = 8;
  Watch watch;
  std::vector<std::pair<SequenceRequest, std::shared_ptr<TokenStream>>> loops;  // Each asks again when it has its one token.
  std::promise<void> done;
  std::map<base::TeamId, std::int64_t> worked;
  auto replica = Start(model, watch);
  for (const int tenant : {1, 1, 2, 2, 2, 3}) {
    SequenceRequest request = AskLong(*replica, tenant, "!tokens 9", tenant == 3 ? 200 : 600);
    request.max_tokens = request.allowance = 1;
    loops.emplace_back(request, nullptr);
  }
  int steps = 0;
  watch.during = [&](std::span<const EngineWork> /*work*/) {
    if (steps == 100) watch.worked.clear();
    if (++steps == 1000) worked = watch.worked, done.set_value();
    if (steps >= 1000) return;
    for (auto& [request, stream] : loops) {
      if (stream == nullptr || stream->tokens_decoded() > 0) stream = *replica->Submit(request);
    }
  };
  SequenceRequest begin = Ask(*replica, "!say hi");
  const auto first = Submit(*replica, begin);
  REQUIRE(done.get_future().wait_for(std::chrono::minutes(3)) == std::future_status::ready);
  replica.reset();
  std::int64_t all = 0;
  for (const int tenant : {1, 2, 3}) all += worked[test::Team(tenant)];
  for (const int tenant : {1, 2, 3}) {
    INFO("tenant " << tenant << ": " << worked[test::Team(tenant)] << " of " << all << " tokens");
    CHECK(static_cast<double>(worked[test::Team(tenant)]) > 0.30 * static_cast<double>(all));
  }
}

TEST_CASE("A prompt of any length about a step's size gives what it gives in one step, and takes as many steps as its chunks") {
  ModelOptions model = test::Scripted(1);
  model.context_tokens = 256;
  model.step_tokens_max = 32;
  model.step_target = std::chrono::seconds(10);  // The longest: no cut for want of time, however busy the machine is.
  const auto pieces = test::MakePool(model);
  model.step_tokens_max = 4096;
  const auto whole = test::MakePool(model);
  HearAll(*test::Submit(*whole, test::Ask(*whole, std::string(160, 'x'))));  // From here on it knows what prompts cost.
  for (std::size_t padding = 0; padding < 920; padding += 4) {
    const std::string text = std::string(padding, 'x') + "\n!say one two\\n";
    SequenceRequest request = test::Ask(*pieces, text);
    const auto length = static_cast<std::int64_t>(request.prompt_tokens.size());
    const auto answer = [&](Pool& pool, std::int64_t steps) {
      const std::int64_t before = pool.stats()[0].steps;
      const Heard heard = HearAll(*test::Submit(pool, request));
      CHECK(heard.end.input_tokens_evaluated == length);
      CHECK(pool.stats()[0].steps - before == steps - 1 + heard.end.tokens_decoded);
      return heard;
    };
    INFO(length << " tokens");
    const Heard cut = answer(*pieces, (length + 31) / 32), uncut = answer(*whole, 1);
    CHECK(cut.text == uncut.text);
    CHECK(cut.end.tokens_decoded == uncut.end.tokens_decoded);
    CHECK(cut.end.reason == EndReason::kStop);
  }
}

TEST_CASE("A prompt at the context's end gets the tokens that are left; one that fills it is refused in numbers") {
  for (const int step : {32, 4096}) {
    ModelOptions model = test::Scripted(1);
    model.context_tokens = 128;
    model.step_tokens_max = step;
    const auto pool = test::MakePool(model);
    for (const std::int64_t length : {125, 126, 127, 128, 129}) {
      SequenceRequest request = test::Ask(*pool, "!tokens 1000\n" + std::string(200, 'x'));
      const std::size_t end = request.prompt_tokens.size() - 7;  // In the text, which what closes the turn follows.
      REQUIRE(request.prompt_tokens.size() < 125);
      request.prompt_tokens.insert(request.prompt_tokens.begin() + static_cast<std::ptrdiff_t>(end),
                                   static_cast<std::size_t>(length) - request.prompt_tokens.size(), request.prompt_tokens[end - 1]);
      auto stream = pool->Submit(request);
      INFO(length << " tokens in steps of " << step);
      if (length >= 128) {
        CHECK(stream.status().code() == absl::StatusCode::kInvalidArgument);
        CHECK(base::Message(stream.status()).find("128") != std::string::npos);
        continue;
      }
      REQUIRE(stream.ok());
      const Heard heard = HearAll(**stream);
      CHECK(heard.end.tokens_decoded == 128 - length);
      CHECK(heard.end.reason == EndReason::kLength);
    }
  }
}

}  // namespace tollgate::inference
