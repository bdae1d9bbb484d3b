// The service Defaults, as its callers see it.
#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/admin/served.h"
#include "tollgate/v1/defaults.grpc.pb.h"

using namespace tollgate;
using Stub = v1::Defaults::Stub;

TEST_CASE("Defaults are set, listed and removed by who may, in their own org") {
  test::Served world;
  const auto call = [&](const std::string& as, auto method, const auto& request, auto& reply) {
    return world.Call(as, v1::Defaults::NewStub(world.channel), method, request, reply);
  };
  v1::SetDefaultsRequest set;
  set.mutable_scope()->set_team("search");
  set.mutable_defaults()->set_system_prompt("Be brief.");
  set.mutable_defaults()->set_output_tokens_cap(100);
  v1::ScopeDefaults made;
  for (const char* nobody : {"member", "auditor", "finance", "author", "operator"}) {
    INFO(nobody);
    CHECK(call(nobody, &Stub::Set, set, made).error_code() == grpc::StatusCode::PERMISSION_DENIED);
  }
  REQUIRE(call("admin", &Stub::Set, set, made).ok());
  CHECK(made.version() == 1);
  CHECK(made.scope().org() == "acme");
  CHECK(made.sha256().size() == 64);
  CHECK(made.summary() == "system prompt of 9 bytes, at most 100 output tokens, what is beyond is refused");

  v1::ListDefaultsReply list;
  REQUIRE(call("auditor", &Stub::List, v1::ListDefaultsRequest(), list).ok());
  REQUIRE(list.defaults_size() == 1);
  CHECK(list.defaults(0).SerializeAsString() == made.SerializeAsString());
  REQUIRE(call("globex", &Stub::List, v1::ListDefaultsRequest(), list).ok());
  CHECK(list.defaults_size() == 0);
  v1::ListDefaultsRequest other;
  other.set_org("acme");
  CHECK(call("globex", &Stub::List, other, list).error_code() == grpc::StatusCode::NOT_FOUND);
  set.mutable_scope()->set_org("acme");
  CHECK(call("globex", &Stub::Set, set, made).error_code() == grpc::StatusCode::NOT_FOUND);

  set.mutable_defaults()->set_stop_cap(9);
  const grpc::Status refused = call("admin", &Stub::Set, set, made);
  CHECK(refused.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(refused.error_message() == "stop_cap: is 9; use 0 to 4");

  set.mutable_defaults()->set_stop_cap(4);
  set.mutable_defaults()->set_band(0);
  CHECK(call("admin", &Stub::Set, set, made).error_code() == grpc::StatusCode::PERMISSION_DENIED);
  REQUIRE(call("owner", &Stub::Set, set, made).ok());
  CHECK(made.defaults().band() == 0);
  set.mutable_defaults()->set_weight(0.5);
  REQUIRE(call("admin", &Stub::Set, set, made).ok());  // What an owner gave stays.

  v1::SetDefaultsRequest of_key;
  of_key.mutable_scope()->set_key(world.in.IdOf("acme/app"));
  of_key.mutable_defaults()->set_band(3);
  REQUIRE(call("admin", &Stub::Set, of_key, made).ok());
  CHECK(made.scope().key() == world.in.IdOf("acme/app"));
  CHECK(call("globex", &Stub::Set, of_key, made).error_code() == grpc::StatusCode::NOT_FOUND);
  REQUIRE(call("admin", &Stub::List, v1::ListDefaultsRequest(), list).ok());
  REQUIRE(list.defaults_size() == 2);
  v1::RemoveDefaultsRequest remove_key;
  *remove_key.mutable_scope() = of_key.scope();
  REQUIRE(call("admin", &Stub::Remove, remove_key, made).ok());

  v1::RemoveDefaultsRequest remove;
  remove.mutable_scope()->set_team("search");
  CHECK(call("admin", &Stub::Remove, remove, made).error_code() == grpc::StatusCode::PERMISSION_DENIED);  // It has an owner's caps by now.
  REQUIRE(call("owner", &Stub::Remove, remove, made).ok());
  REQUIRE(call("admin", &Stub::List, v1::ListDefaultsRequest(), list).ok());
  CHECK(list.defaults_size() == 0);
}
