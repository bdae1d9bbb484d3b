// Whatever is sent, the answer says what is wrong, the program stays up, and nothing is on record of what never became a request.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <random>
#include <regex>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/support/random.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace v1 = tollgate::v1;
namespace test = tollgate::test;

constexpr int kBodyMax = 256 * 1024;

struct World {
  explicit World(const Spawning& how = {})
      : gateway(installation,
                {.context_tokens = 1'000'000,
                 .extra = {{"requests.body_bytes_max", std::to_string(kBodyMax)}, {"requests.messages_max", "64"}}},
                how),
        admin(gateway, installation.owner_key()),
        key(MakeCompany(admin).key) {
    REQUIRE(Eventually([&] { return Good(); }));
  }
  bool Good() {
    return Ask(ports, Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done &&
           Ask(ports, Surface::kGrpcUnary, {.key = key, .prompt = "hello"}).done;
  }
  HttpReply Send(const std::string& bytes) {
    HttpConnection connection(ports.http, milliseconds(10'000));
    connection.Send(bytes);
    return connection.Read();
  }
  HttpReply SendBody(const std::string& body) { return Send(Post("/v1/chat/completions", key, body, "Connection: close\r\n")); }

  Installation installation;
  Gateway gateway;
  Ports ports = PortsOf(gateway);
  Admin admin;
  std::string key;
};

std::string With(const std::string& fields) { return R"({"model":"scripted","messages":[{"role":"user","content":"hi"}])" + fields + "}"; }

std::string Nested(int depth) {
  std::string out = R"({"model":"scripted","messages":[{"role":"user","content":"hi"}],"metadata":)";
  return out + std::string(depth, '[') + std::string(depth, ']') + "}";
}

}  // namespace

TEST_CASE("Bad HTTP requests are refused by name, and never recorded") {
  World world;
  struct Row {
    std::string body;
    int status;
    std::string says;  // Somewhere in the message or param.
  };
  const Row rows[] = {
      {"", 400, ""},
      {"{", 400, ""},
      {"null", 400, ""},
      {"[]", 400, ""},
      {"{}", 400, "model"},
      {R"({"model":"scripted"})", 400, "messages"},
      {R"({"model":"scripted","messages":[]})", 400, "messages"},
      {R"({"model":7,"messages":[{"role":"user","content":"hi"}]})", 400, "model"},
      {R"({"model":"scripted","messages":[{"role":"wizard","content":"hi"}]})", 400, "role"},
      {R"({"model":"scripted","messages":[{"role":"user","content":7}]})", 400, "content"},
      {R"({"model":"scripted","model":"scripted","messages":[{"role":"user","content":"hi"}]})", 400, "model"},
      {"{\"model\":\"scripted\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}", 400, "not UTF-8"},
      {"{\"model\":\"scripted\",\"messages\":[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}", 400, "not UTF-8"},
      {R"({"model":"scripted","messages":[{"role":"user","content":"\ud800"}]})", 400, ""},
      {Nested(100'000), 400, "deeper than"},
      {Nested(40), 400, "deeper than"},
      {With(R"(,"temprature":1)"), 400, "temprature"},
      {With(R"(,"temperature":9)"), 400, "temperature"},
      {With(R"(,"temperature":"hot")"), 400, "temperature"},
      {With(R"(,"top_p":0)"), 400, "top_p"},
      {With(R"(,"max_tokens":-5)"), 400, "max_tokens"},
      {With(R"(,"max_tokens":1e99)"), 400, "max_tokens"},
      {With(R"(,"presence_penalty":3)"), 400, "presence_penalty"},
      {With(R"(,"stop":["a","b","c","d","e"])"), 400, "stop"},
      {With(R"(,"stop":[""])"), 400, "stop"},
      {With(R"(,"n":9)"), 400, "must be at least 1 and at most"},
      {With(R"(,"tools":[{"type":"function","function":{"name":"f g"}}])"), 400, "tools"},
      {With(R"(,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required")"), 400, "tool_choice"},
      {With(R"(,"max_reasoning_tokens":-1)"), 400, "max_reasoning_tokens"},
      {With(R"(,"grammar":"root ::= root")"), 403, "grammar"},
      {With(R"(,"response_format":{"type":"json_object"})"), 400, "response_format"},
      {With(R"(,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"thing"}}})"), 400, "response_format"},
      {With(R"(,"logprobs":"yes")"), 400, "logprobs"},
      {With(R"(,"logprobs":true,"top_logprobs":21)"), 400, "top_logprobs"},
      {With(R"(,"logit_bias":{"1":500})"), 400, "logit_bias"},
      {With(R"(,"logit_bias":{"2000000000":5})"), 400, "logit_bias"},
      {With(R"(,"stream":"yes")"), 400, "stream"},
      {R"({"model":"scripted","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]})", 400,
       "image"},
      {R"({"model":"scripted","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]})", 400, "audio"},
      {R"({"model":"nope","messages":[{"role":"user","content":"hi"}]})", 404, "nope"},
      {With(R"(,"user":")" + std::string(300, 'u') + "\""), 400, "user"},
      {With(",\"metadata\":{\"a\":\"" + std::string(kBodyMax, 'x') + "\"}"), 413, ""},
  };
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  for (const Row& row : rows) {
    const HttpReply reply = world.SendBody(row.body);
    INFO(row.body.substr(0, 200) << "\n-> " << reply.status << " " << reply.body);
    CHECK(reply.status == row.status);
    CHECK(reply.complete);
    CHECK_FALSE(JsonAt(reply.body, "error.message").empty());
    CHECK_FALSE(JsonAt(reply.body, "error.type").empty());
    CHECK((JsonAt(reply.body, "error.message") + " " + JsonAt(reply.body, "error.param")).find(row.says) != std::string::npos);
    const auto retry = reply.headers.find("x-should-retry");
    CHECK((retry != reply.headers.end() && retry->second == "false"));
  }
  CHECK(books.Requests() == before);
  CHECK(world.Good());
}

