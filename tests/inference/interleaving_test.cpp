// Conversations side by side on one engine, in random order, cut short, rewound, taken up again from kept prefixes: none ever shows in
// another. With tiny F32 models and the same tokens forced, each step's log-probabilities are those of the conversation alone within 1e-4.
// (llama-server's #27148 and #27422: an idle slot gave back another conversation's state.) And so with LoRA adapters, where conversations
// of one tenant begin with the same words under different sets of them; and where all share cells, of which there are too few, so that
// each is suspended again and again, with its state kept or worked through again.
//
// TOLLGATE_LOOPS set (as `make soak` does): 10,000 interleavings instead of 1,000.
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include <fmt/format.h>

#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::kTinyVocab;
using test::Team;
using test::TinyModel;

// A GPU multiplies in TF32 or in whole floats depending on how many rows come together, so that batching moves the third digit there, of
// logits of some hundreds with these adapters; and in one step of very many sends a token to another expert, whose sum is another.
constexpr double kGpuToleranceNats = 0.1;
constexpr double kGpuAdaptersNats = 3;
constexpr std::int64_t kGpuFlipsIn = 200;  // Steps.

using Logprobs = std::vector<float>;  // By token.
using Tokens = std::vector<std::int32_t>;

std::unique_ptr<Engine> MakeEngine(const ModelOptions& model) {
  auto engine = MakeLlamaEngine(model, "");
  INFO(engine.status().ToString());
  REQUIRE(engine.ok());
  return *std::move(engine);
}

SamplingParams Greedy() {
  SamplingParams params;
  params.temperature = 0;
  return params;
}

using Adapters = std::vector<int>;  // Handles.

std::int64_t OpenAll(Engine& engine, int slot, const Tokens& prompt, const base::TeamId& tenant, const Adapters& adapters) {
  const auto opened =
      engine.Open(slot, {.prompt_tokens = prompt, .sampling = Greedy(), .tenant = tenant, .logprobs = kTinyVocab, .adapters = adapters});
  REQUIRE(opened.ok());
  return opened->cached_tokens;
}

// Makes the slot's next token `forced`, by forbidding all others.
void Force(Engine& engine, int slot, std::size_t outputs, std::int32_t forced) {
  Tokens banned;
  for (std::int32_t token = 0; token < kTinyVocab; ++token) {
    if (token != forced) banned.push_back(token);
  }
  REQUIRE(engine.Rewind(slot, static_cast<std::int64_t>(outputs), banned).ok());
}

Logprobs ByToken(const EngineOutput& output) {
  REQUIRE(output.status.ok());
  REQUIRE(output.top.size() == static_cast<std::size_t>(kTinyVocab));
  Logprobs all(kTinyVocab);
  for (const EngineAlternative& other : output.top) all[static_cast<std::size_t>(other.token)] = other.logprob;
  return all;
}

// The conversation alone, from nothing, in one go.
std::vector<Logprobs> Alone(Engine& engine, const Tokens& prompt, const Tokens& forced, const Adapters& adapters) {
  std::vector<Logprobs> steps;
  OpenAll(engine, 0, prompt, Team(99), adapters);
  for (std::size_t i = 0; i < forced.size(); ++i) {
    Force(engine, 0, i, forced[i]);
    std::vector<EngineOutput> outputs;
    const EngineWork work{0, i == 0 ? static_cast<std::int64_t>(prompt.size()) : 0};
    REQUIRE(engine.Step(std::span(&work, 1), outputs).ok());
    steps.push_back(ByToken(outputs.at(0)));
  }
  engine.Close(0);
  return steps;
}

double Distance(const Logprobs& a, const Logprobs& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, static_cast<double>(std::abs(a[i] - b[i])));
  return most;
}

struct Conversation {
  int tenant = 0;
  Adapters adapters;
  Tokens history;  // What was said so far.
};

