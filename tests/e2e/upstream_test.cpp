// The real `tollgate serve` in front of servers that are scripted: the same policy, record, quota and bill as for a model of its own.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <mutex>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/inference/tiny_model.h"
#include "tests/support/scripted_upstream.h"

namespace {

using namespace tollgate::e2e;
using tollgate::test::ScriptedUpstream;
namespace json = boost::json;
namespace v1 = tollgate::v1;

// Sends pieces of text as vLLM does, without the tokens' ids: every byte is a token of the generated vocabulary, and the end one more.
struct Reply {
  std::vector<std::string> pieces;
  std::int64_t lie = 0;
  bool ends = true;
  std::string usage{};  // What it says of its cost; empty: the truth, but for the lie.
  void operator()(ScriptedUpstream::Exchange& exchange) const {
    const json::object asked = json::parse(exchange.request().body).as_object();
    const std::int64_t most = asked.at("max_tokens").as_int64();
    exchange.Begin();
    std::int64_t given = 0;
    for (const std::string& piece : pieces) {
      const auto text = piece.substr(0, static_cast<std::size_t>(most - given));
      given += static_cast<std::int64_t>(text.size());
      if (!text.empty()) Event(exchange, {{"index", 0}, {"text", text}, {"finish_reason", nullptr}});
    }
    const bool stops = given < most;
    if (stops && !ends) return exchange.Cut();
    Event(exchange, {{"index", 0}, {"text", ""}, {"finish_reason", stops ? "stop" : "length"}});
    const std::string honest = fmt::format(R"({{"prompt_tokens":{},"completion_tokens":{}}})", asked.at("prompt").as_array().size(),
                                           given + (stops ? 1 : 0) + lie);
    exchange.Write(fmt::format("data: {{\"choices\":[],\"usage\":{}}}\n\ndata: [DONE]\n\n", usage.empty() ? honest : usage));
    exchange.End();
  }
  static void Event(ScriptedUpstream::Exchange& exchange, json::object choice) {
    exchange.Write("data: " + json::serialize(json::object{{"choices", json::array{std::move(choice)}}}) + "\n\n");
  }
};

struct World {
  World() : admin(gateway, installation.owner_key()), company(MakeCompany(admin, "big")) {
    REQUIRE(Eventually([&] { return Say("hello").done; }));
  }
  static InstanceOptions OptionsOf(const tollgate::test::TempDir& folder, const std::string& url) {
    InstanceOptions options;
    options.model_name = "big";
    options.model_file = tollgate::inference::test::TinyModel("llama").WriteTo(folder).file;
    options.context_tokens = 2048;
    options.upstreams = {url};
    return options;
  }
  Answer Say(const std::string& prompt, Surface surface = Surface::kHttpPlain, const std::string& key = "") {
    return Ask(ports, surface, {.key = key.empty() ? company.key : key, .prompt = prompt, .model = "big"});
  }
  void Answers(Reply to) {
    std::lock_guard lock(mu);
    reply = std::move(to);
  }
  // Promise P1, looked at from the upstream: the prompt is on record before it is asked anything.
  void Serve(ScriptedUpstream::Exchange& exchange) {
    Reply now;
    {
      std::lock_guard lock(mu);
      ++asked;
      if (Books(installation).Requests() < asked) ++too_early;
      now = reply;
    }
    if (away) return exchange.Reply(503, "");
    now(exchange);
  }

  Installation installation;
  tollgate::test::TempDir folder;
  std::mutex mu;
  Reply reply{{"Hello", " there"}};
  std::int64_t asked = 0;
  std::int64_t too_early = 0;
  std::atomic<bool> away{false};
  ScriptedUpstream server{[this](ScriptedUpstream::Exchange& exchange) { Serve(exchange); }};
  Gateway gateway{installation, OptionsOf(folder, server.url())};
  Ports ports = PortsOf(gateway);
  Admin admin;
  Company company;
};

std::string PromptOf(const ScriptedUpstream::Request& request) { return json::serialize(json::parse(request.body).at("prompt")); }

}  // namespace

