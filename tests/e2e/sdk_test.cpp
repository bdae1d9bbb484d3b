// OpenAI's own clients, as they come from their registries, against the gateway.
#include <catch2/catch_test_macros.hpp>

#include <filesystem>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;
namespace fs = std::filesystem;

struct World {
  World() : admin(gateway, installation.owner_key()) {
    keys.emplace_back("member", MakeCompany(admin).key);
    for (const char* team : {"spent", "busy"}) {
      admin.MakeProject(team, "app");
      keys.emplace_back(team, admin.MakeKey(team, "app", team).secret());
    }
    keys.emplace_back("auditor", admin.MakeKey("red", "app", "auditor", {"auditor"}).secret());
    admin.SetQuota(ScopeOf("spent"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 1);
    admin.SetQuota(ScopeOf("busy"), v1::QUOTA_METER_REQUESTS, v1::QUOTA_WINDOW_MINUTE, 1);
    admin.PutPolicy("version: 1\nname: test\nrules:\n  - id: no.fish\n    detect:\n      keywords: [swordfish]\n    do: block\n");
    REQUIRE(
        Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = keys[0].second, .prompt = "swordfish"}).code == 403; }));
  }
  Finished Run(std::vector<std::string> command) {
    command.push_back(fmt::format("http://127.0.0.1:{}/v1", gateway.http_port()));
    for (const auto& [name, key] : keys) command.push_back(name + "=" + key);
    return RunToEnd(std::move(command), milliseconds(90'000),
                    {.environment = {{"PYTHONDONTWRITEBYTECODE", "1"}, {"no_proxy", "127.0.0.1"}, {"NO_PROXY", "127.0.0.1"}}});
  }
  Installation installation;
  Gateway gateway{installation};
  Admin admin;
  std::vector<std::pair<std::string, std::string>> keys;
};

const std::string kSetUp = TOLLGATE_SOURCE_DIR "/build/setup/";

}  // namespace

TEST_CASE("The OpenAI SDK for Python works unmodified, errors included") {
  World world;
  const Finished run = world.Run({SdkPython(), TOLLGATE_SOURCE_DIR "/tests/e2e/sdk_python/sdk.py"});
  INFO(run.out << run.err);
  CHECK(run.code == 0);
  CHECK(run.out.find("checks with openai") != std::string::npos);
  CHECK(Eventually([&] { return Books(world.installation).Open() == 0; }));
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("The OpenAI SDK for Node works unmodified, errors included") {
  World world;
  const std::string modules = fs::canonical(kSetUp + "node_modules").parent_path().string();
  const Finished run = world.Run({kSetUp + "node/node", TOLLGATE_SOURCE_DIR "/tests/e2e/sdk_node/sdk.mjs", modules});
  INFO(run.out << run.err);
  CHECK(run.code == 0);
  CHECK(run.out.find(" checks") != std::string::npos);
  CHECK(Eventually([&] { return Books(world.installation).Open() == 0; }));
  CHECK(Books(world.installation).Check() == "");
}