// One turn of a conversation, in a slot.
struct Turning {
  Conversation* conversation = nullptr;
  Tokens prompt;
  Tokens forced;
  std::vector<Logprobs> alone;
  std::int64_t prompt_left = 0;
  std::int64_t redo_left = 0;
  bool suspended = false;
  std::int64_t Cells() const { return static_cast<std::int64_t>(prompt.size() + forced.size()); }  // At most.
  std::size_t given = 0;
};

class Interleaving {
 public:
  // `sets`: which adapters conversations have, in turn; of adapters 1 and 2. `cells`: that they share; 0: none.
  Interleaving(const std::string& architecture, std::uint64_t seed, const std::vector<Adapters>& sets, std::int64_t cells)
      : random_(seed), cells_(cells) {
    const TinyModel model(architecture);
    ModelOptions options = model.WriteTo(folder_, kSlots, 1024);
    options.in_own_process = true;  // Else a GPU takes no adapter of a model with experts.
    options.prefix_cache_bytes = 8 << 20;
    options.kv = KvType::kF32;  // 16 bits would make 1e-3 of a difference in the last bit.
    options.kv_tokens = cells;
    engine_ = MakeEngine(options);
    options.slots = 1;
    options.kv_tokens = 0;
    options.prefix_cache_bytes = 0;
    alone_ = MakeEngine(options);
    for (const int handle : {1, 2}) {
      const std::string bytes = test::TinyAdapter{.seed = static_cast<std::uint64_t>(handle), .only = {}}.For(model.Bytes());
      const AdapterOptions adapter = test::WriteAdapter(folder_, bytes, options.name, std::to_string(handle), 0.5 * handle);
      for (Engine* engine : {engine_.get(), alone_.get()}) {
        const auto checked = engine->CheckAdapter(adapter, INT64_MAX);
        INFO(checked.status().ToString());
        REQUIRE(checked.ok());
        REQUIRE(*engine->AddAdapter(adapter) == handle);
      }
    }
    for (int c = 0; c < 10; ++c) {  // Five tenants, two conversations each, which all begin with the same system prompt.
      Conversation& conversation = conversations_.emplace_back();
      conversation.tenant = 1 + c / 2;
      conversation.adapters = sets[static_cast<std::size_t>(c) % sets.size()];
      for (int i = 0; i < 70; ++i) conversation.history.push_back(10 + i);
    }
  }

  // Opens, steps, rewinds and closes in random order until `turns` turns were taken.
  void Run(int turns) {
    while (opened_ < turns || !turning_.empty()) {
      if (opened_ < turns && turning_.size() < kSlots && random_() % 3 == 0) Open();
      Step();
      Close();
    }
  }

  double distance = 0;       // The greatest between a step here and alone.
  std::int64_t cached = 0;   // Prompt tokens that were saved,
  std::int64_t foreign = 0;  // and of those, beyond what the tenant's own sequences with these adapters had begun with.
  std::int64_t compared = 0;
  std::int64_t beyond = 0;  // Of those compared, what lies further apart than sums on a GPU may.
  std::int64_t suspensions = 0;
  std::int64_t redone = 0;

 private:
  static constexpr std::size_t kSlots = 4;
  static constexpr std::int64_t kChunk = 128;  // Of a prompt, at most: all slots' within a step.

  void Open() {
    int slot = 0;
    while (turning_.contains(slot)) ++slot;
    Conversation& conversation = conversations_[random_() % conversations_.size()];
    for (const auto& [other, turn] : turning_) {
      if (turn.conversation == &conversation) return;
    }
    if (conversation.history.size() > 400) conversation.history.resize(70);  // Starts anew.
    Turning turn{.conversation = &conversation, .prompt = conversation.history};
    for (std::uint64_t n = 1 + random_() % 60; n > 0; --n) turn.prompt.push_back(Canary(conversation));
    for (std::uint64_t n = 1 + random_() % 5; n > 0; --n) turn.forced.push_back(Canary(conversation));
    if (!MakeRoom(turn.Cells())) return;
    turn.alone = Alone(*alone_, turn.prompt, turn.forced, conversation.adapters);
    const std::int64_t saved = OpenAll(*engine_, slot, turn.prompt, Team(conversation.tenant), conversation.adapters);
    cached += saved;
    foreign += std::max<std::int64_t>(saved - OwnPrefix(conversation, turn.prompt), 0);
    turn.prompt_left = static_cast<std::int64_t>(turn.prompt.size()) - saved;
    turning_.emplace(slot, std::move(turn));
    ++opened_;
  }