TEST_CASE("What an upstream answers is on record and billed to the token on every surface, the prompt before it is asked") {
  World world;
  for (const Surface surface : kSurfaces) {
    world.Answers({{"It is ", "what", " it is."}});
    const Answer answer = world.Say("what is it?", surface);
    INFO(Name(surface) << " " << answer.code << " " << answer.message);
    REQUIRE(answer.done);
    CHECK(answer.text == "It is what it is.");
    CHECK(answer.finish == "stop");
    CHECK(answer.output == 18);
    const Story story = StoryOf(world.admin, answer.request_id);
    CHECK(story.prompt == "what is it?");
    CHECK(story.text == "It is what it is.");
    CHECK(story.end.tokens().output() == 18);
    CHECK(story.end.tokens().input() == answer.input);
    const json::value sent = json::parse(world.server.requests().back().body);
    CHECK(sent.at("prompt").as_array().size() == static_cast<std::size_t>(answer.input));
    CHECK(sent.at("model") == "upstream-model");
  }
  CHECK(world.too_early == 0);
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
  const std::string metrics = world.gateway.Metrics();
  CHECK(metrics.find("tollgate_upstream_usable{model=\"big\"} 1") != std::string::npos);
  CHECK(metrics.find("tollgate_upstream_usage_differences_total{model=\"big\"} 0") != std::string::npos);
  CHECK(world.gateway.Stop() == 0);
  CHECK(Books(world.installation).CheckBalances() == "");
}