TEST_CASE("A body of the configured size passes, and one byte more is refused") {
  World world;
  const std::string frame = ChatBody({.model = "scripted", .prompt = ""});
  const std::string word = "word ";
  std::string prompt;
  while (frame.size() + prompt.size() + word.size() <= kBodyMax) prompt += word;
  prompt.append(kBodyMax - frame.size() - prompt.size(), 'x');
  HttpReply reply = world.SendBody(ChatBody({.model = "scripted", .prompt = prompt, .max_tokens = 0}));
  INFO(reply.status << " " << reply.body.substr(0, 300));
  CHECK(reply.status == 200);
  CHECK(JsonAt(reply.body, "choices.0.message.content") == prompt);
  CHECK(world.SendBody(ChatBody({.model = "scripted", .prompt = prompt + "x"})).status == 413);
  // Announced by its length, or in chunks that never say how long it will be.
  CHECK(world
            .Send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + world.key +
                  "\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{")
            .status == 413);
  std::string chunked = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + world.key +
                        "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 10; ++i) chunked += "8000\r\n" + std::string(0x8000, ' ') + "\r\n";
  CHECK(world.Send(chunked).status == 413);
  const Answer grpc = Ask(world.ports, Surface::kGrpcUnary, {.key = world.key, .prompt = std::string(kBodyMax + 100, 'x')});
  CHECK(grpc.code == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(world.Good());
}

