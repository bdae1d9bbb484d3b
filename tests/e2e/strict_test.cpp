// Evidence end to end: strict answers of a generated model on every surface, beside others, made again by an auditor's command, also by
// another process; and what cannot be made again, told by name.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"

namespace {

using namespace tollgate::e2e;
using tollgate::inference::test::TinyAdapter;
using tollgate::inference::test::TinyModel;
namespace base = tollgate::base;

struct World {
  World() {
    Put("tiny.gguf", tiny.Bytes());
    Must({"models", "add", "tiny", "--file", "tiny.gguf", "--sha256", digests.at("tiny.gguf"), "--context", "512", "--slots", "4", "--strict"});
    Must({"prices", "set", "tiny", "--input", "0.10", "--output", "0.40"});
    Must({"models", "load", "tiny"});
    asker = Admin{*gateway, installation.owner_key()}.MakeKey("red", "app", "evidence", {"member", "evidence"}).secret();
    auditor = Admin{*gateway, installation.owner_key()}.MakeKey("red", "app", "auditor", {"auditor"}).secret();
  }
  void Put(const std::string& file, const std::string& bytes) {
    REQUIRE(base::WriteFileAtomically(installation.models_dir() + "/" + file, bytes, 0644).ok());
    digests[file] = base::HexEncode(base::View(base::Sha256(bytes)));
  }
  Finished Run(std::vector<std::string> words, const std::string& key) {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway->admin_port()), "--key", key});
    return RunTollgate(words);
  }
  void Must(const std::vector<std::string>& words) {
    const Finished done = Run(words, installation.owner_key());
    INFO(done.err);
    REQUIRE(done.code == 0);
  }
  Answer Say(const std::string& prompt, Surface surface, bool strict = true, const std::string& model = "tiny") {
    return Ask(PortsOf(*gateway), surface, {.key = asker, .prompt = prompt, .model = model, .max_tokens = 20, .strict = strict});
  }
  Finished Replay(const std::string& request) { return Run({"audit", "replay", request, "--reason", "case 12"}, auditor); }

  TinyModel tiny{"llama"};
  Installation installation;
  std::unique_ptr<Gateway> gateway = std::make_unique<Gateway>(installation);
  Admin admin{*gateway, installation.owner_key()};
  Company company = MakeCompany(admin);
  std::string asker, auditor;
  std::map<std::string, std::string> digests;
};

}  // namespace

TEST_CASE("Strict answers on every surface, beside others, are made again the same by an auditor, also by another process; others are refused") {
  World world;
  std::vector<std::string> requests;
  {
    const auto next = [&](int thread, int) {
      return std::pair(kSurfaces[thread], Question{.key = world.asker, .prompt = "what others ask meanwhile", .model = "tiny", .max_tokens = 30});
    };
    Load beside(PortsOf(*world.gateway), 3, next);
    for (const Surface surface : kSurfaces) {
      const Answer answer = world.Say(fmt::format("hello over {}", Name(surface)), surface);
      INFO(Name(surface) << ": " << answer.message);
      REQUIRE(answer.done);
      requests.push_back(answer.request_id);
    }
    beside.Stop();
    for (const Answer& answer : beside.answers()) CHECK(answer.done);
  }
  for (const std::string& request : requests) {
    const Finished replayed = world.Replay(request);
    INFO(replayed.out << replayed.err);
    CHECK(replayed.code == 0);
    CHECK(replayed.out.starts_with("same: all "));
  }
  const Finished shown = world.Run({"audit", "show", requests[0]}, world.auditor);
  CHECK(shown.out.find("strict, to be made again: tollgate ") != std::string::npos);
  CHECK(shown.out.find("made 1/") != std::string::npos);
  CHECK(shown.out.find(" again, same, ") != std::string::npos);

  const Answer plain = world.Say("hello", Surface::kHttpPlain, false);
  REQUIRE(plain.done);
  const Finished refused = world.Replay(plain.request_id);
  CHECK(refused.code == 1);
  CHECK(refused.out.starts_with("cannot be replayed: it was not made strict"));
  const Answer unasked = Ask(PortsOf(*world.gateway), Surface::kHttpPlain, {.key = world.company.key, .prompt = "hello", .model = "tiny", .strict = true});
  CHECK(unasked.reason == "role_not_granted");
  const Answer other = world.Say("hello", Surface::kGrpcUnary, true, "scripted");
  CHECK(other.reason == "STRICT_UNAVAILABLE");

  REQUIRE(world.gateway->Stop() == 0);
  world.gateway = std::make_unique<Gateway>(world.installation);
  const Finished again = world.Run({"audit", "replay", requests[1], "--reason", "case 12", "--json"}, world.auditor);
  INFO(again.out << again.err);
  CHECK(again.code == 0);
  CHECK(again.out.find("\"verdict\":\"same\"") != std::string::npos);
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(Reconcile(*world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("An adapter, weights and settings that are not those of the record are told, and those that are make the answer again") {
  World world;
  const auto adapt = [&](std::uint64_t seed) {
    world.Put("a.lora", TinyAdapter{.seed = seed, .only = {}}.For(world.tiny.Bytes()));
    world.Must({"models", "add", "tiny:a", "--file", "a.lora", "--sha256", world.digests.at("a.lora"), "--base", "tiny"});
    world.Must({"models", "open", "tiny:a"});
    world.Must({"models", "load", "tiny:a"});
  };
  adapt(3);
  const Answer answer = world.Say("hello", Surface::kHttpStream, true, "tiny:a");
  INFO(answer.message);
  REQUIRE(answer.done);
  CHECK(world.Replay(answer.request_id).out.starts_with("same: "));
  world.Must({"models", "retire", "tiny:a", "--reason", "anew"});
  adapt(4);
  const auto replay_says = [&](const char* what) {
    for (int i = 0; i < 200; ++i) {
      const Finished told = world.Replay(answer.request_id);
      if (told.out.find(what) != std::string::npos) return told.code == 1;
      Pause();
    }
    return false;
  };
  CHECK(replay_says("the adapters of tiny:a are others here"));
  world.Must({"models", "unload", "tiny:a"});
  CHECK(replay_says("model tiny:a is not loaded here"));
}
