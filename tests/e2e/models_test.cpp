// Models as data, end to end: registered, loaded beside what is served, restricted, unloaded, and there again after a restart.
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <future>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/uuid.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/inference/tiny_gguf.h"
#include "tollgate/v1/registry.grpc.pb.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;
namespace base = tollgate::base;

struct World {
  explicit World(const InstanceOptions& how = {}) : options(how) { Start(); }
  void Start() {
    gateway.reset();
    gateway = std::make_unique<Gateway>(installation, options);
    admin = std::make_unique<Admin>(*gateway, installation.owner_key());
    ports = PortsOf(*gateway);
    if (company.key.empty()) company = MakeCompany(*admin);
  }
  Finished Cli(std::vector<std::string> words) {
    words.insert(words.end(), {"--admin", fmt::format("127.0.0.1:{}", gateway->admin_port()), "--key", installation.owner_key()});
    return RunTollgate(words);
  }
  Answer Say(const std::string& model, Surface surface = Surface::kHttpPlain) {
    return Ask(ports, surface, {.key = company.key, .prompt = "hello", .model = model});
  }
  void Price(const std::string& model) { CHECK(Cli({"prices", "set", model, "--input", "0.10", "--output", "0.40"}).code == 0); }

  Installation installation;
  InstanceOptions options;
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<Admin> admin;
  Ports ports;
  Company company;
};

}  // namespace