TEST_CASE("What is not HTTP, or half of it, or a storm of random bytes, harms nobody") {
  World world;
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::string head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n";
  CHECK(world.Send("GET / HTTP/9.9\r\n\r\n").status == 400);
  CHECK(world.Send("\x16\x03\x01 hello\r\n\r\n").status == 400);
  CHECK(world.Send(head + "X: " + std::string(64 * 1024, 'a') + "\r\n\r\n").status == 431);
  CHECK(world.Send("GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n").status == 404);
  CHECK(world.Send("DELETE /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n").status == 405);
  const std::string text = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
  CHECK(world.Send(head + text).status == 401);  // The key comes first.
  CHECK(world.Send(head + "Authorization: Bearer " + world.key + "\r\n" + text).status == 415);
  CHECK(world.Send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").status == 404);  // Tenants' names are not for clients.
  // Two ways of saying where the body ends: whoever stands in front may read the other one.
  CHECK(world.Send(head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status == 400);
  CHECK(world.Send(head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello").status == 400);
  for (int i = 0; i < 200; ++i) {
    std::string bytes(random() % 600, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    HttpConnection http(world.ports.http, milliseconds(2000)), grpc(world.ports.grpc, milliseconds(2000));
    http.Send(i % 2 == 0 ? bytes : head + bytes);
    grpc.Send(i % 3 == 0 ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes : bytes);
    if (i % 4 == 0) http.Reset();
  }
  // A valid request with a few bytes changed.
  const std::string good = PostChat({.key = world.key, .prompt = "hello there", .more_headers = "Connection: close\r\n"});
  for (int i = 0; i < 200; ++i) {
    std::string bytes = good;
    for (std::uint64_t k = 0; k <= random() % 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    HttpConnection http(world.ports.http, milliseconds(300));
    http.Send(bytes);
    http.Shutdown();
    http.ReadToEnd();
  }
  CHECK(world.gateway.process().Running());
  CHECK(world.Good());
  CHECK(Eventually([&] { return Books(world.installation).Open() == 0; }));
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("Bad gRPC requests are refused by field") {
  World world;
  struct Row {
    std::function<void(v1::ChatRequest&)> change;
    grpc::StatusCode code;
    const char* says;
  };
  using enum grpc::StatusCode;
  const Row rows[] = {
      {[](auto& r) { r.set_model(""); }, INVALID_ARGUMENT, "model"},
      {[](auto& r) { r.set_model("nope"); }, NOT_FOUND, "nope"},
      {[](auto& r) { r.clear_messages(); }, INVALID_ARGUMENT, "messages"},
      {[](auto& r) { r.mutable_messages(0)->clear_role(); }, INVALID_ARGUMENT, "role"},
      {[](auto& r) { r.mutable_messages(0)->set_role(static_cast<v1::Role>(99)); }, INVALID_ARGUMENT, "role"},
      {[](auto& r) { r.mutable_messages(0)->set_name(std::string(65, 'n')); }, INVALID_ARGUMENT, "name"},
      {[](auto& r) { r.mutable_messages(0)->set_parts(0, "\xff"); }, INVALID_ARGUMENT, ""},
      {[](auto& r) {
         for (int i = 0; i < 80; ++i) *r.add_messages() = r.messages(0);
       },
       INVALID_ARGUMENT, "messages"},
      {[](auto& r) { r.set_max_tokens(-1); }, INVALID_ARGUMENT, "max_tokens"},
      {[](auto& r) { r.mutable_sampling()->set_temperature(-1); }, INVALID_ARGUMENT, "temperature"},
      {[](auto& r) { r.mutable_sampling()->set_temperature(NAN); }, INVALID_ARGUMENT, "temperature"},
      {[](auto& r) { r.mutable_sampling()->set_top_p(INFINITY); }, INVALID_ARGUMENT, "top_p"},
      {[](auto& r) { r.mutable_sampling()->set_top_k(-1); }, INVALID_ARGUMENT, "top_k"},
      {[](auto& r) {
         for (int i = 0; i < 5; ++i) r.add_stop("s");
       },
       INVALID_ARGUMENT, "stop"},
      {[](auto& r) { r.add_stop(std::string(129, 's')); }, INVALID_ARGUMENT, "stop"},
      {[](auto& r) { r.set_end_user(std::string(257, 'u')); }, INVALID_ARGUMENT, "end_user"},
      {[](auto& r) { r.set_client_request_id(std::string(129, 'i')); }, INVALID_ARGUMENT, "client_request_id"},
  };
  const auto stub = v1::Inference::NewStub(ChannelTo(world.ports.grpc));
  Books books(world.installation);
  const std::int64_t before = books.Requests();
  for (const Row& row : rows) {
    v1::ChatRequest request;
    request.set_model("scripted");
    request.add_messages()->set_role(v1::ROLE_USER);
    request.mutable_messages(0)->add_parts("hi");
    row.change(request);
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + world.key);
    v1::ChatReply reply;
    const grpc::Status status = stub->Chat(&context, request, &reply);
    INFO(request.ShortDebugString().substr(0, 200) << " -> " << status.error_code() << " " << status.error_message());
    CHECK(status.error_code() == row.code);
    CHECK(status.error_message().find(row.says) != std::string::npos);
  }
  CHECK(books.Requests() == before);
  CHECK(world.Good());
}

TEST_CASE("A prompt longer than the context is refused with its exact size") {
  Installation installation;
  Gateway gateway(installation, {.context_tokens = 64});
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  REQUIRE(Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "hi"}).done; }));
  for (const Surface surface : kSurfaces) {
    const Answer answer = Ask(PortsOf(gateway), surface, {.key = key, .prompt = std::string(1000, 'x')});
    CHECK(answer.code == (IsGrpc(surface) ? 3 : 400));
    CHECK(answer.reason == (IsGrpc(surface) ? "CONTEXT_LENGTH_EXCEEDED" : "context_length_exceeded"));
    CHECK(answer.message.find("64") != std::string::npos);
  }
}

TEST_CASE("The server leaves no core file: prompts and keys would be in it") {
  World world;
  rlimit core{1, 1};
  REQUIRE(::prlimit(world.gateway.process().pid(), RLIMIT_CORE, nullptr, &core) == 0);
  CHECK(core.rlim_cur == 0);
  CHECK(core.rlim_max == 0);
}

TEST_CASE("Descriptors run out, and service comes back by itself") {
  World world;
  const int pid = world.gateway.process().pid();
  const auto used =
      std::distance(std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid)), std::filesystem::directory_iterator());
  const auto most = static_cast<rlim_t>(used + 200);  // Some of them are kept for files and databases.
  const rlimit few{most, most};
  REQUIRE(::prlimit(pid, RLIMIT_NOFILE, &few, nullptr) == 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<HttpConnection>> crowd;
    for (int i = 0; i < 300; ++i)
      crowd.push_back(std::make_unique<HttpConnection>(i % 2 == 0 ? world.ports.http : world.ports.grpc, milliseconds(500)));
    for (const auto& connection : crowd) connection->Send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(world.gateway.process().Running());
    // Who looks into it, and who stops something, gets in meanwhile.
    CHECK(Get(world.gateway.probes_port(), "/healthz").status == 200);
    CHECK(world.gateway.Ready());
    const Finished stops = RunTollgate(
        {"--admin", fmt::format("127.0.0.1:{}", world.gateway.admin_port()), "--key", world.installation.owner_key(), "stop", "list"});
    INFO(stops.err);
    CHECK(stops.code == 0);
    CHECK(std::regex_search(world.gateway.Metrics(), std::regex(R"(tollgate_connections_refused_total\{surface="http"\} [1-9])")));
    crowd.clear();
    Answer http, grpc;
    const bool back = Eventually([&] {
      http = Ask(world.ports, Surface::kHttpPlain, {.key = world.key, .prompt = "hello", .patience = milliseconds(2000)});
      grpc = Ask(world.ports, Surface::kGrpcUnary, {.key = world.key, .prompt = "hello", .patience = milliseconds(2000)});
      return http.done && grpc.done;
    });
    INFO("HTTP: " << http.code << " " << http.message << "; gRPC: " << grpc.code << " " << grpc.message << "\n"
                  << world.gateway.process().Err());
    CHECK(back);
  }
  CHECK(Books(world.installation).Check() == "");
}

