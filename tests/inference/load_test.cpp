// Models that come and go while the pool serves.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <filesystem>

#include "base/encoding.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/inference/worker_support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::AskModel;
using test::Hear;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Submit;

ModelOptions Named(const std::string& name) {
  ModelOptions model = Scripted(2);
  model.name = name;
  return model;
}

std::vector<std::string> Names(const Pool& pool) {
  std::vector<std::string> names;
  for (const ModelInfo& model : pool.models()) names.push_back(model.name);
  return names;
}

TEST_CASE("A model loaded at run time serves beside the others; one that stands is not loaded twice") {
  const auto pool = MakePool(Named("one"));
  CHECK(pool->Load(Named("two")).ok());
  CHECK(Names(*pool) == std::vector<std::string>{"one", "two"});
  CHECK(HearAll(*Submit(*pool, AskModel(*pool, "two", "from two"))).text == "from two");
  CHECK(HearAll(*Submit(*pool, AskModel(*pool, "one", "from one"))).text == "from one");
  CHECK(pool->Load(Named("two")).code() == absl::StatusCode::kAlreadyExists);
  ModelOptions odd = Named("odd");
  odd.slots = 0;
  CHECK(base::Message(pool->Load(odd)).find("model odd: slots is 0") != std::string::npos);
  CHECK(pool->stats().size() == 2);
}

TEST_CASE("A model that is taken out lets what runs end, refuses what is new, and ends the rest at the deadline") {
  base::ManualClock clock;
  const auto pool = MakePool(Named("one"), clock);
  REQUIRE(pool->Load(Named("two")).ok());
  const SequenceRequest late = AskModel(*pool, "two", "late");
  const auto finishing = Submit(*pool, AskModel(*pool, "two", "!tokens 100"));
  const auto hung = Submit(*pool, AskModel(*pool, "two", "!tokens 1\n!hang"));
  const auto other = Submit(*pool, AskModel(*pool, "one", "!tokens 1\n!hang"));
  while (hung->tokens_decoded() < 1 || other->tokens_decoded() < 1) std::this_thread::yield();
  std::thread unload([&, deadline = clock.Mono() + seconds(5)] { CHECK(pool->Unload("two", deadline).ok()); });
  CHECK(HearAll(*finishing).end.reason == EndReason::kStop);
  while (pool->Find("two").ok()) std::this_thread::yield();
  clock.Advance(seconds(6));
  unload.join();
  const Heard heard = HearAll(*hung);
  CHECK(heard.end.reason == EndReason::kShutdown);
  CHECK(heard.end.tokens_decoded == 1);
  CHECK(pool->Submit(late).status().code() == absl::StatusCode::kNotFound);
  CHECK(pool->Unload("two", base::SystemClock().Mono()).code() == absl::StatusCode::kNotFound);
  CHECK(Names(*pool) == std::vector<std::string>{"one"});
  CHECK(HearAll(*Submit(*pool, AskModel(*pool, "one", "still here"))).text == "still here");
  CHECK(pool->Load(Named("two")).ok());
  CHECK(HearAll(*Submit(*pool, late)).text == "late");
  other->Cancel();
}

TEST_CASE("Whether a model would load is told by its header, quickly and without loading it") {
  const tollgate::test::TempDir dir;
  PoolOptions options;
  options.memory_bytes = 64 << 20;
  const auto made = Pool::Create(std::move(options));
  REQUIRE(made.ok());
  const Pool& pool = **made;
  CHECK(pool.Check(Named("one")).ok());
  ModelOptions model;
  model.name = "two";
  model.file = dir.File("two.gguf");
  CHECK(pool.Check(model).code() == absl::StatusCode::kNotFound);
  REQUIRE(base::WriteFileAtomically(model.file, test::Gguf::Tiny().Bytes(), 0644).ok());
  model.prefix_cache_bytes = 0;
  CHECK(pool.Check(model).ok());
  model.prefix_cache_bytes = 65 << 20;
  const absl::Status refused = pool.Check(model);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(base::Message(refused).find("and 64 MiB are free") != std::string::npos);
  model.context_tokens = 4096;
  CHECK(pool.Check(model).code() == absl::StatusCode::kFailedPrecondition);
  model.slots = 0;
  CHECK(pool.Check(model).code() == absl::StatusCode::kInvalidArgument);
  CHECK(pool.models().empty());
}

TEST_CASE("A load is broken off while the file is read, however long that takes, and nothing of it stays") {
  const tollgate::test::TempDir dir;
  ModelOptions model;
  model.name = "large";
  model.file = dir.File("large.gguf");
  REQUIRE(base::WriteFileAtomically(model.file, test::Gguf::Tiny().Bytes(), 0644).ok());
  std::filesystem::resize_file(model.file, std::uintmax_t{1} << 40);  // Of which the disk holds next to nothing.
  model.sha256 = base::Sha256("another");
  PoolOptions options;
  int asked = 0;
  options.go_on = [&] { return ++asked < 3; };
  const auto made = Pool::Create(std::move(options));
  REQUIRE(made.ok());
  const absl::Status status = (*made)->Load(model);
  CHECK(absl::IsCancelled(status));
  CHECK(base::Message(status).find("model large: its load was broken off") != std::string::npos);
  CHECK(asked == 3);
  CHECK((*made)->models().empty());
  CHECK(absl::IsCancelled(DigestOfFile(model.file, [] { return false; }).status()));
}

TEST_CASE("A model that turns out to have another chat template than it is registered with is not loaded") {
  const auto pool = MakePool(Named("one"));
  ModelOptions model = Named("two");
  model.chat_template = "chatml";
  CHECK(pool->Load(model).code() == absl::StatusCode::kFailedPrecondition);
  model.chat_template = "scripted";
  CHECK(pool->Load(model).ok());
}

TEST_CASE("A drained pool loads nothing more") {
  const auto pool = MakePool(Named("one"));
  pool->Drain(base::SystemClock().Mono() + seconds(1));
  CHECK(pool->Load(Named("two")).code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("Requests, loads and unloads at once: every stream ends, whatever model it met") {
  const auto pool = MakePool(Named("fixed"));
  std::atomic<bool> done{false};
  std::thread changes([&] {
    for (int i = 0; i < 30; ++i) {
      if (pool->Load(Named("moving")).ok()) static_cast<void>(pool->Unload("moving", base::SystemClock().Mono() + milliseconds(i % 3)));
    }
    done = true;
  });
  int answered = 0;
  for (int i = 0; !done || i < 100; ++i) {
    SequenceRequest request = AskModel(*pool, "fixed", "!tokens 20");
    if (i % 2 == 0) request.model = "moving";
    auto stream = pool->Submit(std::move(request));
    if (!stream.ok()) continue;
    const Heard heard = HearAll(**stream);
    answered += heard.end.reason == EndReason::kStop ? 1 : 0;
    if (i % 2 == 1) CHECK(heard.end.tokens_decoded == 20);
  }
  changes.join();
  CHECK(answered > 0);
}

}  // namespace
}  // namespace tollgate::inference
