// Models in processes of their own: they serve as on threads of this one, and what ends one of them ends what ran in it and nothing else.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <cstdlib>

#include "base/error_detail.h"
#include "tests/inference/worker_support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using test::Answer;
using test::Ask;
using test::AskModel;
using test::CheckLost;
using test::HearAll;
using test::Heard;
using test::Processes;
using test::ProcessOf;
using test::ProcessPool;
using test::Submit;

void CheckSame(const Heard& there, const Heard& here) {
  CHECK(there.text == here.text);
  CHECK(there.end.reason == here.end.reason);
  CHECK(there.end.status == here.end.status);
  CHECK(there.end.tokens_decoded == here.end.tokens_decoded);
  CHECK(there.end.input_tokens == here.end.input_tokens);
  std::vector<OutputToken> a, b;
  for (const Piece& piece : there.pieces) a.insert(a.end(), piece.tokens.begin(), piece.tokens.end());
  for (const Piece& piece : here.pieces) b.insert(b.end(), piece.tokens.begin(), piece.tokens.end());
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].id == b[i].id);
    CHECK(a[i].bytes == b[i].bytes);
    CHECK(a[i].logprob == b[i].logprob);
    REQUIRE(a[i].top.size() == b[i].top.size());
    for (std::size_t t = 0; t < a[i].top.size(); ++t) CHECK(a[i].top[t].bytes == b[i].top[t].bytes);
  }
}

TEST_CASE("A load in a process of its own is broken off at the process's next sign of life, and the process is killed") {
  PoolOptions options = test::ProcessOptions({"script/load-hangs"});
  options.worker.silent_max = milliseconds(4000);
  int asked = 0;
  options.go_on = [&] { return ++asked < 2; };
  const auto pool = Pool::Create(std::move(options));
  CHECK(absl::IsCancelled(pool.status()));
  CHECK(base::Message(pool.status()).find("told to stop") != std::string::npos);
  CHECK(asked == 2);
  CHECK(Processes("script/load-hangs").empty());
}

TEST_CASE("A model in a process of its own serves as one on a thread: text, tokens, alternatives, ends, tools and counts") {
  const auto apart = ProcessPool();
  const auto here = test::MakePool(test::Scripted());
  const ModelInfo a = apart->models()[0];
  const ModelInfo b = here->models()[0];
  CHECK(a.name == b.name);
  CHECK(a.engine_build == b.engine_build);
  CHECK(a.sha256 == b.sha256);
  CHECK(a.vocab_tokens == b.vocab_tokens);
  CHECK(a.tools == b.tools);
  CHECK(a.thinks == b.thinks);
  for (const char* text : {"hello there", "!say caf\xC3\xA9 \\| bar\n!tokens 20", "!alt one\n!alt two\n!say three four",
                           "!think why\n!say so", "!call find {\"q\": 1}", "!say a\n!fail"}) {
    INFO(text);
    SequenceRequest request = Ask(*apart, text);
    CHECK(request.prompt_tokens == Ask(*here, text).prompt_tokens);
    request.logprobs = 3;
    request.logit_bias = {{7, 1.0F}};
    CheckSame(HearAll(*Submit(*apart, request)), HearAll(*Submit(*here, request)));
  }
  Turn turn{"user", "", "which tools?"};
  turn.tools = {{"find", "finds", "{}"}};
  CHECK(apart->Render("script", std::span(&turn, 1)) == here->Render("script", std::span(&turn, 1)));
  const PromptPart part{"judge this", true};
  CHECK(apart->RenderParts("script", std::span(&part, 1)) == here->RenderParts("script", std::span(&part, 1)));
  CHECK(apart->Tokenize("script", "so many words") == here->Tokenize("script", "so many words"));
  CHECK(apart->stats()[0].ready);
}

