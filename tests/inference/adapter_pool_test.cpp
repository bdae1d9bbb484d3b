// Adapters in the pool, with the scripted engine: names, turns between those that have them and those that have not, loading and leaving.
#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <thread>

#include "base/error_detail.h"
#include "inference/fingerprint.h"
#include "tests/inference/support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using test::Ask;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Submit;
using test::Team;

struct Fixture {
  tollgate::test::TempDir folder;
  std::unique_ptr<Pool> pool = MakePool(Scripted());

  AdapterOptions Adapter(const std::string& name, const std::string& base = "script") {
    AdapterOptions adapter{.name = base + ":" + name, .base = base, .file = folder.File(name), .sha256 = {}};
    std::ofstream(adapter.file) << name;
    adapter.sha256 = *DigestOfFile(adapter.file);
    return adapter;
  }
  void Load(const std::string& name) {
    const absl::Status status = pool->LoadAdapter(Adapter(name));
    INFO(status.ToString());
    REQUIRE(status.ok());
  }
  SequenceRequest AskWith(const std::string& model, const std::string& text, int tenant = 1) {
    SequenceRequest request = Ask(*pool, text);
    request.model = model;
    request.tenant = Team(tenant);
    return request;
  }
};

TEST_CASE("A model is found with its adapters, in whatever order they are named; what is not there is not found") {
  Fixture f;
  f.Load("b");
  f.Load("a");
  const auto models = f.pool->models();
  REQUIRE(models.size() == 3);
  CHECK(models[0].name == "script");
  CHECK(models[0].base.empty());
  CHECK(models[1].name == "script:a");
  CHECK(models[1].base == "script");
  const auto both = f.pool->Find("script:b+a");
  REQUIRE(both.ok());
  CHECK(both->name == "script:a+b");
  CHECK(both->base == "script");
  REQUIRE(both->adapters.size() == 2);
  CHECK(both->context_tokens == models[0].context_tokens);
  CHECK(f.pool->Find("script")->adapters.empty());
  for (const char* name : {"script:c", "script:a+c", "other:a", "script:", "script:a+"}) {
    INFO(name);
    CHECK(absl::IsNotFound(f.pool->Find(name).status()));
    CHECK(base::DetailOf(f.pool->Submit(f.AskWith(name, "hello")).status())->reason == "MODEL_NOT_FOUND");
  }
  CHECK(absl::IsInvalidArgument(f.pool->Find("script:a+a").status()));
  CHECK(f.pool->stats().size() == 1);
}

TEST_CASE("A request for what was loaded under a name is refused where another is by now") {
  Fixture f;
  f.Load("a");
  SequenceRequest request = f.AskWith("script:a", "hello");
  request.fingerprint = FingerprintOf(*f.pool->Find("script:a"));
  CHECK(HearAll(*Submit(*f.pool, request)).end.status.ok());
  CHECK(request.fingerprint != FingerprintOf(*f.pool->Find("script")));
  const auto reload = [&](double scale) {
    CHECK(f.pool->Unload("script:a", base::MonoTime::max()).ok());
    AdapterOptions adapter = f.Adapter("a");
    adapter.scale = scale;
    CHECK(f.pool->LoadAdapter(adapter).ok());
  };
  reload(1);
  CHECK(HearAll(*Submit(*f.pool, request)).end.status.ok());
  reload(0.5);
  const absl::Status changed = f.pool->Submit(request).status();
  CHECK(absl::IsUnavailable(changed));
  REQUIRE(base::DetailOf(changed).has_value());
  CHECK(base::DetailOf(changed)->reason == "MODEL_CHANGED");
  CHECK(base::DetailOf(changed)->retry_after_ms.has_value());
  const std::vector<std::uint64_t> seeds{1, 2};
  CHECK(absl::IsUnavailable(f.pool->SubmitGroup(request, seeds).status()));
  request.fingerprint.clear();
  CHECK(HearAll(*Submit(*f.pool, request)).end.status.ok());
}

