// A replica whose engine throws, runs out of memory or fails: streams end, slots come back, the thread lives.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "inference/engines/script_engine.h"
#include "inference/replica.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using test::Heard;

enum class Fault { kNone, kThrow, kMemory, kThing };

void Raise(Fault fault) {
  if (fault == Fault::kThrow) throw std::runtime_error("as the test told it to");
  if (fault == Fault::kMemory) throw std::bad_alloc();
  if (fault == Fault::kThing) throw 7;
}

// The scripted engine, but for one fault in Open, Step, Rewind, Suspend or Resume.
class FaultyEngine final : public Engine {
 public:
  struct Faults {
    std::atomic<Fault> open{Fault::kNone};
    std::atomic<Fault> step{Fault::kNone};
    std::atomic<Fault> rewind{Fault::kNone};
    std::atomic<Fault> suspend{Fault::kNone};
    std::atomic<Fault> resume{Fault::kNone};
    std::atomic<bool> counting{false};  // Steps that begin are counted,
    std::atomic<int> steps{0};          // those that work on slot 0.
    std::atomic<bool> hold{false};      // A step takes as long as this is set;
    std::atomic<bool> held{false};      // one does.
    std::atomic<int> adapters{0};       // Added and not removed.
    std::atomic<int> grammars{0};       // Read.
    std::set<std::shared_ptr<CheckedGrammar>> opened_with;
  };
  struct ReadBy : CheckedGrammar {
    std::thread::id thread = std::this_thread::get_id();
    std::shared_ptr<CheckedGrammar> Again() const override { return std::make_shared<ReadBy>(); }
  };
  FaultyEngine(const ModelOptions& model, Faults& faults) : inner_(MakeScriptedEngine(model, base::SystemClock())), faults_(faults) {}

  const ModelInfo& Info() const override { return inner_->Info(); }
  std::int64_t step_tokens_max() const override { return inner_->step_tokens_max(); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return inner_->Render(turns); }
  absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view /*gbnf*/) const override {
    ++faults_.grammars;
    return std::make_shared<ReadBy>();
  }
  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    Raise(faults_.open);
    if (!sequence.grammar.empty()) faults_.opened_with.insert(sequence.read);
    return inner_->Open(slot, sequence);
  }
  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    if (faults_.counting && std::any_of(work.begin(), work.end(), [](const EngineWork& item) { return item.slot == 0; })) ++faults_.steps;
    absl::Status status = inner_->Step(work, outputs);
    while (faults_.hold) {
      faults_.held = true;
      std::this_thread::yield();
    }
    Raise(faults_.step);
    return status;
  }
  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    Raise(faults_.rewind);
    return inner_->Rewind(slot, output_tokens, banned);
  }
  absl::StatusOr<std::int64_t> Suspend(int slot, std::int64_t bytes_max) override {
    Raise(faults_.suspend);
    return inner_->Suspend(slot, bytes_max);
  }
  absl::StatusOr<std::int64_t> Resume(int slot) override {
    Raise(faults_.resume);
    return inner_->Resume(slot);
  }
  absl::StatusOr<int> AddAdapter(const AdapterOptions& /*adapter*/) override { return ++faults_.adapters; }
  void RemoveAdapter(int /*handle*/) override { --faults_.adapters; }
  void Close(int slot) override { inner_->Close(slot); }
  void Interrupt() override { inner_->Interrupt(); }

 private:
  std::unique_ptr<Engine> inner_;
  Faults& faults_;
};

SequenceRequest Ask(const Replica& replica, const std::string& text) {
  SequenceRequest request;
  request.model = "script";
  const Turn turn{"user", "", text};
  request.prompt_tokens = *replica.Render(std::span(&turn, 1));
  request.allowance = 1'000'000;
  return request;
}

