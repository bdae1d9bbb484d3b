// The share of a step that prompts get, against a machine of known costs.
#include <tuple>

#include <catch2/catch_test_macros.hpp>

#include "inference/step_budget.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;

// A machine: what a decoding sequence and a prompt token cost, and what a step costs beside.
struct Machine {
  double decode_us;
  double prompt_us;
  double step_us;
  double pass_us = 0;  // What any prompt tokens cost, however few.

  double Step(StepBudget& budget, std::int64_t prompt_tokens, std::int64_t decoding) const {
    const double us = step_us + decode_us * static_cast<double>(decoding) + prompt_us * static_cast<double>(prompt_tokens) +
                      (prompt_tokens > 0 ? pass_us : 0);
    budget.Ran(prompt_tokens, decoding, microseconds(static_cast<std::int64_t>(us)));
    return us;
  }
};

const Machine kMachines[] = {{2000, 6000, 10'000}, {300, 20, 4000}, {5000, 1500, 30'000}, {100, 400, 500}};

TEST_CASE("Beside decoding sequences a step takes the target, or twice the decoding alone, whatever the machine") {
  for (const Machine& machine : kMachines) {
    for (const std::int64_t decoding : {1, 4, 15}) {
      StepBudget budget(512, microseconds(100'000));
      double decode_only = 0;
      for (int step = 0; step < 20; ++step) decode_only = machine.Step(budget, 0, decoding);
      double us = 0;
      std::int64_t tokens = 0;
      for (int step = 0; step < 60; ++step) {
        tokens = budget.PromptTokens(decoding);
        us = machine.Step(budget, tokens, decoding);
      }
      INFO(machine.prompt_us << " us a prompt token, " << decoding << " decoding: " << tokens << " tokens, " << us << " us");
      CHECK(us <= 1.15 * std::max({100'000.0, 2 * decode_only, decode_only + StepBudget::kLeast * machine.prompt_us}));
      CHECK(tokens >= StepBudget::kLeast);
      // At least a third of the step is the prompt's, or a chunk worth computing, or all that a step may hold.
      CHECK((static_cast<double>(tokens) * machine.prompt_us >= 0.3 * us || tokens >= 40 || tokens == 512 - decoding));
    }
  }
}

TEST_CASE("The more prompts outnumber the answers, the longer a step may be, up to four times the target") {
  const Machine machine{1000, 1500, 10'000};
  StepBudget budget(4096, microseconds(100'000));
  for (const std::int64_t decoding : {1, 4, 15}) {
    for (int step = 0; step < 20; ++step) machine.Step(budget, 0, decoding);
  }
  for (const std::int64_t decoding : {1, 4, 15}) {
    for (int step = 0; step < 60; ++step) machine.Step(budget, budget.PromptTokens(decoding), decoding);
    const auto one = budget.PromptTokens(decoding, 1), as_many = budget.PromptTokens(decoding, decoding + 1),
               crowd = budget.PromptTokens(decoding, 1000);
    CHECK(static_cast<double>(one) * machine.prompt_us <= 100'000);
    CHECK(as_many > one);
    CHECK(crowd > as_many);
    CHECK(static_cast<double>(crowd) * machine.prompt_us <= 400'000);
  }
}

TEST_CASE("Where the time of the decoding holds a chunk worth computing, as on a GPU, a step is never more than twice as long") {
  for (const Machine& gpu : {Machine{100, 10, 4000}, Machine{200, 5, 7500}}) {
    StepBudget budget(512, microseconds(100'000), true);
    double decode_only = 0;
    for (int step = 0; step < 20; ++step) decode_only = gpu.Step(budget, 0, 15);
    for (int step = 0; step < 60; ++step) {
      const std::int64_t tokens = budget.PromptTokens(15);
      const double us = gpu.Step(budget, tokens, 15);
      if (step > 20) CHECK(us <= 2 * decode_only);
      if (step > 20) CHECK(tokens >= StepBudget::kDeviceChunk);
    }
  }
}

TEST_CASE("Where it costs much on a GPU to begin with a piece, pieces are of 256 tokens, or what the target has room for") {
  for (const auto& [target, least, most] : {std::tuple(100'000, 256, 256), std::tuple(8'000, 4, 60)}) {
    const Machine gpu{100, 15, 2000, 4300};
    StepBudget budget(512, microseconds(target), true);
    for (int step = 0; step < 20; ++step) gpu.Step(budget, 0, 15);
    for (int step = 0; step < 60; ++step) gpu.Step(budget, budget.PromptTokens(15), 15);
    CHECK(budget.PromptTokens(15) >= least);
    CHECK(budget.PromptTokens(15) <= most);
  }
}

TEST_CASE("With nobody to disturb a prompt may take four times the target") {
  const Machine machine{2000, 1000, 1000};
  StepBudget budget(512, microseconds(50'000));
  CHECK(budget.PromptTokens(0) <= 64);  // Before anything is known.
  for (int step = 0; step < 60; ++step) machine.Step(budget, budget.PromptTokens(0), 0);
  CHECK(budget.PromptTokens(0) > 150);
  CHECK(budget.PromptTokens(0) <= 200);
}

TEST_CASE("A step never holds more tokens than it may, and always some of a prompt") {
  StepBudget budget(64, microseconds(1));
  const Machine machine{1e6, 1e6, 1e6};
  for (int step = 0; step < 20; ++step) {
    CHECK(budget.PromptTokens(60) <= 4);
    CHECK(budget.PromptTokens(64) == 0);
    CHECK(budget.PromptTokens(2) >= StepBudget::kLeast);
    machine.Step(budget, budget.PromptTokens(2), 2);
  }
}

}  // namespace
}  // namespace tollgate::inference