TEST_CASE("Names are a base and a plain word; the file is the registered one; twice is once too often") {
  Fixture f;
  f.Load("a");
  CHECK(f.pool->LoadAdapter(f.Adapter("a")).code() == absl::StatusCode::kAlreadyExists);
  AdapterOptions odd = f.Adapter("odd");
  for (const char* name : {"odd", "script:o+d", "other:odd", "script:"}) {
    odd.name = name;
    CHECK(absl::IsInvalidArgument(f.pool->LoadAdapter(odd)));
  }
  AdapterOptions swapped = f.Adapter("swapped");
  std::ofstream(swapped.file) << "something else";
  CHECK(absl::IsFailedPrecondition(f.pool->LoadAdapter(swapped)));
  CHECK(absl::IsNotFound(f.pool->LoadAdapter(f.Adapter("x", "nobody"))));
  ModelOptions clash = Scripted();
  clash.name = "script:a";
  CHECK(f.pool->Load(clash).code() == absl::StatusCode::kAlreadyExists);
}

TEST_CASE("Sequences with different adapters run side by side, each to its end") {
  Fixture f;
  f.Load("a");
  f.Load("b");
  std::vector<std::shared_ptr<TokenStream>> streams;
  const std::string models[] = {"script", "script:a", "script:b", "script:a+b"};
  for (int round = 0; round < 3; ++round) {
    for (const std::string& model : models) streams.push_back(Submit(*f.pool, f.AskWith(model, "!tokens 200", 1 + round)));
  }
  for (const auto& stream : streams) {
    const Heard heard = HearAll(*stream);
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK(heard.end.tokens_decoded == 200);
  }
  const auto group = f.pool->SubmitGroup(f.AskWith("script:a", "!tokens 20"), std::vector<std::uint64_t>{1, 2, 3});
  REQUIRE(group.ok());
  for (const auto& stream : *group) CHECK(HearAll(*stream).end.tokens_decoded == 20);
}

TEST_CASE("A sequence that waits for its reader keeps no turn from others") {
  Fixture f;
  f.Load("a");
  SequenceRequest parked = f.AskWith("script:a", "!tokens 500");
  parked.allowance = 3;
  const auto waiting = Submit(*f.pool, parked);
  CHECK(HearAll(*Submit(*f.pool, f.AskWith("script", "!tokens 100"))).end.tokens_decoded == 100);
  waiting->Allow(500, true);
  CHECK(HearAll(*waiting).end.tokens_decoded == 500);
}

TEST_CASE("An adapter that is taken out takes nothing new, lets what runs end until the deadline, and no other sequence feels it") {
  base::ManualClock clock;
  Fixture f;
  f.pool = MakePool(Scripted(), clock);
  f.Load("a");
  f.Load("b");
  const auto running = Submit(*f.pool, f.AskWith("script:a", "!hang"));
  const auto other = Submit(*f.pool, f.AskWith("script:b", "!hang"));
  const auto base_alone = Submit(*f.pool, f.AskWith("script", "!hang"));
  test::Until(*f.pool, [](const ReplicaStats& stats) { return stats.running == 3; });
  std::thread unload([&, deadline = clock.Mono() + std::chrono::seconds(5)] { CHECK(f.pool->Unload("script:a", deadline).ok()); });
  while (f.pool->Find("script:a").ok()) std::this_thread::yield();
  CHECK(absl::IsNotFound(f.pool->Submit(f.AskWith("script:a", "hello")).status()));
  CHECK(f.pool->stats()[0].running == 3);
  clock.Advance(std::chrono::seconds(6));
  unload.join();
  const Heard heard = HearAll(*running);
  CHECK(heard.end.reason == EndReason::kShutdown);
  CHECK(f.pool->stats()[0].running == 2);
  f.Load("a");  // Again.
  CHECK(HearAll(*Submit(*f.pool, f.AskWith("script:a", "hello"))).text == "hello");
  CHECK(f.pool->Unload("script", clock.Mono()).ok());
  CHECK(f.pool->models().empty());
  CHECK(HearAll(*other).end.reason == EndReason::kShutdown);
  CHECK(HearAll(*base_alone).end.reason == EndReason::kShutdown);
  CHECK(absl::IsNotFound(f.pool->Unload("script:b", clock.Mono())));
}

}  // namespace
}  // namespace tollgate::inference
