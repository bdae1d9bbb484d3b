#include "tests/bench/pool_grpc.h"

#include <fmt/format.h>

#include "tests/bench/figures.h"
#include "tests/bench/load.h"
#include "tests/bench/world.h"

namespace tollgate::bench {
namespace {

e2e::InstanceOptions Instance(const std::string& model_file, int slots, int context_tokens) {
  e2e::InstanceOptions options = ScriptedInstance();
  options.model_name = "smollm2";
  options.model_file = model_file;
  options.slots = slots;
  options.context_tokens = context_tokens;
  options.model = {{"prefix_cache_bytes", "0"}};  // The bare loop works through every prompt, so we must.
  return options;
}

}  // namespace

struct PoolGrpc::Impl {
  World world;
};

PoolGrpc::PoolGrpc(const std::string& model_file, int slots, int context_tokens)
    : impl_(new Impl{World(Instance(model_file, slots, context_tokens))}) {}
PoolGrpc::~PoolGrpc() = default;

double PoolGrpc::Run(const std::string& prompt, std::size_t prompt_tokens, int clients, int tokens) {
  const Traffic traffic{.grpc = true,
                        .stream = true,
                        .port = impl_->world.gateway().grpc_port(),
                        .key = impl_->world.key(),
                        .model = "smollm2",
                        .prompts = {prompt},
                        .max_tokens = tokens,
                        .greedy = true};
  const Outcome outcome = RunLoad(traffic, {.clients = clients, .seconds = 600, .requests_max = clients});
  if (outcome.requests != clients || outcome.tokens != static_cast<std::int64_t>(clients) * tokens) {
    Fail(fmt::format("{} clients got {} answers and {} tokens", clients, outcome.requests, outcome.tokens));
  }
  if (outcome.cached_tokens != 0) Fail(fmt::format("{} prompt tokens were found cached", outcome.cached_tokens));
  if (outcome.prompt_tokens != static_cast<std::int64_t>(prompt_tokens) * clients) {
    Fail(fmt::format("{} clients were said to have sent {} tokens, not {} each", clients, outcome.prompt_tokens, prompt_tokens));
  }
  return outcome.ms.back() / 1000;
}

}  // namespace tollgate::bench