TEST_CASE("Policy holds in front of an upstream: what is blocked never reaches it, what it says is redacted however it was cut") {
  World world;
  world.admin.PutPolicy(
      "version: 1\nname: test\nrules:\n"
      "  - id: no.plans\n    where:\n      direction: input\n    detect:\n      keywords: [forbidden]\n    do: block\n"
      "  - id: no.codes\n    where:\n      direction: output\n    detect:\n      regex: 'ZQ~[A-Z]{4,8}~[0-9]{2}'\n    do: redact\n    "
      "replacement: \"[GONE]\"\n");
  REQUIRE(Eventually([&] { return world.Say("forbidden").code == 403; }));
  const std::size_t before = world.server.requests().size();
  for (const Surface surface : kSurfaces) CHECK_FALSE(world.Say("a forbidden thing", surface).done);
  CHECK(world.server.requests().size() == before);
  const std::string code = "ZQ~JXVK~73";
  for (std::size_t cut = 1; cut < code.size(); ++cut) {
    world.Answers({{"the code is " + code.substr(0, cut), code.substr(cut) + ", keep it"}});
    for (const Surface surface : {Surface::kHttpStream, Surface::kGrpcStream}) {
      const Answer answer = world.Say("tell me", surface);
      CHECK(answer.text == "the code is [GONE], keep it");
      CHECK(answer.seen.find("JXVK") == std::string::npos);
    }
  }
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("What an upstream has said cannot be taken back: a rule that would have it written anew does what it does at once") {
  World world;
  world.admin.PutPolicy(
      "version: 1\nname: test\nrules:\n  - {id: number, where: {direction: output}, detect: {regex: '555-\\d{4}'}, do: block, retry: 3}\n");
  world.Answers({{"call 55", "5-1234", " now"}});
  REQUIRE(Eventually([&] { return world.Say("whom?").finish == "content_filter"; }));
  for (const Surface surface : kSurfaces) {
    const std::size_t before = world.server.requests().size();
    const Answer answer = world.Say("whom?", surface);
    INFO(Name(surface) << " " << answer.message);
    CHECK(answer.done);
    CHECK(answer.finish == "content_filter");
    CHECK(answer.text == "call ");
    CHECK(world.server.requests().size() == before + 1);  // It was not asked again.
    const v1::EndBody end = StoryOf(world.admin, answer.request_id).end;
    REQUIRE(end.retries_size() == 1);  // The rule gave up at once, and it is on record.
    CHECK(end.retries(0).times() == 0);
    CHECK(end.retries(0).gave_up());
    CHECK(end.tokens().discarded() == 0);
    CHECK(end.output_verdict().action() == "block");
  }
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("A budget ends an upstream's answer at its exact token, and the upstream was never allowed more") {
  World world;
  world.admin.MakeProject("lean", "app");
  const std::string key = world.admin.MakeKey("lean", "app", "lean").secret();
  world.admin.SetQuota(ScopeOf("lean"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 300);
  REQUIRE(Eventually([&] {
    return Ask(world.ports, Surface::kHttpPlain, {.key = key, .prompt = "x", .model = "none"}).headers.contains("x-ratelimit-limit-tokens");
  }));
  world.Answers({std::vector<std::string>(200, "0123456789")});
  const std::size_t before = world.server.requests().size();
  const Answer answer = world.Say("count", Surface::kHttpStream, key);
  CHECK(answer.done);
  CHECK(answer.finish == "length");
  CHECK(answer.input + answer.output == 300);
  std::int64_t allowed = 0;
  const auto requests = world.server.requests();
  CHECK(requests.size() == before + 1);  // One for the whole answer: penalties and seed are a request's.
  for (std::size_t i = before; i < requests.size(); ++i) allowed += json::parse(requests[i].body).at("max_tokens").as_int64();
  CHECK(allowed == answer.output);
  CHECK_FALSE(world.Say("more", Surface::kHttpPlain, key).done);
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("An instance whose servers are all away is not ready until one is back, and looks full to an endpoint picker meanwhile") {
  const Installation installation;
  const tollgate::test::TempDir folder;
  std::atomic<int> health{200};
  ScriptedUpstream server([&](ScriptedUpstream::Exchange& e) { e.Reply(e.request().path == "/health" ? health.load() : 503, ""); }, true);
  const Gateway gateway{installation, World::OptionsOf(folder, server.url())};
  CHECK(gateway.Metrics().find("tollgate_pool_ready{model=\"big\"} 1") != std::string::npos);
  CHECK(gateway.Metrics().find("vllm:num_requests_waiting 0\n") != std::string::npos);
  health = 503;
  REQUIRE(Eventually([&] { return !gateway.Ready(); }));
  CHECK(gateway.Metrics().find("tollgate_pool_ready{model=\"big\"} 0") != std::string::npos);
  CHECK(gateway.Metrics().find("vllm:num_requests_waiting 0\n") == std::string::npos);
  health = 200;
  CHECK(Eventually([&] { return gateway.Ready(); }));
}

TEST_CASE("What clients send for the upstream is refused; another team's salt is another") {
  World world;
  const std::size_t before = world.server.requests().size();
  for (const char* field : {",\"cache_salt\":\"mine\"", ",\"priority\":0", ",\"id_slot\":1", ",\"lora\":[]", ",\"nvext\":{}"}) {
    HttpConnection connection(world.gateway.http_port());
    REQUIRE(connection.Send(PostChat({.key = world.company.key, .model = "big", .prompt = "x", .more_fields = field})));
    CHECK(connection.Read().status == 400);
  }
  CHECK(world.server.requests().size() == before);
  world.admin.MakeProject("blue", "app");
  const std::string blue = world.admin.MakeKey("blue", "app", "blue").secret();
  REQUIRE(Eventually([&] { return world.Say("same words", Surface::kHttpPlain, blue).done; }));
  const auto of_blue = world.server.requests().back();
  REQUIRE(world.Say("same words").done);
  const auto of_red = world.server.requests().back();
  CHECK(PromptOf(of_blue) == PromptOf(of_red));
  CHECK(json::parse(of_blue.body).at("cache_salt") != json::parse(of_red.body).at("cache_salt"));
}

TEST_CASE(
    "What an upstream says that it cost is on record beside our own count, which is billed: the truth, more, less, nothing, nonsense") {
  World world;
  constexpr std::int64_t kNone = -1, kMost = 1LL << 40;
  struct Row {
    Reply reply;
    std::int64_t reported;
    bool differs;
    const char* shown;
  };
  const std::string absurd = R"({"prompt_tokens":-5,"completion_tokens":18446744073709551615})";
  const Row rows[] = {{{.pieces = {"Hello"}}, 6, false, " sent, 6 out where 6 came; ours is billed"},
                      {{.pieces = {"Hello"}, .lie = 1000}, 1006, true, "1,006 out where 6 came; it differs, and ours is billed"},
                      {{.pieces = {"Hello"}, .lie = -6}, 0, true, " sent, 0 out where 6 came; it differs"},
                      {{.pieces = {"Hello"}, .usage = "null"}, kNone, false, "none, 1 of 1 whole answers had no count; ours is billed"},
                      {{.pieces = {"Hello"}, .usage = absurd}, kMost, true, "1,099,511,627,776 out where 6 came; it differs"}};
  std::int64_t amount = 0;
  for (const Row& row : rows) {
    INFO(row.shown);
    world.Answers(row.reply);
    const Answer answer = world.Say("hello");
    REQUIRE(answer.done);
    CHECK(answer.output == 6);
    const v1::EndBody end = StoryOf(world.admin, answer.request_id).end;
    CHECK(end.tokens().output() == 6);
    CHECK(end.tokens().input() == answer.input);
    if (amount == 0) amount = end.amount_nanos();
    CHECK(end.amount_nanos() == amount);
    const v1::ServerUsage& usage = end.server_usage();
    CHECK(usage.answers() == 1);
    CHECK(usage.silent() == (row.reported == kNone ? 1 : 0));
    CHECK(usage.has_output_reported() == (row.reported != kNone));
    CHECK(usage.output_reported() == (row.reported == kNone ? 0 : row.reported));
    CHECK(usage.output_came() == (row.reported == kNone ? 0 : 6));
    CHECK(usage.has_input_reported() == (row.reported != kNone));
    CHECK(usage.input_sent() == (row.reported == kNone ? 0 : answer.input));
    CHECK(usage.input_reported() == (row.reported == kNone || row.reported == kMost ? 0 : answer.input));
    CHECK(usage.differs() == row.differs);
    const Finished shown = RunTollgate({"audit", "show", answer.request_id, "--admin",
                                        fmt::format("127.0.0.1:{}", world.gateway.admin_port()), "--key", world.installation.owner_key()});
    CHECK(shown.out.find("the server's own count: ") != std::string::npos);
    CHECK(shown.out.find(row.shown) != std::string::npos);
  }
  const auto shows = [&](const char* metric) { return world.gateway.Metrics().find(metric) != std::string::npos; };
  CHECK(Eventually([&] { return shows("tollgate_upstream_usage_differences_total{model=\"big\"} 3\n"); }));
  CHECK(shows("tollgate_upstream_usage_missing_total{model=\"big\"} 1\n"));
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("An upstream that breaks ends its request with a record of what came") {
  World world;
  world.Answers({.pieces = {"Hello"}, .ends = false});
  const Answer broken = world.Say("hello", Surface::kGrpcStream);
  CHECK_FALSE(broken.done);
  CHECK(broken.code == 14);
  const Story story = StoryOf(world.admin, broken.request_id);
  CHECK(story.end.reason() == "ENGINE_FAILED");
  CHECK(story.end.tokens().output() == 5);
  world.server.Refuse();
  Answer down;
  CHECK(Eventually([&] { return (down = world.Say("hello")).code == 503 && down.message.find("try again in") != std::string::npos; }));
  CHECK(StoryOf(world.admin, down.request_id).end.tokens().input() == 0);
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("Where no server of a model can be reached, the fallback of its alias answers; what no server read is not billed") {
  World world;
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.end(),
                 {"--admin", fmt::format("127.0.0.1:{}", world.gateway.admin_port()), "--key", world.installation.owner_key()});
    return RunTollgate(words).code;
  };
  REQUIRE(run({"models", "add", "spare", "--engine", "scripted"}) == 0);
  REQUIRE(run({"prices", "set", "spare", "--input", "0.10", "--output", "0.40"}) == 0);
  REQUIRE(run({"models", "load", "spare"}) == 0);
  REQUIRE(run({"models", "alias", "chat", "big", "--fallback", "spare"}) == 0);
  const auto say = [&](Surface surface) {
    return Ask(world.ports, surface, {.key = world.company.key, .prompt = "hello again", .model = "chat"});
  };
  REQUIRE(say(Surface::kHttpPlain).header("x-tollgate-route") == "alias=chat; model=big; share=1/1");
  world.away = true;
  for (const Surface surface : kSurfaces) {
    const Answer answer = say(surface);
    INFO(Name(surface) << " " << answer.code << " " << answer.message);
    REQUIRE(answer.done);
    CHECK(answer.text == "hello again");
    CHECK(answer.header("x-tollgate-route") == "alias=chat; model=spare; fallback=1; after=big");
    const Story failed = StoryOf(world.admin, answer.request_id);
    CHECK(failed.end.reason() == "ENGINE_FAILED");
    CHECK(failed.end.amount_nanos() == 0);
    CHECK(StoryOf(world.admin, answer.header("x-tollgate-request-id")).text == "hello again");
  }
  CHECK(Books(world.installation).Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}