  // Tokens of this conversation's own: none stands in another's.
  std::int32_t Canary(const Conversation& conversation) {
    const auto index = static_cast<std::int32_t>(&conversation - conversations_.data());
    return 100 + index * 25 + static_cast<std::int32_t>(random_() % 25);
  }

  // How far the prompt is that of anything that its tenant has closed with the same adapters: no more can have been kept for it.
  std::int64_t OwnPrefix(const Conversation& conversation, const Tokens& prompt) {
    const std::set<Tokens>& closed = closed_[{conversation.tenant, conversation.adapters}];
    const auto agree = [&prompt](const Tokens& other) {
      return std::mismatch(prompt.begin(), prompt.end(), other.begin(), other.end()).first - prompt.begin();
    };
    const auto next = closed.lower_bound(prompt);  // In their order the likest stand beside it.
    const std::int64_t behind = next == closed.end() ? 0 : agree(*next);
    return std::max<std::int64_t>(behind, next == closed.begin() ? 0 : agree(*std::prev(next)));
  }

  // Suspends others, at random, until so many cells are free.
  bool MakeRoom(std::int64_t cells) {
    if (cells_ == 0) return true;
    for (;;) {
      std::int64_t held = 0;
      std::vector<int> holders;
      for (const auto& [slot, turn] : turning_) {
        if (!turn.suspended) held += turn.Cells(), holders.push_back(slot);
      }
      if (held + cells <= cells_) return true;
      if (holders.empty()) return false;
      Suspend(holders[random_() % holders.size()]);
    }
  }

  void Suspend(int slot) {
    REQUIRE(engine_->Suspend(slot, random_() % 3 == 0 ? 0 : INT64_MAX).ok());
    turning_.at(slot).suspended = true;
    ++suspensions;
  }

  // Whether the slot has its cells, now.
  bool IsHere(int slot, Turning& turn) {
    if (cells_ == 0) return true;
    if (!turn.suspended && random_() % 6 == 0) Suspend(slot);
    if (!turn.suspended) return true;
    if (random_() % 3 != 0 || !MakeRoom(turn.Cells())) return false;
    const auto redo = engine_->Resume(slot);
    REQUIRE(redo.ok());
    turn.redo_left += *redo;
    redone += *redo;
    turn.suspended = false;
    return true;
  }

  void GoBack(Turning& turn) {
    const std::size_t to = random_() % turn.given;
    turn.redo_left = std::max<std::int64_t>(turn.redo_left - static_cast<std::int64_t>(turn.given - to), 0);
    turn.given = to;
  }