TEST_CASE("A registered model is loaded while others serve, answers on every surface, and is back after a restart") {
  World world;
  CHECK(world.Say("second").reason == "model_not_found");
  REQUIRE(world.Cli({"models", "add", "second", "--engine", "scripted", "--context", "1000"}).code == 0);
  world.Price("second");
  CHECK(world.Say("second").reason == "model_not_found");
  const Finished loaded = world.Cli({"models", "load", "second"});
  CHECK(loaded.out.find("model second is loaded") != std::string::npos);
  for (const Surface surface : kSurfaces) {
    const Answer answer = world.Say("second", surface);
    INFO(Name(surface) << ": " << answer.message);
    CHECK(answer.done);
  }
  CHECK(world.Say("scripted").done);
  CHECK(world.Cli({"models", "list", "--registered"}).out.find("loaded") != std::string::npos);

  REQUIRE(world.gateway->Stop() == 0);
  world.Start();
  CHECK(world.gateway->Ready());
  REQUIRE(Eventually([&] { return world.Say("second").done; }));

  CHECK(world.Cli({"models", "unload", "second"}).code == 0);
  CHECK(world.Say("second").reason == "model_not_found");  // At once, whatever the pool still does.
  CHECK(world.Say("scripted").done);
  CHECK(world.Cli({"models", "retire", "second", "--reason", "a test"}).code == 0);
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(Reconcile(*world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("A model that does not fit, or is not what was registered, is refused with the reason, and nothing that serves is disturbed") {
  InstanceOptions options;
  options.memory_bytes = 600 << 20;
  World world(options);
  const std::string bytes = tollgate::inference::test::Gguf::Tiny().Bytes();
  REQUIRE(base::WriteFileAtomically(world.installation.models_dir() + "/tiny.gguf", bytes, 0644).ok());
  const std::string digest = base::HexEncode(base::View(base::Sha256(bytes)));
  const auto add = [&](const std::string& name, const std::string& file, const std::string& sha256, const std::string& cache) {
    return world.Cli({"models", "add", name, "--file", file, "--sha256", sha256, "--prefix-cache", cache}).code;
  };
  REQUIRE(add("large", "tiny.gguf", digest, "1073741824") == 0);
  const Finished large = world.Cli({"models", "load", "large"});
  CHECK(large.code == 1);
  CHECK(large.err.find("prefix cache 1024") != std::string::npos);
  CHECK(large.err.find("MODEL_DOES_NOT_FIT") != std::string::npos);
  REQUIRE(add("gone", "gone.gguf", digest, "0") == 0);
  CHECK(world.Cli({"models", "load", "gone"}).err.find("gone.gguf") != std::string::npos);
  REQUIRE(add("other", "tiny.gguf", std::string(64, 'a'), "0") == 0);
  const Finished other = world.Cli({"models", "load", "other"});
  CHECK(other.code == 1);
  CHECK(other.err.find("is not the file that was registered") != std::string::npos);
  CHECK(world.Say("other").reason != "");
  CHECK(world.Say("scripted").done);
  CHECK(world.gateway->Ready());
}

TEST_CASE("A stop waits for no model of the registry that is being loaded") {
  InstanceOptions options;
  options.memory_bytes = std::int64_t{1} << 42;
  World world(options);
  const std::string file = world.installation.models_dir() + "/large.gguf";
  REQUIRE(base::WriteFileAtomically(file, tollgate::inference::test::Gguf::Tiny().Bytes(), 0644).ok());
  std::filesystem::resize_file(file, std::uintmax_t{1} << 40);  // Of which the disk holds next to nothing, and which takes long to read.
  REQUIRE(world.Cli({"models", "add", "large", "--file", "large.gguf", "--sha256", std::string(64, 'a')}).code == 0);
  auto load = std::async(std::launch::async, [&] { return world.Cli({"models", "load", "large"}); });
  REQUIRE(world.gateway->process().WaitForErr("loading large", std::chrono::milliseconds(30'000)));
  CHECK(world.Say("scripted").done);
  CHECK(world.gateway->Stop() == 0);
  CHECK(load.get().code != 0);
  CHECK(world.gateway->process().Err().find("model large: its load was broken off") != std::string::npos);
}

TEST_CASE("A restricted model may be used by those alone whose allow-list names it") {
  World world;
  REQUIRE(world.Cli({"models", "add", "legal", "--engine", "scripted", "--restricted"}).code == 0);
  world.Price("legal");
  REQUIRE(world.Cli({"models", "load", "legal"}).code == 0);
  CHECK(world.Say("legal").reason == "model_not_granted");
  REQUIRE(world.Cli({"models", "grant", "legal", "--team", "red", "--org", "acme"}).code == 0);
  CHECK(world.Say("legal").done);
  CHECK(world.Say("scripted").reason == "model_not_granted");
  REQUIRE(world.Cli({"models", "clear", "--team", "red", "--org", "acme"}).code == 0);
  CHECK(world.Say("legal").reason == "model_not_granted");
  REQUIRE(world.Cli({"models", "open", "legal"}).code == 0);
  CHECK(world.Say("legal").done);
}

TEST_CASE("An alias leads to its targets on every surface, falls back, and is rolled back at once; both names are on record and in usage") {
  World world;
  REQUIRE(world.Cli({"models", "add", "second", "--engine", "scripted"}).code == 0);
  world.Price("second");
  REQUIRE(world.Cli({"models", "alias", "chat", "second", "--fallback", "scripted"}).code == 0);
  for (const Surface surface : kSurfaces) {
    const Answer answer = world.Say("chat", surface);
    INFO(Name(surface) << ": " << answer.message);
    CHECK(answer.done);
    CHECK(answer.header("x-tollgate-route") == "alias=chat; model=scripted; fallback=1");
    const Story story = StoryOf(*world.admin, answer.request_id);
    CHECK(story.request.request().model_requested() == "chat");
    CHECK(story.request.request().model() == "scripted");
  }
  REQUIRE(world.Cli({"models", "load", "second"}).code == 0);
  for (const Surface surface : kSurfaces) {
    CHECK(world.Say("chat", surface).header("x-tollgate-route") == "alias=chat; model=second; share=1/1");
    CHECK(world.Say("scripted", surface).header("x-tollgate-route").empty());
  }
  REQUIRE(world.Cli({"models", "alias", "chat", "scripted"}).code == 0);
  CHECK(world.Say("chat").header("x-tollgate-route") == "alias=chat; model=scripted; share=1/1");
  REQUIRE(world.Cli({"models", "rollback", "chat", "--reason", "a test"}).code == 0);
  CHECK(world.Say("chat").header("x-tollgate-route") == "alias=chat; model=second; share=1/1");
  CHECK(world.Cli({"models", "retire", "second", "--reason", "a test"}).err.find("alias chat leads to model second") != std::string::npos);
  Books books(world.installation);
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE model_requested = 'chat' AND model = 'scripted'") == 5);
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE model_requested = 'chat' AND model = 'second'") == 5);
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE model_requested = ''") == 4);
  CHECK(books.Check() == "");
  CHECK(Reconcile(*world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("A model that fails before its first token is gone on for by its alias's fallback, on every surface, and both requests add up") {
  World world;
  REQUIRE(world.Cli({"models", "add", "second", "--engine", "scripted"}).code == 0);
  world.Price("second");
  REQUIRE(world.Cli({"models", "load", "second"}).code == 0);
  REQUIRE(world.Cli({"models", "alias", "chat", "second", "--fallback", "scripted"}).code == 0);
  world.admin->SetQuota(ScopeOf("red"), v1::QUOTA_METER_REQUESTS, v1::QUOTA_WINDOW_DAY, 1000);
  REQUIRE(Eventually([&] { return world.Say("chat").headers.contains("x-ratelimit-limit-requests"); }));
  const auto say = [&](Surface surface, const std::string& prompt) {
    return Ask(world.ports, surface, {.key = world.company.key, .prompt = prompt, .model = "chat"});
  };
  const auto remaining = [](const Answer& answer) { return std::stoi(answer.header("x-ratelimit-remaining-requests")); };
  const auto id_of = [](const std::string& bytes) { return base::Uuid::FromBytes(bytes)->ToString(); };
  int left = remaining(say(Surface::kHttpPlain, "hello"));
  for (const Surface surface : kSurfaces) {
    const Answer answer = say(surface, "!away second\n!say here");
    INFO(Name(surface) << ": " << answer.message);
    REQUIRE(answer.done);
    CHECK(answer.text == "here");
    CHECK(answer.header("x-tollgate-route") == "alias=chat; model=scripted; fallback=1; after=second");
    CHECK(remaining(answer) == --left);  // One call is one request.
    const std::string id = answer.header("x-tollgate-request-id");
    const Story failed = StoryOf(*world.admin, answer.request_id);
    const Story went_on = StoryOf(*world.admin, id);
    CHECK(failed.end.reason() == "ENGINE_FAILED");
    CHECK(id_of(failed.end.continued_as()) == id);
    CHECK(id_of(went_on.request.request().continues()) == answer.request_id);
    CHECK(went_on.request.request().continues_model() == "second");
    CHECK(went_on.prompt == failed.prompt);
    CHECK(went_on.text == "here");
    CHECK(world.Cli({"audit", "show", answer.request_id}).out.find("as request " + id) != std::string::npos);
    CHECK(world.Cli({"audit", "show", id}).out.find("goes on for request " + answer.request_id) != std::string::npos);
    const Answer late = say(surface, "!say one \n!away second");
    CHECK_FALSE(late.done);
    CHECK(late.header("x-tollgate-request-id").empty());
    --left;
  }
  CHECK(world.gateway->Metrics().find("tollgate_requests_continued_total 4\n") != std::string::npos);
  Books books(world.installation);
  CHECK(books.Check() == "");
  CHECK(Reconcile(*world.gateway, world.installation.owner_key()) == "");
  CHECK(world.gateway->Stop() == 0);
  CHECK(books.CheckBalances() == "");
}