TEST_CASE("Taking tokens back, groups, allowances, stop strings and cancelling work across the processes") {
  const auto pool = ProcessPool();
  SequenceRequest request = Ask(*pool, "!say one two three four five six\n!tokens 100");
  request.allowance = 4;
  const auto stream = Submit(*pool, request);
  Heard heard;
  REQUIRE(test::Hear(*stream, heard) == Taken::kParked);
  stream->Rewind(2, {});
  stream->Allow(1000, false);
  CHECK(HearAll(*stream).end.status.ok());

  SequenceRequest stops = Ask(*pool, "!say one two three");
  stops.stop = {"two"};
  CHECK(HearAll(*Submit(*pool, stops)).text == "one ");

  const std::vector<std::uint64_t> seeds = {1, 2, 3};
  const auto group = pool->SubmitGroup(Ask(*pool, "all alike"), seeds);
  REQUIRE(group.ok());
  for (const auto& one : *group) CHECK(HearAll(*one).text == "all alike");

  const auto endless = Submit(*pool, Ask(*pool, "!pace_ms 1\n!tokens 1000000"));
  test::Until(*pool, [](const ReplicaStats& s) { return s.running == 1; });
  endless->Cancel();
  test::Until(*pool, [](const ReplicaStats& s) { return s.running == 0; });
  CHECK(pool->stats()[0].engine_restarts == 0);
}

TEST_CASE("An engine that aborts fails what ran in its process; the other model is unharmed, and it comes back") {
  const auto pool = ProcessPool({"script", "other"});
  const auto other = Submit(*pool, AskModel(*pool, "other", "!pace_ms 1\n!tokens 300"));
  const auto beside = Submit(*pool, Ask(*pool, "!tokens 5\n!hang"));
  SequenceRequest waits = Ask(*pool, "!tokens 100");
  waits.allowance = 3;
  const auto parked = Submit(*pool, waits);
  test::Until(*pool, [](const ReplicaStats& s) { return s.output_tokens >= 8 && s.parked == 1; });
  CheckLost(HearAll(*Submit(*pool, Ask(*pool, "!tokens 3\n!abort"))));
  const Heard failed = HearAll(*beside);
  CheckLost(failed);
  CHECK(failed.end.tokens_decoded == 5);
  Heard idle;
  while (test::Hear(*parked, idle) != Taken::kEnd) {
  }
  CheckLost(idle);
  CHECK(Answer(*pool, "back again") == "back again");
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts == 1 && s.running == 0 && s.ready; });
  CHECK(pool->stats()[0].failed >= 3);
  const Heard unharmed = HearAll(*other);
  CHECK(unharmed.end.status.ok());
  CHECK(unharmed.end.tokens_decoded == 300);
  CHECK(pool->stats()[1].engine_restarts == 0);
}

TEST_CASE("kill -9 in the middle of a stream is the end of that stream, with exact counts") {
  const auto pool = ProcessPool();
  SequenceRequest request = Ask(*pool, "!pace_ms 1\n!tokens 100000");
  const auto stream = Submit(*pool, request);
  test::Until(*pool, [](const ReplicaStats& s) { return s.output_tokens >= 10; });
  ::kill(ProcessOf("script"), SIGKILL);
  const Heard heard = HearAll(*stream);
  CheckLost(heard);
  CHECK(heard.end.tokens_decoded >= 10);
  CHECK(heard.text.size() == 5 * static_cast<std::size_t>(heard.end.tokens_decoded));
  CHECK(Answer(*pool, "hello") == "hello");
}

TEST_CASE("What waits in the queue while the process is started again is served after it") {
  const auto pool = ProcessPool({"script"}, 1);
  const auto fatal = Submit(*pool, Ask(*pool, "!pace_ms 50\n!tokens 2\n!abort"));
  std::vector<std::shared_ptr<TokenStream>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(Submit(*pool, Ask(*pool, "patience")));
  CheckLost(HearAll(*fatal));
  for (const auto& stream : waiting) CHECK(HearAll(*stream).text == "patience");
}

