// LoRA adapters end to end: a generated model of a megabyte behind the real program, adapters of it registered, granted, used on every
// surface, switched off, and refused where they do not fit.
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <thread>

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
namespace v1 = tollgate::v1;
namespace base = tollgate::base;

struct World {
  explicit World(const std::string& isolation = "thread") : gateway(installation, {.isolation = isolation}) {
    Put("tiny.gguf", tiny.Bytes());
    REQUIRE(Add("tiny", "tiny.gguf", {"--context", "512", "--slots", "4", "--kv", "f32"}).code == 0);
    REQUIRE(Cli({"prices", "set", "tiny", "--input", "0.10", "--output", "0.40"}).code == 0);
    const Finished loaded = Cli({"models", "load", "tiny"});
    INFO(loaded.err);
    REQUIRE(loaded.code == 0);
  }
  void Put(const std::string& file, const std::string& bytes) {
    REQUIRE(base::WriteFileAtomically(installation.models_dir() + "/" + file, bytes, 0644).ok());
    digests[file] = base::HexEncode(base::View(base::Sha256(bytes)));
  }
  Finished Add(const std::string& name, const std::string& file, std::vector<std::string> more) {
    more.insert(more.begin(), {"models", "add", name, "--file", file, "--sha256", digests.at(file)});
    return Cli(more);
  }
  // Registers an adapter of "tiny" and has it loaded.
  Finished Adapt(const std::string& name, const std::string& bytes) {
    Put(name + ".lora", bytes);
    REQUIRE(Add("tiny:" + name, name + ".lora", {"--base", "tiny", "--scale", "0.5"}).code == 0);
    return Cli({"models", "load", "tiny:" + name});
  }
  Finished Cli(std::vector<std::string> words) {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway.admin_port()), "--key", installation.owner_key()});
    return RunTollgate(words);
  }
  Answer Say(const std::string& model, Surface surface = Surface::kHttpPlain) {
    return Ask(ports, surface, {.key = company.key, .prompt = "hello", .model = model, .max_tokens = 8});
  }

  TinyModel tiny{"llama"};
  Installation installation;
  Gateway gateway;
  Admin admin{gateway, installation.owner_key()};
  Ports ports = PortsOf(gateway);
  Company company = MakeCompany(admin);
  std::map<std::string, std::string> digests;
};

}  // namespace