TEST_CASE("A rule that does not compile is refused with its line, and what was in force stays so") {
  World world;
  world.admin.PutPolicy("version: 1\nname: test\nrules:\n  - id: no.secrets\n    detect:\n      keywords: [swordfish]\n    do: block\n");
  REQUIRE(Eventually([&] { return Ask(world.ports, Surface::kHttpPlain, {.key = world.key, .prompt = "swordfish"}).code == 403; }));
  const std::string address = fmt::format("127.0.0.1:{}", world.gateway.admin_port());
  const std::pair<const char*, const char*> rows[] = {
      {"version: 1\nname: test\nrules:\n  - id: bad\n    detect:\n      regex: '(unclosed'\n    do: block\n", ":6:"},
      {"version: 1\nname: test\nrules:\n  - id: bad\n    detect:\n      regex: 'a(?=b)'\n    do: block\n", ":6:"},
      {"version: 1\nname: test\nrules:\n  - id: bad\n    detect:\n      keywords: [x]\n    do: explode\n", ":7:"},
      {"version: 1\nname: test\nrules:\n  - id: bad\n    detekt:\n      keywords: [x]\n    do: block\n", ":5:"},
      {"version: 1\nname: test\nrules:\n  - id: bad\n    detect: {keywords: [x]}\n    do: block\n    tests:\n      - text: nothing of the "
       "kind\n",
       "bad"},
      {"version: 1\nname: test\nrules: [\n", ":"}};
  for (const auto& [yaml, says] : rows) {
    const std::string file = world.installation.folder() + "/test.yaml";
    REQUIRE(base::WriteFileAtomically(file, yaml, 0644).ok());
    for (const char* command : {"check", "put"}) {
      const Finished run =
          RunTollgate({"--admin", address, "--key", world.installation.owner_key(), "--org", "acme", "policy", command, file});
      INFO(yaml << "\n" << command << " -> " << run.code << " " << run.out << run.err);
      CHECK(run.code == 1);
      CHECK(run.err.find(says) != std::string::npos);
    }
  }
  CHECK(Ask(world.ports, Surface::kHttpPlain, {.key = world.key, .prompt = "swordfish"}).code == 403);
  CHECK(world.Good());
}
