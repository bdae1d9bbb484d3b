// A model's process that hangs, babbles, lies, dies while it loads or dies again and again.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <signal.h>

#include "base/error_detail.h"
#include "tests/inference/worker_support.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using test::AskModel;
using test::CheckLost;
using test::HearAll;
using test::Heard;
using test::Processes;
using test::ProcessOf;
using test::ProcessOptions;
using test::ProcessPool;
using test::Submit;

TEST_CASE("A process whose engine hangs in a step, or that is frozen, is killed and started again") {
  PoolOptions options = ProcessOptions({"x/hangs", "other"});
  options.worker.hung_after = milliseconds(300);
  const auto pool = ProcessPool(std::move(options));
  const auto other = Submit(*pool, AskModel(*pool, "other", "!pace_ms 1\n!tokens 200"));
  const Heard heard = HearAll(*Submit(*pool, AskModel(*pool, "x/hangs", "!tokens 1000")));
  CheckLost(heard);
  CHECK(heard.end.tokens_decoded > 0);
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.ready; });
  CHECK(HearAll(*other).end.tokens_decoded == 200);
  CHECK(pool->stats()[1].engine_restarts == 0);
}

TEST_CASE("A frozen process is noticed by its silence, while it works and while it has nothing to do") {
  PoolOptions options = ProcessOptions({"script"});
  options.worker.silent_max = milliseconds(500);
  const auto pool = ProcessPool(std::move(options));
  const auto stream = Submit(*pool, AskModel(*pool, "script", "!pace_ms 1\n!tokens 100000"));
  test::Until(*pool, [](const ReplicaStats& s) { return s.output_tokens >= 5; });
  ::kill(ProcessOf("script"), SIGSTOP);
  CheckLost(HearAll(*stream));
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.ready; });
  ::kill(ProcessOf("script"), SIGSTOP);
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 2 && s.ready; });
  CHECK(test::Answer(*pool, "hello") == "hello");
}

TEST_CASE("A process that answers what is no answer is killed; nothing of it reaches a stream") {
  const std::string fault = GENERATE("babbles", "slot", "token", "bytes", "counts", "twice");
  INFO(fault);
  const auto pool = ProcessPool({"x/" + fault, "other"});
  const Heard heard = HearAll(*Submit(*pool, AskModel(*pool, "x/" + fault, "!tokens 1000")));
  CheckLost(heard);
  CHECK(heard.text.size() == 5 * static_cast<std::size_t>(heard.end.tokens_decoded));
  CHECK(heard.end.tokens_decoded < 10);
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.ready; });
  CHECK(test::Answer(*pool, "hello", "other") == "hello");
}

TEST_CASE("An engine that throws in its process fails the step, and keeps the process") {
  const auto pool = ProcessPool({"x/throws"});
  const Heard heard = HearAll(*Submit(*pool, AskModel(*pool, "x/throws", "!tokens 1000")));
  CHECK(heard.end.reason == EndReason::kEngineFailed);
  CHECK(base::Message(heard.end.status).find("ran out of memory") != std::string::npos);
  CHECK(HearAll(*Submit(*pool, AskModel(*pool, "x/throws", "hello"))).text == "hello");
  CHECK(pool->stats()[0].engine_restarts == 0);
}

TEST_CASE("A process that dies, hangs, babbles, throws or closes its socket while it loads is a refusal that says so") {
  struct Row {
    const char* fault;
    absl::StatusCode code;
    const char* words;
  };
  const auto row = GENERATE(Row{"load-aborts", absl::StatusCode::kUnavailable, "ended by signal 6"},
                            Row{"load-hangs", absl::StatusCode::kUnavailable, "did not end a call within 500 ms"},
                            Row{"load-closes", absl::StatusCode::kUnavailable, "ended by signal 9"},
                            Row{"load-babbles", absl::StatusCode::kUnavailable, "what came is no message"},
                            Row{"load-throws", absl::StatusCode::kUnavailable, "the engine ran out of memory"},
                            Row{"load-full", absl::StatusCode::kResourceExhausted, "it needs 17 GB and 5 GB are left"});
  const std::string name = std::string("x/") + row.fault;
  PoolOptions options = ProcessOptions({});
  if (std::string(row.fault) == "load-hangs") options.worker.load_max = milliseconds(500);
  const auto pool = ProcessPool(std::move(options));
  ModelOptions model = test::Scripted();
  model.name = name;
  const absl::Status refused = pool->Load(model);
  INFO(refused.ToString());
  CHECK(refused.code() == row.code);
  CHECK(base::Message(refused).find("model " + name + ": ") == 0);
  CHECK(base::Message(refused).find(row.words) != std::string::npos);
  CHECK(Processes(name).empty());
  if (std::string(row.fault) == "load-full") {
    const auto detail = base::DetailOf(refused);
    REQUIRE(detail.has_value());
    CHECK(detail->reason == "MODEL_DOES_NOT_FIT");
    CHECK(detail->param == "slots");
    CHECK_FALSE(detail->may_retry);
    CHECK(detail->retry_after_ms == 1234);
  }
}

