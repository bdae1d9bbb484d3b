// The real `tollgate serve` in front of two servers that know it by its certificate, all of it set in tollgate.yaml: prompts stay with the
// server that knows them and give way under load, and a certificate that is refused is told to the caller and the operator.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/inference/tiny_model.h"
#include "tests/support/certificates.h"
#include "tests/support/scripted_upstream.h"

namespace {

using namespace tollgate::e2e;
using tollgate::test::Gate;
using tollgate::test::ScriptedUpstream;
namespace json = boost::json;

// Two servers of one authority, and an instance that may have a certificate of another.
struct World {
  explicit World(const char* issuer)
      : gateway(installation, OptionsOf(issuer)),
        ports(PortsOf(gateway)),
        admin(gateway, installation.owner_key()),
        company(MakeCompany(admin, "big")) {}

  InstanceOptions OptionsOf(const std::string& issuer) {
    const auto client = (issuer == "ours" ? ours : other).Issue("client", "DNS:tollgate");
    const std::string bearer = folder.File("bearer");
    REQUIRE(tollgate::base::WriteFileAtomically(bearer, "open-sesame\n", 0600).ok());
    InstanceOptions options;
    options.model_name = "big";
    options.model_file = tollgate::inference::test::TinyModel("llama").WriteTo(folder).file;
    options.context_tokens = 2048;
    options.upstreams = {a.url(), b.url()};
    options.upstream = {{"ca_file", ours.file()},
                        {"certificate_file", client.certificate},
                        {"key_file", client.key},
                        {"bearer_file", bearer},
                        {"health_interval_ms", "100"}};
    return options;
  }

  void Serve(ScriptedUpstream::Exchange& exchange) {
    const auto input = json::parse(exchange.request().body).at("prompt").as_array().size();
    if (hold) gate.Wait();
    exchange.Begin();
    exchange.Write("data: {\"choices\":[{\"index\":0,\"text\":\"yes\",\"finish_reason\":\"stop\"}]}\n\n");
    exchange.Write(
        fmt::format("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":4}}}}\n\ndata: [DONE]\n\n", input));
    exchange.End();
  }

  Answer Say(const std::string& prompt) { return Ask(ports, Surface::kHttpPlain, {.key = company.key, .prompt = prompt, .model = "big"}); }

  Installation installation;
  tollgate::test::TempDir folder;
  tollgate::test::TestAuthority ours{folder, "ours"}, other{folder, "other"};
  std::atomic<bool> hold{false};
  Gate gate;
  tollgate::test::CertificateFiles own = ours.Issue("server");
  tollgate::test::TlsFiles tls{own.certificate, own.key, ours.file()};
  ScriptedUpstream a{[this](ScriptedUpstream::Exchange& exchange) { Serve(exchange); }, false, tls};
  ScriptedUpstream b{[this](ScriptedUpstream::Exchange& exchange) { Serve(exchange); }, false, tls};
  Gateway gateway;
  Ports ports;
  Admin admin;
  Company company;
};

}  // namespace

TEST_CASE(
    "Two servers that know us by our certificate share a model: a prompt stays with one, and what it cannot take at once the other does") {
  World world("ours");
  REQUIRE(Eventually([&] { return world.Say("warm up").done; }));
  for (const char* prompt : {"one", "two", "three", "four", "five"}) {
    const std::size_t a = world.a.requests().size(), b = world.b.requests().size();
    for (int i = 0; i < 4; ++i) REQUIRE(world.Say(prompt).text == "yes");
    const std::size_t of_a = world.a.requests().size() - a, of_b = world.b.requests().size() - b;
    INFO(of_a << " and " << of_b);
    CHECK(std::max(of_a, of_b) == 4);
    CHECK(std::min(of_a, of_b) == 0);
  }
  const std::size_t a = world.a.requests().size(), b = world.b.requests().size();
  world.hold = true;
  std::vector<Answer> answers(4);
  std::vector<std::thread> threads;
  for (Answer& answer : answers) threads.emplace_back([&] { answer = world.Say("one"); });
  world.a.WaitForRequests(a + 2);
  world.b.WaitForRequests(b + 2);
  world.gate.Open();
  for (std::thread& thread : threads) thread.join();
  for (const Answer& answer : answers) CHECK(answer.text == "yes");
  CHECK(world.a.requests().size() == a + 2);
  CHECK(world.b.requests().size() == b + 2);
  CHECK(world.a.requests().back().headers.at("authorization") == "Bearer open-sesame");
  CHECK(world.gateway.Metrics().find("tollgate_upstream_usage_differences_total{model=\"big\"} 0\n") != std::string::npos);
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("Servers that refuse our certificate get nothing of a prompt: the caller is told to try again and the operator what to check") {
  World world("other");
  Answer refused;
  REQUIRE(Eventually([&] { return (refused = world.Say("what nobody may read")).code == 503; }));
  INFO(refused.message);
  CHECK(refused.message.find("check certificate_file and key_file") != std::string::npos);
  for (const std::string& secret : {std::string("open-sesame"), world.folder.path()})
    CHECK(refused.message.find(secret) == std::string::npos);
  CHECK(world.a.requests().empty());
  CHECK(world.b.requests().empty());
  const Story story = StoryOf(world.admin, refused.request_id);
  CHECK(story.end.reason() == "ENGINE_FAILED");
  CHECK(story.end.amount_nanos() == 0);
  CHECK(story.end.server_usage().answers() == 0);
  CHECK(Books(world.installation).Check() == "");
}