  void Step() {
    if (turning_.empty()) return;
    std::vector<EngineWork> work;
    const Adapters with =
        std::next(turning_.begin(), static_cast<std::ptrdiff_t>(random_() % turning_.size()))->second.conversation->adapters;
    for (auto& [slot, turn] : turning_) {
      if (turn.conversation->adapters != with) continue;                     // A step computes with one set.
      if (random_() % 4 == 0 || turn.given == turn.forced.size()) continue;  // Rests.
      if (turn.given > 0 && random_() % 8 == 0) GoBack(turn);
      Force(*engine_, slot, turn.given, turn.forced[turn.given]);
      if (!IsHere(slot, turn)) continue;
      const std::int64_t left = std::min<std::int64_t>(turn.redo_left > 0 ? turn.redo_left : turn.prompt_left, kChunk);
      work.push_back({slot, left == 0 ? 0 : 1 + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(left))});
    }
    std::erase_if(work, [&](const EngineWork& item) { return turning_.at(item.slot).suspended; });  // Another needed its cells.
    if (work.empty()) return;
    std::vector<EngineOutput> outputs;
    const absl::Status status = engine_->Step(work, outputs);
    INFO(status.ToString());
    REQUIRE(status.ok());
    for (const EngineWork& item : work) {
      Turning& turn = turning_.at(item.slot);
      (turn.redo_left > 0 ? turn.redo_left : turn.prompt_left) -= item.prompt_tokens;
    }
    for (const EngineOutput& output : outputs) {
      Turning& turn = turning_.at(output.slot);
      REQUIRE(output.token == turn.forced[turn.given]);
      const double apart = Distance(ByToken(output), turn.alone[turn.given]);
      distance = std::max(distance, apart);
      beyond += apart > kGpuToleranceNats ? 1 : 0;
      ++turn.given;
      ++compared;
    }
  }

  void Close() {
    for (auto it = turning_.begin(); it != turning_.end();) {
      const bool whole = it->second.given == it->second.forced.size();
      if (!whole && random_() % 30 != 0) {  // Some are cut short.
        ++it;
        continue;
      }
      engine_->Close(it->first);
      const Turning& turn = it->second;
      Conversation& conversation = *turn.conversation;
      Tokens said = turn.prompt;
      said.insert(said.end(), turn.forced.begin(), turn.forced.begin() + static_cast<std::ptrdiff_t>(turn.given));
      conversation.history = whole ? said : turn.prompt;
      closed_[{conversation.tenant, conversation.adapters}].insert(std::move(said));
      it = turning_.erase(it);
    }
  }

  std::mt19937_64 random_;
  const std::int64_t cells_;
  tollgate::test::TempDir folder_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Engine> alone_;
  std::vector<Conversation> conversations_;
  std::map<int, Turning> turning_;
  std::map<std::pair<int, Adapters>, std::set<Tokens>> closed_;  // What was in a slot to the end, by tenant and adapters.
  int opened_ = 0;
};

void Check(const std::string& architecture, const std::vector<Adapters>& sets = {{}}, std::int64_t cells = 0) {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  Interleaving interleaving(architecture, seed, sets, cells);
  interleaving.Run(std::getenv("TOLLGATE_LOOPS") != nullptr ? 10'000 : 1'000);
  if (test::OnGpu()) {
    fmt::print("gpu.{}.interleaving_distance {:.6f} nats\n", architecture, interleaving.distance);
    fmt::print("gpu.{}.interleaving_beyond {} of {}\n", architecture, interleaving.beyond, interleaving.compared);
    if (sets.size() > 1) {
      CHECK(interleaving.distance <= kGpuAdaptersNats);
    } else if (architecture == "deepseek2") {
      CHECK(interleaving.beyond * kGpuFlipsIn <= interleaving.compared);
    } else {
      CHECK(interleaving.distance <= kGpuToleranceNats);
    }
  } else {
    // These adapters make logits of some hundreds, whose last bit is 1.5e-5; another's adapter would show as whole units.
    CHECK(interleaving.distance <= (sets.size() > 1 ? 1e-3 : 1e-4));
  }
  CHECK(interleaving.compared > 1000);
  CHECK(interleaving.cached > 10'000);
  CHECK(interleaving.foreign == 0);
  CHECK((interleaving.suspensions > 300) == (cells > 0));
  CHECK((interleaving.redone > 5000) == (cells > 0));
}

TEST_CASE("Interleaved conversations of a llama are what they are alone") { Check("llama"); }
TEST_CASE("Interleaved conversations of a deepseek2 are what they are alone") { Check("deepseek2"); }

TEST_CASE("Interleaved conversations that share too few cells are what they are alone, however often they are suspended") {
  Check("llama", {{}}, 1040);
  Check("deepseek2", {{}}, 1040);
  Check("llama", {{}, {1}, {1, 2}}, 1040);
}

TEST_CASE("Interleaved conversations with different adapters are what they are alone") {
  Check("llama", {{}, {1}, {1, 2}});
  Check("deepseek2", {{2}, {}, {1}});
}

}  // namespace
}  // namespace tollgate::inference
