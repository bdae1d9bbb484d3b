// The numbers that /metrics gives for a pool whose situation is known to the token.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "gateway/serve/metrics.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

using namespace tollgate;
using inference::ReplicaStats;
using inference::test::HearAll;

namespace {

// A sample's value now; -1: there is none.
double Value(const inference::Pool& pool, const std::string& sample) {
  serve::Measurements now;
  now.replicas = pool.stats();
  const std::string text = "\n" + serve::MetricsText(now);
  const std::size_t at = text.find("\n" + sample + " ");
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + sample.size() + 2, nullptr);
}
double OfModel(const inference::Pool& pool, const std::string& metric, const std::string& model = "script") {
  return Value(pool, fmt::format("tollgate_pool_{}{{model=\"{}\"}}", metric, model));
}

std::unique_ptr<inference::Pool> MakePool(const inference::ModelOptions& first, const inference::ModelOptions& second,
                                          const base::Clock& clock) {
  inference::PoolOptions options;
  options.models = {first, second};
  options.clock = &clock;
  options.replica_nice = 0;
  auto pool = inference::Pool::Create(std::move(options));
  INFO(base::Message(pool.status()));
  REQUIRE(pool.ok());
  return *std::move(pool);
}

inference::ModelOptions Script() {
  inference::ModelOptions script = inference::test::Scripted(2);
  script.context_tokens = 1000;
  script.queue_sequences_max = 2;
  return script;
}

}  // namespace

TEST_CASE("What jobs have worked through, and what lies on other servers, is in no context here: its use stays between 0 and 1") {
  base::ManualClock clock;
  inference::ModelOptions vectors = Script(), chats = Script();
  vectors.name = "vectors";
  vectors.pooling = inference::Pooling::kMean;
  vectors.queue_timeout = std::chrono::hours(1);
  const auto pool = MakePool(vectors, chats, clock);
  const std::string alone(900, 'x');  // None fits beside it in a step. It is some 300 tokens; each model has slots for 2,000.
  std::vector<std::string> texts(100, alone);
  texts.resize(120, "!pace_ms 60000 " + alone);
  const auto job = inference::test::Embed(*pool, texts);
  inference::test::Until(*pool, [&](const ReplicaStats& s) {
    clock.Advance(std::chrono::milliseconds(100));
    return s.prompt_tokens > 10'000 && s.running == 1;
  });
  CHECK(OfModel(*pool, "kv_tokens", "vectors") == 0);
  CHECK(OfModel(*pool, "kv_tokens_max", "vectors") == 0);
  CHECK(OfModel(*pool, "kv_tokens_max", "script") == 2000);
  CHECK(Value(*pool, "vllm:kv_cache_usage_perc") == 0);
  job->Cancel();
}