TEST_CASE("An engine that throws in any call ends its sequences with what was decoded; the replica goes on") {
  struct Row {
    std::atomic<Fault> FaultyEngine::Faults::*where;
    Fault fault;
    absl::StatusCode code;
  };
  using Faults = FaultyEngine::Faults;
  const Row rows[] = {
      {&Faults::open, Fault::kThrow, absl::StatusCode::kInternal},      {&Faults::open, Fault::kMemory, absl::StatusCode::kUnavailable},
      {&Faults::step, Fault::kThrow, absl::StatusCode::kInternal},      {&Faults::step, Fault::kMemory, absl::StatusCode::kUnavailable},
      {&Faults::step, Fault::kThing, absl::StatusCode::kInternal},      {&Faults::rewind, Fault::kThrow, absl::StatusCode::kInternal},
      {&Faults::rewind, Fault::kMemory, absl::StatusCode::kUnavailable}};
  Faults faults;
  const ModelOptions model = test::Scripted(2);
  auto replica = Replica::Start(model, base::SystemClock(), 0,
                                [&]() -> absl::StatusOr<std::unique_ptr<Engine>> { return std::make_unique<FaultyEngine>(model, faults); });
  REQUIRE(replica.ok());
  for (const Row& row : rows) {
    SequenceRequest request = Ask(**replica, "!tokens 1000000");
    request.allowance = 50;
    auto stream = (*replica)->Submit(std::move(request));
    REQUIRE(stream.ok());
    Heard heard;
    if (row.where != &Faults::open) REQUIRE(test::Hear(**stream, heard) == Taken::kParked);
    faults.*row.where = row.fault;
    (*stream)->Rewind(20, {});
    (*stream)->Allow(1'000'000, false);
    Heard broken;
    if (row.where == &Faults::open) {
      (*stream)->Cancel();
      test::Hear(**stream, broken);
      stream = (*replica)->Submit(Ask(**replica, "!tokens 5"));
    }
    broken = HearAll(**stream);
    CHECK(broken.end.reason == EndReason::kEngineFailed);
    CHECK(broken.end.status.code() == row.code);
    CHECK(broken.end.tokens_decoded == (row.where == &Faults::open ? 0 : 50));
    faults.*row.where = Fault::kNone;
    auto next = (*replica)->Submit(Ask(**replica, "it goes on"));
    REQUIRE(next.ok());
    CHECK(HearAll(**next).text == "it goes on");
  }
  CHECK((*replica)->stats().running == 0);
  CHECK((*replica)->stats().failed == static_cast<std::int64_t>(std::size(rows)));
}

TEST_CASE("The replica's thread reads no grammar: each sequence of a group comes with one of its own, read once by who asks") {
  FaultyEngine::Faults faults;
  const ModelOptions model = test::Scripted(2);
  auto replica = Replica::Start(model, base::SystemClock(), 0,
                                [&]() -> absl::StatusOr<std::unique_ptr<Engine>> { return std::make_unique<FaultyEngine>(model, faults); });
  REQUIRE(replica.ok());
  SequenceRequest request = Ask(**replica, "a");
  request.grammar = "root ::= \"a\"";
  const std::uint64_t seeds[] = {1, 2, 3};
  const auto streams = (*replica)->SubmitGroup(request, {}, seeds);
  REQUIRE(streams.ok());
  for (const auto& stream : *streams) CHECK(HearAll(*stream).end.status.ok());
  replica->reset();
  CHECK(faults.grammars == 1);
  CHECK(faults.opened_with.size() == 3);
  for (const auto& read : faults.opened_with) {
    const auto* by = dynamic_cast<const FaultyEngine::ReadBy*>(read.get());
    REQUIRE(by != nullptr);
    CHECK(by->thread == std::this_thread::get_id());
  }
}