TEST_CASE("An adapter is registered, granted, used on every surface, priced as its model, on record and in usage, and switched off") {
  World world;
  const Finished loaded = world.Adapt("legal", TinyAdapter{.seed = 7, .only = {}}.For(world.tiny.Bytes()));
  INFO(loaded.err);
  REQUIRE(loaded.code == 0);
  CHECK(world.Cli({"models", "show", "tiny:legal"}).out.find("base      tiny, changed at scale 0.5") != std::string::npos);
  CHECK(world.Say("tiny:legal").reason == "model_not_granted");
  CHECK(world.Say("tiny").done);
  REQUIRE(world.Cli({"models", "grant", "tiny:legal", "--team", "red", "--org", "acme"}).code == 0);
  const std::string route = "model=tiny:legal; adapters=legal@" + world.digests.at("legal.lora").substr(0, 12);
  for (const Surface surface : kSurfaces) {
    const Answer answer = world.Say("tiny:legal", surface);
    INFO(Name(surface) << ": " << answer.message);
    CHECK(answer.done);
    CHECK(answer.header("x-tollgate-route") == route);
    const Story story = StoryOf(world.admin, answer.request_id);
    REQUIRE(story.request.request().adapters_size() == 1);
    CHECK(base::HexEncode(story.request.request().adapters(0).sha256()) == world.digests.at("legal.lora"));
    CHECK(story.request.request().model() == "tiny:legal");
  }
  REQUIRE(world.Cli({"models", "grant", "tiny", "--team", "red", "--org", "acme"}).code == 0);
  REQUIRE(world.Cli({"models", "alias", "lawyer", "tiny:legal", "--fallback", "tiny"}).code == 0);
  CHECK(world.Say("lawyer").header("x-tollgate-route").starts_with("alias=lawyer; model=tiny:legal; share=1/1; adapters=legal@"));

  REQUIRE(world.Cli({"models", "unload", "tiny:legal"}).code == 0);
  CHECK(world.Say("tiny:legal").reason == "model_not_found");
  CHECK(world.Say("lawyer").header("x-tollgate-route") == "alias=lawyer; model=tiny; fallback=1");
  REQUIRE(world.Cli({"models", "unalias", "lawyer", "--reason", "a test"}).code == 0);
  CHECK(world.Cli({"models", "retire", "tiny", "--reason", "a test"}).err.find("tiny:legal") != std::string::npos);
  REQUIRE(world.Cli({"models", "retire", "tiny:legal", "--reason", "a test"}).code == 0);
  Books books(world.installation);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE model = 'tiny:legal'") == 5);  // Four surfaces, and the alias.
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE(
    "An adapter of another model, a cut one and one of the wrong shape are refused with names and numbers, and nothing is disturbed") {
  World world;
  const auto refused = [&](const std::string& name, const std::string& bytes, const char* says) {
    const Finished loaded = world.Adapt(name, bytes);
    INFO(loaded.err);
    CHECK(loaded.code == 1);
    CHECK(loaded.err.find("nothing was changed") != std::string::npos);
    CHECK(loaded.err.find(says) != std::string::npos);
  };
  const std::string sound = TinyAdapter{.only = {}}.For(world.tiny.Bytes());
  refused("other", TinyAdapter{.only = {}}.For(TinyModel("deepseek2").Bytes()),
          "\"deepseek2\"; a LoRA adapter of this model says \"llama\"");
  refused("cut", sound.substr(0, sound.size() / 2), "past the end of the file");
  tollgate::inference::test::Gguf wide = TinyAdapter::Head("llama", 8);
  wide.Tensor("blk.0.attn_q.weight.lora_a", {64, 2}, 0).Tensor("blk.0.attn_q.weight.lora_b", {2, 96}, 0);
  refused("wide", wide.Bytes(), "weight blk.0.attn_q.weight of the model is [64, 64], so at rank 2");
  CHECK(world.Say("tiny").done);
  CHECK(world.gateway.Ready());
}

TEST_CASE("With isolation: process adapters act, are refused, and are there again after the process was aborted while one was in use") {
  World world("process");
  const std::string sound = TinyAdapter{.seed = 7, .only = {}}.For(world.tiny.Bytes());
  REQUIRE(world.Adapt("legal", sound).code == 0);
  for (const char* model : {"tiny", "tiny:legal"})
    REQUIRE(world.Cli({"models", "grant", model, "--team", "red", "--org", "acme"}).code == 0);
  CHECK(world.Adapt("cut", sound.substr(0, sound.size() / 2)).err.find("past the end of the file") != std::string::npos);
  const std::string route = "model=tiny:legal; adapters=legal@" + world.digests.at("legal.lora").substr(0, 12);
  CHECK(world.Say("tiny:legal").header("x-tollgate-route") == route);

  Books books(world.installation);
  const std::int64_t before = books.Requests();
  Answer broken;
  const int process = world.gateway.ModelProcess("tiny");
  REQUIRE(process > 0);
  ::kill(process, SIGSTOP);  // So that the request is inside when it aborts.
  std::jthread asking([&] { broken = world.Say("tiny:legal", Surface::kGrpcStream); });
  REQUIRE(Eventually([&] { return books.Requests() == before + 1; }));
  ::kill(process, SIGABRT);
  ::kill(process, SIGCONT);
  asking.join();
  CHECK_FALSE(broken.done);
  CHECK(broken.code == 14);
  CHECK(Eventually([&] { return world.Say("tiny:legal").done; }));
  CHECK(world.Say("tiny:legal").header("x-tollgate-route") == route);
  CHECK(world.Say("tiny").done);
  CHECK(world.gateway.Metrics().find("tollgate_pool_engine_restarts_total{model=\"tiny\"} 1\n") != std::string::npos);
  CHECK(Eventually([&] { return books.Open() == 0; }));
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}
