// Clients that go away, and clients that do not read.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <regex>
#include <thread>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace {

using namespace tollgate::e2e;
namespace v1 = tollgate::v1;

struct World {
  explicit World(const InstanceOptions& options = {})
      : gateway(installation, options), admin(gateway, installation.owner_key()), key(MakeCompany(admin).key) {
    REQUIRE(Eventually([&] { return Ask(ports, Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done; }));
  }
  std::int64_t Metric(const std::string& name) {
    const std::string text = gateway.Metrics();
    std::smatch match;
    return std::regex_search(text, match, std::regex("\n" + name + R"((\{[^}]*\})? ([0-9]+))")) ? std::stoll(match[2]) : -1;
  }
  // Nothing runs, waits or is open any more.
  bool Quiet() {
    return Eventually(
               [&] {
                 return Metric("tollgate_requests_running") == 0 && Metric("tollgate_pool_running") == 0 &&
                        Metric("tollgate_pool_waiting") == 0;
               },
               milliseconds(5'000)) &&
           Eventually([&] { return Books(installation).Open() == 0; });
  }
  Installation installation;
  Gateway gateway;
  Ports ports = PortsOf(gateway);
  Admin admin;
  std::string key;
};

// A gRPC stream that its client leaves after `first` messages, or at once.
void LeaveGrpc(const World& world, const std::string& prompt, int first, const std::function<void()>& before_leaving) {
  const auto stub = v1::Inference::NewStub(ChannelTo(world.ports.grpc));
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + world.key);
  v1::ChatRequest request;
  request.set_model("scripted");
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts(prompt);
  const auto reader = stub->ChatStream(&context, request);
  v1::ChatChunk chunk;
  for (int i = 0; i < first; ++i) REQUIRE(reader->Read(&chunk));
  before_leaving();
  context.TryCancel();
  while (reader->Read(&chunk)) {
  }
  CHECK(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
}

}  // namespace

TEST_CASE("A client that goes away before the first token ends its request") {
  World world;
  Books books(world.installation);
  const auto running = [&] { REQUIRE(Eventually([&] { return world.Metric("tollgate_pool_running") == 1; })); };
  for (const bool stream : {false, true}) {
    for (const bool reset : {false, true}) {
      HttpConnection connection(world.ports.http);
      connection.Send(PostChat({.key = world.key, .prompt = "!hang", .stream = stream}));
      running();
      reset ? connection.Reset() : connection.Close();
      CHECK(world.Quiet());
      CHECK(books.Reasons().back() == "CLIENT_GONE");
    }
  }
  LeaveGrpc(world, "!hang", 0, running);
  CHECK(world.Quiet());
  CHECK(books.Reasons().back() == "CLIENT_GONE");
  CHECK(books.Check() == "");
  CHECK(Ask(world.ports, Surface::kGrpcUnary, {.key = world.key, .prompt = "hello"}).done);
}

TEST_CASE("A client that goes away in mid-stream: decoding stops, and what was decoded is billed") {
  World world;
  Books books(world.installation);
  for (const Surface surface : {Surface::kGrpcStream, Surface::kHttpStream}) {
    INFO(Name(surface));
    const std::int64_t before = books.TokensUsed();
    const Answer answer = Ask(
        world.ports, surface,
        {.key = world.key, .prompt = "!pace_ms 1\n!tokens 1000000", .on_text = [](const std::string& text) { return text.size() < 200; }});
    CHECK_FALSE(answer.done);
    CHECK(world.Quiet());
    const Story story = StoryOf(world.admin, answer.request_id);
    CHECK(story.end.reason() == "CLIENT_GONE");
    CHECK(story.text.starts_with(answer.text));
    CHECK(story.end.tokens().output() >= static_cast<std::int64_t>(answer.text.size() / 5));
    CHECK(story.end.tokens().output() < 5000);
    CHECK(story.end.tokens().delivered() <= story.end.tokens().output());
    CHECK(books.TokensUsed() - before == story.end.tokens().input() + story.end.tokens().output());
  }
  LeaveGrpc(world, "!pace_ms 1\n!tokens 1000000", 3, [] {});
  CHECK(world.Quiet());
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}

TEST_CASE("A client that goes away while it waits for a slot leaves the queue, and pays nothing") {
  World world({.slots = 2});
  Books books(world.installation);
  HttpConnection first(world.ports.http), second(world.ports.http);
  for (HttpConnection* holder : {&first, &second}) holder->Send(PostChat({.key = world.key, .prompt = "!hang"}));
  REQUIRE(Eventually([&] { return world.Metric("tollgate_pool_running") == 2; }));
  HttpConnection plain(world.ports.http), stream(world.ports.http);
  plain.Send(PostChat({.key = world.key, .prompt = "hello"}));
  stream.Send(PostChat({.key = world.key, .prompt = "hello", .stream = true}));
  REQUIRE(Eventually([&] { return world.Metric("tollgate_pool_waiting") == 2; }));
  plain.Close();
  stream.Reset();
  CHECK(Eventually([&] { return world.Metric("tollgate_pool_waiting") == 0; }));
  LeaveGrpc(world, "hello", 0, [&] { REQUIRE(Eventually([&] { return world.Metric("tollgate_pool_waiting") == 1; })); });
  CHECK(Eventually([&] { return world.Metric("tollgate_pool_waiting") == 0; }));
  CHECK(Eventually([&] { return books.Open() == 2; }));
  CHECK(books.Count("SELECT count(*) FROM metering.usage WHERE input_tokens + output_tokens = 0") == 3);
  first.Close();
  second.Close();
  CHECK(world.Quiet());
  CHECK(books.Check() == "");
  CHECK(Ask(world.ports, Surface::kHttpStream, {.key = world.key, .prompt = "hello"}).done);
}

TEST_CASE("A client that does not read costs bounded memory and harms nobody") {
  World world({.context_tokens = 1'048'576});
  const std::int64_t rss_before = world.gateway.process().ResidentKib();
  std::vector<std::unique_ptr<HttpConnection>> slow;
  for (int i = 0; i < 3; ++i) {
    slow.push_back(std::make_unique<HttpConnection>(world.ports.http, milliseconds(30'000), 4096));
    slow.back()->Send(PostChat({.key = world.key, .prompt = "!tokens 1040000", .stream = true}));
  }
  const auto stub = v1::Inference::NewStub(ChannelTo(world.ports.grpc));
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + world.key);
  v1::ChatRequest request;
  request.set_model("scripted");
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts("!tokens 1040000");
  const auto reader = stub->ChatStream(&context, request);
  REQUIRE(Eventually([&] { return world.Metric("tollgate_pool_running") == 4; }));

  for (int i = 0; i < 40; ++i) {
    const Answer answer = Ask(world.ports, kSurfaces[i % 4], {.key = world.key, .prompt = "!tokens 100", .patience = milliseconds(10'000)});
    INFO(Name(kSurfaces[i % 4]) << " " << answer.code << " " << answer.message);
    CHECK(answer.text.size() == 500);
  }
  // Whoever is not read from is parked: they hold their slots, and no output is made for them.
  const bool parked = Eventually([&] { return world.Metric("tollgate_pool_parked") >= 4; }, milliseconds(30'000));
  INFO(world.gateway.Metrics());
  CHECK(parked);
  const std::int64_t grown = world.gateway.process().ResidentKib() - rss_before;
  WARN(fmt::format("four slow readers: {} KiB", grown));
  CHECK(grown < 128 * 1024);  // On a busy machine the allocator has not given back yet what passed through before they were parked.
  slow.clear();
  context.TryCancel();
  v1::ChatChunk chunk;
  while (reader->Read(&chunk)) {
  }
  reader->Finish();
  CHECK(world.Quiet());
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("A request that outlives its deadline ends with a record and a bill") {
  World world;
  const auto stub = v1::Inference::NewStub(ChannelTo(world.ports.grpc));
  const Answer answer =
      Ask(world.ports, Surface::kGrpcStream, {.key = world.key, .prompt = "!pace_ms 10\n!tokens 100000", .patience = milliseconds(600)});
  CHECK(answer.code == 4);
  CHECK_FALSE(answer.text.empty());
  CHECK(world.Quiet());
  const Story story = StoryOf(world.admin, answer.request_id);
  CHECK((story.end.reason() == "DEADLINE" || story.end.reason() == "CLIENT_GONE"));
  CHECK(story.end.tokens().output() > 0);
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("Four hundred clients at once are all answered, over a few database connections") {
  World world({.slots = 64, .queue_max = 1000});
  std::vector<std::unique_ptr<HttpConnection>> clients;
  for (int i = 0; i < 400; ++i) clients.push_back(std::make_unique<HttpConnection>(world.ports.http, milliseconds(60'000)));
  for (std::size_t i = 0; i < clients.size(); ++i) {
    clients[i]->Send(PostChat({.key = world.key, .prompt = i % 2 == 0 ? "one two three" : "!pace_ms 1\n!tokens 20", .stream = i % 3 == 0}));
  }
  Books books(world.installation);
  const std::int64_t sessions = books.Count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()");
  int done = 0;
  for (const auto& client : clients) {
    const HttpReply reply = client->Read();
    done += reply.status == 200 && reply.complete ? 1 : 0;
  }
  CHECK(done == 400);
  CHECK(sessions < 20);
  CHECK(books.Open() == 0);
  CHECK(books.Count("SELECT count(*) FROM metering.usage") == 401);
  CHECK(books.Check() == "");
  CHECK(Reconcile(world.gateway, world.installation.owner_key()) == "");
}