TEST_CASE("An engine that fails to take a sequence's cells, or to put it back, ends that one alone") {
  for (const auto where : {&FaultyEngine::Faults::suspend, &FaultyEngine::Faults::resume}) {
    FaultyEngine::Faults faults;
    ModelOptions model = test::Scripted(4);
    model.context_tokens = 200;
    model.kv_tokens = 220;
    auto replica = Replica::Start(model, base::SystemClock(), 0, [&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      return std::make_unique<FaultyEngine>(model, faults);
    });
    REQUIRE(replica.ok());
    faults.*where = Fault::kThrow;
    faults.hold = true;
    const auto first = *(*replica)->Submit(Ask(**replica, "!tokens 120"));
    while (!faults.held) std::this_thread::yield();
    const auto second = *(*replica)->Submit(Ask(**replica, "!tokens 120"));
    faults.hold = false;
    const Heard whole = HearAll(*first), broken = HearAll(*second);
    CHECK(whole.end.status.ok());
    CHECK(whole.end.tokens_decoded == 120);
    CHECK(broken.end.reason == EndReason::kEngineFailed);
    CHECK(broken.end.status.code() == absl::StatusCode::kInternal);
    CHECK(broken.end.tokens_decoded < 120);
    const ReplicaStats stats = (*replica)->stats();
    CHECK(stats.failed == 1);
    CHECK(stats.preemptions == (where == &FaultyEngine::Faults::resume ? 1 : 0));
    CHECK(stats.suspended + stats.suspended_bytes + stats.kv_tokens_used == 0);
  }
}

TEST_CASE("A cancelled sequence is in one more step at most, beside others that go on") {
  FaultyEngine::Faults faults;
  const ModelOptions model = test::Scripted(2);
  auto replica = Replica::Start(model, base::SystemClock(), 0,
                                [&]() -> absl::StatusOr<std::unique_ptr<Engine>> { return std::make_unique<FaultyEngine>(model, faults); });
  REQUIRE(replica.ok());
  for (int round = 0; round < 50; ++round) {
    const auto cancelled = *(*replica)->Submit(Ask(**replica, "!tokens 10000000"));
    const auto other = *(*replica)->Submit(Ask(**replica, "!tokens 10000000"));
    Piece piece;
    while (cancelled->tokens_decoded() < 3 || other->tokens_decoded() < 3) {
      static_cast<void>(cancelled->Take(piece));
      static_cast<void>(other->Take(piece));
    }
    cancelled->Cancel();
    faults.steps = 0;
    faults.counting = true;
    CHECK(HearAll(*cancelled).end.reason == EndReason::kCancelled);
    faults.counting = false;
    CHECK(faults.steps <= 1);
    other->Cancel();
    HearAll(*other);
  }
}

TEST_CASE("An adapter that its loader gave up on does not come in later") {
  FaultyEngine::Faults faults;
  const ModelOptions model = test::Scripted(1);
  auto replica = Replica::Start(model, base::SystemClock(), 0,
                                [&]() -> absl::StatusOr<std::unique_ptr<Engine>> { return std::make_unique<FaultyEngine>(model, faults); });
  REQUIRE(replica.ok());
  faults.hold = true;
  const auto stream = *(*replica)->Submit(Ask(**replica, "!tokens 5"));
  while (!faults.held) std::this_thread::yield();
  const auto add = [&](std::chrono::milliseconds patience) {
    const AdapterOptions adapter{.name = "script:a", .base = "script", .file = "a", .sha256 = {}};
    return (*replica)->AddAdapter(adapter, AdapterInfo{.name = adapter.name}, patience);
  };
  CHECK(absl::IsDeadlineExceeded(add(std::chrono::milliseconds(1))));
  faults.hold = false;
  CHECK(HearAll(*stream).end.status.ok());
  CHECK(add(std::chrono::minutes(1)).ok());  // Behind the other on the thread.
  CHECK(faults.adapters == 1);
  CHECK((*replica)->HasAdapter("script:a"));
}

TEST_CASE("An engine that throws while it is made refuses the start") {
  const auto replica = Replica::Start(test::Scripted(1), base::SystemClock(), 0,
                                      []() -> absl::StatusOr<std::unique_ptr<Engine>> { throw std::bad_alloc(); });
  CHECK(replica.status().code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tollgate::inference