TEST_CASE("A process that is killed while nothing runs comes back, again and again; none is left when the pool is gone") {
  auto pool = ProcessPool();
  for (int round = 0; round < 3; ++round) {
    const pid_t process = ProcessOf("script");
    ::kill(process, SIGKILL);
    test::Until(*pool, [round](const ReplicaStats& s) { return s.engine_restarts == round + 1 && s.ready; });
    CHECK(ProcessOf("script") != process);
    CHECK(Answer(*pool, "here") == "here");
  }
  pool.reset();
  CHECK(Processes("script").empty());
}

TEST_CASE("The signals that stop a service do not end a model's process while requests run") {
  const auto pool = ProcessPool();
  const auto stream = Submit(*pool, Ask(*pool, "!pace_ms 1\n!tokens 100"));
  test::Until(*pool, [](const ReplicaStats& s) { return s.output_tokens >= 5; });
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::kill(ProcessOf("script"), signal);
  CHECK(HearAll(*stream).end.tokens_decoded == 100);
  CHECK(pool->stats()[0].engine_restarts == 0);
}

TEST_CASE("A pool ends at once while its model's process hangs, is started again, or serves") {
  auto pool = ProcessPool();
  const auto hung = Submit(*pool, Ask(*pool, "!hang"));
  test::Until(*pool, [](const ReplicaStats& s) { return s.running == 1; });
  pool.reset();
  CHECK(HearAll(*hung).end.reason == EndReason::kShutdown);
  pool = ProcessPool();
  HearAll(*Submit(*pool, Ask(*pool, "!abort")));
  pool.reset();
  CHECK(Processes("script").empty());
}

TEST_CASE("Models come and go in processes of their own, and the memory that is left is told them") {
  PoolOptions options = test::ProcessOptions({"script"});
  options.memory_bytes = 123'456;
  const auto pool = ProcessPool(std::move(options));
  ModelOptions model = test::Scripted();
  model.name = "second";
  CHECK(pool->Check(model).ok());
  REQUIRE(pool->Load(model).ok());
  CHECK(Processes("second").size() == 1);
  CHECK(HearAll(*Submit(*pool, AskModel(*pool, "second", "hello"))).text == "hello");
  CHECK(pool->Unload("second", base::SystemClock().Mono()).ok());
  CHECK(Processes("second").empty());
  model.name = "x/memory";
  CHECK(base::Message(pool->Load(model)).find("123456 bytes are left") != std::string::npos);
}

TEST_CASE("What the pool had left when a model was loaded is no bound for its process when it is started again, but what there is then") {
  const tollgate::test::TempDir folder;
  PoolOptions options = test::ProcessOptions({"x/memory-once"});
  options.models.front().licence = folder.File("loaded");
  options.worker.restart_first = std::chrono::milliseconds(1);
  const auto pool = ProcessPool(std::move(options));
  ::kill(ProcessOf("x/memory-once"), SIGKILL);
  test::Until(*pool, [](const ReplicaStats& s) { return s.engine_restarts > 0 && s.ready; });
  CHECK(test::Answer(*pool, "hello", "x/memory-once") == "hello");
  CHECK(pool->stats()[0].engine_restarts == 1);
}

TEST_CASE("A model's process has no secret in its environment or arguments, no file of ours open, and leaves no core") {
  ::setenv("TOLLGATE_DATABASE_PASSWORD", "hunter2", 1);
  const auto pool = ProcessPool();
  ModelOptions model = test::Scripted();
  model.name = "x/tells";
  const std::string told = base::Message(pool->Load(model));
  ::unsetenv("TOLLGATE_DATABASE_PASSWORD");
  INFO(told);
  CHECK(told.find("environment:") != std::string::npos);
  CHECK(told.find("hunter2") == std::string::npos);
  CHECK(told.find("TOLLGATE") == std::string::npos);
  CHECK(told.find("descriptors: 0 1 2 3;") != std::string::npos);
  CHECK(told.find("core: 0; dumpable: 0; new privileges: false;") != std::string::npos);
}

}  // namespace
}  // namespace tollgate::inference
