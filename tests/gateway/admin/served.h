// The admin services, served: two orgs, a key for each role, one call in a line.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>
#include <catch2/catch_test_macros.hpp>

#include "audit/journal_postgres.h"
#include "audit/keys.h"
#include "gateway/admin/admin_services.h"
#include "gateway/gates/gates.h"
#include "gateway/net/io_threads.h"
#include "inference/pool.h"
#include "tests/gateway/admin/installation.h"
#include "tests/support/temp_dir.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/registry.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace tollgate::test {

// A pool that says what a test wants. tollgate.yaml names the model "configured".
class FakeModels final : public admin::ModelHost {
 public:
  absl::Status Check(const directory::Model&) const override { return check; }
  bool IsConfigured(std::string_view model) const override { return model == "configured"; }
  std::vector<std::string> Configured() const override { return {"configured"}; }
  Standing StandingOf(std::string_view) const override { return standing; }
  void Retry(std::string_view model) override { retried = model; }

  absl::Status check;
  Standing standing;
  std::string retried;
};

// The admin services on a port of their own, over two orgs, with a key for each role in acme and an admin's in globex.
struct Served {
  explicit Served(std::chrono::milliseconds write_timeout = std::chrono::seconds(30)) {
    keys_url = PostgresCluster::Shared().NewDatabase({"migrations/keys"});
    audit::JournalOptions options;
    options.postgres_url = in.url;
    options.keys_url = keys_url;
    options.state_dir = dir.File("state");
    options.adopt = false;
    options.build = "test";
    journal = Must(audit::PostgresJournal::Open(options));
    in.changes = in.MakeChanges(*journal);
    texts["first"] = Must(in.changes->Bootstrap(in.cli, "root@example", false))->secret;
    in.MakeOrg("acme");
    in.MakeOrg("globex");
    for (const auto& [name, role] : {std::pair("owner", directory::Role::kOwner), std::pair("admin", directory::Role::kAdmin),
                                     std::pair("author", directory::Role::kPolicyAuthor), std::pair("auditor", directory::Role::kAuditor),
                                     std::pair("finance", directory::Role::kFinance), std::pair("operator", directory::Role::kOperator),
                                     std::pair("member", directory::Role::kMember)}) {
      texts[name] = in.MakeKey("acme", name, {role});
    }
    texts["globex"] = in.MakeKey("globex", "admin", {directory::Role::kAdmin});
    directory = in.OpenDirectory();
    root_keys = Must(audit::OpenPostgresKeys(audit::RootKey::FromBytes(std::string(32, 'r')), {.url = keys_url}));
    gates = gates::OpenPostgresGates(in.As("tollgate_writer"), std::string(32, 'g'));
    admin::AdminOptions admin_options;
    admin_options.audit_postgres = in.As("tollgate_reader");
    admin_options.verify_postgres = in.As("tollgate_verifier");
    admin_options.usage_postgres = in.As("tollgate_reader");
    admin_options.audit_postgres.lock_timeout = admin_options.audit_postgres.statement_timeout = std::chrono::seconds(30);
    admin_options.usage_postgres.lock_timeout = admin_options.usage_postgres.statement_timeout = std::chrono::seconds(30);
    services = std::make_unique<admin::AdminServices>(admin_options, admin::AdminCollaborators{&identity,
                                                                                               directory.get(),
                                                                                               in.changes.get(),
                                                                                               journal.get(),
                                                                                               root_keys.get(),
                                                                                               &base::SystemClock(),
                                                                                               &io,
                                                                                               write_timeout,
                                                                                               &models,
                                                                                               [this](v1::StatusReply& status) {
                                                                                                 status.set_build("test");
                                                                                                 if (on_status) on_status();
                                                                                               },
                                                                                               gates.get(),
                                                                                               {},
                                                                                               pool.get(),
                                                                                               "test"});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    for (const auto& [name, service] : services->services()) builder.RegisterService(service);
    server = builder.BuildAndStart();
    channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  }
  ~Served() { server->Shutdown(); }

  // One call as the holder of a key; "" = without credential.
  template <typename Stub, typename Request, typename Reply>
  grpc::Status Call(const std::string& as, Stub stub,
                    grpc::Status (Stub::element_type::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request,
                    Reply& reply) {
    grpc::ClientContext context;
    if (!as.empty()) context.AddMetadata("authorization", "Bearer " + (texts.contains(as) ? texts[as] : as));
    return (stub.get()->*method)(&context, request, &reply);
  }
  template <typename Request, typename Reply>
  grpc::Status Directory(const std::string& as, grpc::Status (v1::Directory::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                         const Request& request, Reply& reply) {
    return Call(as, v1::Directory::NewStub(channel), method, request, reply);
  }

  Installation in;
  TempDir dir;
  std::string keys_url;
  std::unique_ptr<audit::PostgresJournal> journal;
  std::map<std::string, std::string> texts;
  std::unique_ptr<directory::PostgresDirectory> directory;
  std::unique_ptr<audit::Keys> root_keys;
  identity::Identity identity{in.pepper, false};
  FakeModels models;
  std::function<void()> on_status;  // Runs within each Status call, on its thread. Set before the first.
  std::unique_ptr<gates::Gates> gates;
  std::unique_ptr<inference::Pool> pool =
      Must(inference::Pool::Create({.models = {{.name = "exact", .engine = inference::EngineKind::kScripted, .strict = true}}}));
  net::IoThreads io{1};
  std::unique_ptr<admin::AdminServices> services;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<grpc::Channel> channel;
};

}  // namespace tollgate::test
