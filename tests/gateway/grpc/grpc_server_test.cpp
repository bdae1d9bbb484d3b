#include "gateway/grpc/grpc_server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <string>

#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/raw_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
constexpr char kServing[] = "\x08\x01";
constexpr char kNotServing[] = "\x08\x02";

// grpc.health.v1.HealthCheckRequest{service}.
std::string HealthRequest(const std::string& service) {
  if (service.empty()) return "";
  return std::string("\x0a") + static_cast<char>(service.size()) + service;
}

class Models final : public v1::Models::CallbackService {
 public:
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListModelsRequest*, v1::ListModelsReply* reply) override {
    reply->add_models()->set_name("from the service");
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

struct Fixture {
  explicit Fixture(grpc_front::GrpcServerOptions options = {}) : server(std::move(options), io) {
    server.AddService("tollgate.v1.Models", &models);
    REQUIRE(server.Start().ok());
    channel = NewChannel(server.port());
  }
  bool ListWorks() {
    auto stub = v1::Models::NewStub(channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context.set_wait_for_ready(true);
    v1::ListModelsReply reply;
    return stub->List(&context, {}, &reply).ok() && reply.models(0).name() == "from the service";
  }

  net::IoThreads io{1};
  Models models;
  grpc_front::GrpcServer server;
  std::shared_ptr<grpc::Channel> channel;
};

// What is printed on standard error while it lives.
class CapturedStderr {
 public:
  CapturedStderr() : file_(std::tmpfile()), before_(dup(STDERR_FILENO)) {
    std::fflush(stderr);
    dup2(fileno(file_), STDERR_FILENO);
  }
  ~CapturedStderr() {
    dup2(before_, STDERR_FILENO);
    close(before_);
    std::fclose(file_);
  }
  std::string text() {
    std::fflush(stderr);
    std::string out;
    std::rewind(file_);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) out += static_cast<char>(c);
    return out;
  }

 private:
  std::FILE* file_;
  int before_;
};

}  // namespace

TEST_CASE("Any service can be added, and is served behind our own listener") {
  Fixture f;
  CHECK(f.ListWorks());
  CHECK(f.server.listener().accepted() == 1);
  CHECK(f.server.listener().open() == 1);
}

TEST_CASE("Health knows each service, follows SetServing, and does not know others") {
  Fixture f;
  for (const std::string service : {"", "tollgate.v1.Models"}) {
    f.server.SetServing(true);
    CHECK(CallGeneric(f.channel, kCheck, HealthRequest(service)).messages.at(0) == kServing);
    f.server.SetServing(false);
    CHECK(CallGeneric(f.channel, kCheck, HealthRequest(service)).messages.at(0) == kNotServing);
  }
  CHECK(CallGeneric(f.channel, kCheck, HealthRequest("tollgate.v1.Nothing")).status.error_code() == grpc::NOT_FOUND);
}

TEST_CASE("A health watch sees the change, and does not hold up a shutdown beyond its deadline") {
  Fixture f;
  GenericCall watch(f.channel, kWatch, HealthRequest("tollgate.v1.Models"), 1000);
  REQUIRE(watch.AwaitMessages(1));
  f.server.SetServing(false);
  REQUIRE(watch.AwaitMessages(2));
  f.server.Shutdown(std::chrono::milliseconds(1));
  const GenericReply reply = watch.Await();
  CHECK(reply.messages[0] == kServing);
  CHECK(reply.messages[1] == kNotServing);
}

TEST_CASE("Reflection is there once where it is on, and not at all where it is off, in one process") {
  CapturedStderr captured;
  grpc_front::GrpcServerOptions on;
  on.reflection = true;
  Fixture with(on), without;
  const std::string list_services("\x3a\x00", 2);  // ServerReflectionRequest{list_services: ""}.
  const GenericReply listed = CallGeneric(with.channel, kReflection, list_services, 1);
  REQUIRE(listed.messages.size() == 1);
  CHECK(listed.messages[0].find("tollgate.v1.Models") != std::string::npos);
  CHECK(CallGeneric(without.channel, kReflection, list_services, 1).status.error_code() == grpc::UNIMPLEMENTED);
  CHECK(captured.text() == "");
}

TEST_CASE("Reflection describes the health service, so that generic clients can ask it") {
  grpc_front::GrpcServerOptions on;
  on.reflection = true;
  Fixture with(on);
  for (const std::string symbol : {"grpc.health.v1.Health", "grpc.health.v1.Health.Check", "grpc.health.v1.HealthCheckRequest"}) {
    const std::string file_containing_symbol = std::string("\x22") + static_cast<char>(symbol.size()) + symbol;
    const GenericReply reply = CallGeneric(with.channel, kReflection, file_containing_symbol, 1);
    REQUIRE(reply.messages.size() == 1);
    // ServerReflectionResponse.file_descriptor_response with a FileDescriptorProto in it.
    for (const char* part : {"grpc/health/v1/health.proto", "HealthCheckResponse", "ServingStatus", "Watch"})
      CHECK(reply.messages[0].find(part) != std::string::npos);
  }
}

TEST_CASE("With every descriptor taken gRPC clients are closed, and service returns unaided") {
  grpc_front::GrpcServerOptions options;
  options.listener.descriptors_reserved = 0;
  Fixture f(options);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  std::vector<RawClient> clients(5);
  std::vector<int> fillers;
  rlimit low = before;
  low.rlim_cur = 256;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) fillers.push_back(fd);
  for (RawClient& client : clients) {
    CHECK(client.Connect(f.server.port()));
    CHECK(client.AtEnd());
  }
  for (const int fd : fillers) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK(f.server.listener().refused() == 5);
  CHECK(f.ListWorks());
}

TEST_CASE("Connections beyond the limit are closed, and a place is free again when gRPC closes one") {
  grpc_front::GrpcServerOptions options;
  options.listener.connections_max = 1;
  Fixture f(options);
  CHECK(f.ListWorks());
  RawClient second(f.server.port());
  CHECK(second.AtEnd());
  f.channel.reset();  // Its connection closes; the server notices in its own time.
  f.channel = NewChannel(f.server.port());
  CHECK(f.ListWorks());
}

TEST_CASE("Bytes that are no HTTP/2 close their connection alone") {
  Fixture f;
  RawClient client(f.server.port());
  client.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  client.ReadToEnd();
  CHECK(f.ListWorks());
}

TEST_CASE("A port that is taken refuses the start") {
  Fixture f;
  grpc_front::GrpcServerOptions options;
  options.listener.port = f.server.port();
  grpc_front::GrpcServer second(options, f.io);
  CHECK_FALSE(second.Start().ok());
}