TEST_CASE("What runs, waits, is in context and was worked through is told to the token, by model and for endpoint pickers") {
  base::ManualClock clock;
  const test::TempDir folder;
  const auto pool = MakePool(Script(), inference::test::TinyModel("llama").WriteTo(folder, 2, 512), clock);
  const auto speaks = inference::test::Ask(*pool, "!say one two three\n!hang"), hangs = inference::test::Ask(*pool, "!hang"),
             waits = inference::test::Ask(*pool, "later");
  auto of_another = waits;  // One team alone may not fill the queue.
  of_another.tenant = inference::test::Team(2);
  const auto prompts = static_cast<std::int64_t>(speaks.prompt_tokens.size() + hangs.prompt_tokens.size());
  CHECK(OfModel(*pool, "running") == 0);
  CHECK(Value(*pool, "vllm:kv_cache_usage_perc") == 0);
  const auto first = inference::test::Submit(*pool, speaks), second = inference::test::Submit(*pool, hangs);
  inference::test::Until(*pool, [&](const ReplicaStats& s) { return s.prompt_tokens == prompts && s.output_tokens == 3; });
  const auto third = inference::test::Submit(*pool, waits), fourth = inference::test::Submit(*pool, of_another);
  inference::test::Until(*pool, [](const ReplicaStats& s) { return s.waiting == 2; });
  CHECK(pool->Submit(waits).status().code() == absl::StatusCode::kResourceExhausted);

  struct Row {
    const char* metric;
    std::int64_t value;
  };
  const auto check = [&](std::initializer_list<Row> rows) {
    for (const Row& row : rows) {
      INFO(row.metric);
      CHECK(OfModel(*pool, row.metric) == static_cast<double>(row.value));
    }
  };
  check({{"slots", 2},
         {"running", 2},
         {"parked", 0},
         {"waiting", 2},
         {"kv_tokens", prompts + 3},
         {"kv_tokens_max", 2000},
         {"prompt_tokens_total", prompts},
         {"output_tokens_total", 3},
         {"cached_tokens_total", 0},
         {"prefix_hits_total", 0},
         {"opened_total", 2},
         {"sequences_total", 0},
         {"refused_total", 1},
         {"failed_total", 0},
         {"queue_wait_seconds_count", 2},
         {"first_token_seconds_count", 1},
         {"inter_token_seconds_count", 2}});
  CHECK(Value(*pool, "vllm:num_requests_running") == 2);
  CHECK(Value(*pool, "vllm:num_requests_waiting") == 2);
  CHECK(Value(*pool, "vllm:kv_cache_usage_perc") == Catch::Approx(static_cast<double>(prompts + 3) / (2000 + 2 * 512)));

  clock.Advance(std::chrono::seconds(4));
  first->Cancel();
  second->Cancel();
  for (const auto& stream : {first, second, third, fourth}) HearAll(*stream);
  HearAll(*inference::test::Submit(*pool, inference::test::Ask(*pool, "!fail")));
  const auto more = static_cast<std::int64_t>(2 * waits.prompt_tokens.size() + inference::test::Ask(*pool, "!fail").prompt_tokens.size());
  check({{"running", 0},
         {"waiting", 0},
         {"kv_tokens", 0},
         {"prompt_tokens_total", prompts + more},
         {"output_tokens_total", 5},
         {"opened_total", 5},
         {"sequences_total", 5},
         {"failed_total", 1},
         {"queue_wait_seconds_count", 5},
         {"first_token_seconds_count", 3}});
  CHECK(OfModel(*pool, "queue_wait_seconds_sum") == 8);  // Two waited for four.
  CHECK(Value(*pool, "vllm:num_requests_running") == 0);
  CHECK(Value(*pool, "vllm:num_requests_waiting") == 0);
  CHECK(Value(*pool, "vllm:kv_cache_usage_perc") == 0);
}

TEST_CASE("Prefix hits and the tokens that they saved are told by model, a tenant's own alone") {
  base::ManualClock clock;
  const test::TempDir folder;
  const auto pool = MakePool(Script(), inference::test::TinyModel("llama").WriteTo(folder, 2, 512), clock);
  const auto of = [&](const char* metric) { return static_cast<std::int64_t>(OfModel(*pool, metric, "llama")); };
  const std::int64_t prompts = of("prompt_tokens_total"), opened = of("opened_total");  // Of the token that Load puts through.
  CHECK(of("prefix_hits_total") == 0);
  CHECK(of("prefix_cache_bytes") == 0);
  for (const int tenant : {1, 2, 1}) {
    inference::SequenceRequest request;
    request.model = "llama";
    request.tenant = inference::test::Team(tenant);
    for (int i = 0; i < 200; ++i) request.prompt_tokens.push_back(5 + i * 7 % 250);
    request.max_tokens = request.allowance = 4;
    HearAll(*inference::test::Submit(*pool, std::move(request)));
  }
  CHECK(of("opened_total") - opened == 3);
  CHECK(of("prefix_hits_total") == 1);
  CHECK(of("cached_tokens_total") == 199);
  CHECK(of("prompt_tokens_total") - prompts == 200 + 200 + 1);
  CHECK(of("prefix_cache_bytes") > 0);
  CHECK(OfModel(*pool, "prefix_hits_total") == 0);  // The other model's.
}
