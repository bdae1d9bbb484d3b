// A server of services that answer from memory and keep what they were asked.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/cli/fake_data.h"
#include "tests/gateway/cli/fake_defaults.h"
#include "tests/gateway/cli/fake_directory.h"
#include "tests/gateway/cli/fake_embeddings.h"
#include "tests/gateway/cli/fake_policy.h"
#include "tests/gateway/cli/fake_registry.h"
#include "tests/gateway/cli/fake_usage.h"
#include "tests/gateway/cli/harness.h"

class Server {
 public:
  explicit Server(const std::shared_ptr<grpc::ServerCredentials>& credentials = grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{&directory, &defaults, &tokens, &registry, &audit, &usage, &policy,
                                                                        &system, &inference, &models, &embeddings})
      builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  Result Run(std::vector<std::string> args, const std::string& input = "", bool terminal = false) const {
    for (const char* option : {"--admin", "--api"}) args.insert(args.end(), {option, fmt::format("127.0.0.1:{}", port_)});
    args.insert(args.end(), {"--key", "secret"});
    return RunLine(args, input, {}, terminal);
  }

  int port() const { return port_; }

  FakeDirectory directory;
  FakeDefaults defaults;
  FakeTokens tokens;
  FakeRegistry registry;
  FakeAudit audit;
  FakeUsage usage;
  FakePolicy policy;
  FakeSystem system;
  FakeInference inference;
  FakeModels models;
  FakeEmbeddings embeddings;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};