TEST_CASE("A model that cannot be loaded is refused as on a thread; a program that is none, or no worker, is told") {
  auto pool = ProcessPool();
  ModelOptions model;
  model.name = "missing";
  model.file = "/nonexistent/model.gguf";
  model.sha256 = base::Digest{};
  const absl::Status checked = pool->Check(model);
  INFO(checked.ToString());
  CHECK(checked.code() == absl::StatusCode::kNotFound);
  CHECK(base::Message(checked).find("model missing: ") == 0);
  CHECK(Processes("missing").empty());
  for (const char* program : {"/bin/false", "/nonexistent/program"}) {
    PoolOptions options = ProcessOptions({"script"});
    options.worker.program = program;
    const auto none = Pool::Create(std::move(options));
    INFO(none.status().ToString());
    CHECK(none.status().code() == absl::StatusCode::kUnavailable);
  }
}

TEST_CASE("A process that comes back as another build serves nobody: records would name the first one") {
  PoolOptions options = ProcessOptions({"x/rebuilt", "other"});
  options.worker.restart_first = milliseconds(1);
  options.worker.rest = std::chrono::hours(1);
  const auto pool = ProcessPool(std::move(options));
  CHECK(test::Answer(*pool, "hello", "x/rebuilt") == "hello");
  ::kill(ProcessOf("x/rebuilt"), SIGKILL);
  absl::Status refused;
  do {
    refused = pool->Submit(AskModel(*pool, "x/rebuilt", "hello")).status();
  } while (base::Message(refused).find("in a row") == std::string::npos);
  CHECK(pool->stats()[0].engine_restarts == 4);
  CHECK(Processes("x/rebuilt").empty());
  CHECK(test::Answer(*pool, "hello", "other") == "hello");
}

TEST_CASE("After five ends in a row the process rests, new requests are told how long, and the other model serves") {
  PoolOptions options = ProcessOptions({"script", "other"});
  options.worker.restart_first = milliseconds(1);
  options.worker.rest = std::chrono::hours(1);
  const auto pool = ProcessPool(std::move(options));
  for (int round = 0; round < 5; ++round) {
    test::Until(*pool, [round](const ReplicaStats& s) { return s.engine_restarts == round && s.ready; });
    ::kill(ProcessOf("script"), SIGKILL);
    test::Until(*pool, [](const ReplicaStats& s) { return !s.ready || s.engine_restarts > 0; });
  }
  test::Until(*pool, [](const ReplicaStats& s) { return !s.ready; });
  absl::Status refused;
  do {
    refused = pool->Submit(AskModel(*pool, "script", "hello")).status();
  } while (base::Message(refused).find("in a row") == std::string::npos);
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  CHECK(base::DetailOf(refused)->retry_after_ms > 3'000'000);
  CHECK(pool->stats()[0].engine_restarts == 4);
  CHECK(test::Answer(*pool, "hello", "other") == "hello");
}

// What its load and its last call took it had not lived: it would begin again for ever, and each time lose what it was asked.
TEST_CASE("A process rests after five ends in a row also where it takes longer to load, or to be found hung, than it would have to live") {
  const std::string fault = GENERATE("load-slow", "hangs");
  INFO(fault);
  PoolOptions options = ProcessOptions({"x/" + fault});
  options.worker.restart_first = milliseconds(1);
  options.worker.rest = milliseconds(500);
  options.worker.hung_after = milliseconds(600);
  const auto pool = ProcessPool(std::move(options));
  int ends = 0;
  while (ends < 15) {
    const auto stream = pool->Submit(AskModel(*pool, "x/" + fault, "!pace_ms 1\n!tokens 1000"));
    if (!stream.ok()) {
      if (base::Message(stream.status()).find("in a row") != std::string::npos) break;
      std::this_thread::yield();
      continue;
    }
    ++ends;
    if (const auto now = Processes("x/" + fault); fault == "load-slow" && now.size() == 1) ::kill(now.front(), SIGKILL);
    CheckLost(HearAll(**stream));
  }
  CHECK(ends >= 5);
  CHECK(ends < 15);
}

}  // namespace
}  // namespace tollgate::inference
