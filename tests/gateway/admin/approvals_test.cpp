#include <future>

#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;
using World = test::Served;

TEST_CASE("A second person approves what somebody else's key asks for, on record, and nobody their own") {
  World world;
  auto stub = [&] { return v1::Policy::NewStub(world.channel); };
  const auto snapshot = Must(world.directory->InForce());
  const auto place = *snapshot->FindKey(world.in.IdOf("acme/app"));
  const gates::Ask ask{
      .org = place.org->id, .team = place.team->id, .key = place.key->id, .request = base::RequestId::New(), .approvals = {{"dump", 30}}};
  const auto pass = [&] {
    std::promise<absl::StatusOr<gates::Answer>> asked;
    world.gates->Pass(ask, [&](auto answer) { asked.set_value(std::move(answer)); });
    return Must(asked.get_future().get());
  };
  const base::Uuid id = pass().waiting.at(0).id;

  v1::ListApprovalsReply listed;
  CHECK(world.Call("member", stub(), &v1::Policy::Stub::ListApprovals, v1::ListApprovalsRequest(), listed).error_code() ==
        StatusCode::PERMISSION_DENIED);
  REQUIRE(world.Call("author", stub(), &v1::Policy::Stub::ListApprovals, v1::ListApprovalsRequest(), listed).ok());
  REQUIRE(listed.approvals_size() == 1);
  CHECK(listed.approvals(0).id() == id.ToString());
  CHECK(listed.approvals(0).state() == "pending");
  CHECK(listed.approvals(0).key() == place.key->public_id);
  CHECK(listed.approvals(0).team() == "search");
  CHECK(listed.approvals(0).request_id() == ask.request.ToString());

  v1::ApproveRequest approve;
  approve.set_id(id.ToString());
  v1::PolicyApproval approved;
  const auto call = [&](const std::string& as) {
    return world.Call(as, stub(), &v1::Policy::Stub::Approve, approve, approved).error_code();
  };
  CHECK(call("member") == StatusCode::PERMISSION_DENIED);
  CHECK(call("owner") == StatusCode::INVALID_ARGUMENT);  // No reason.
  approve.set_reason("incident 12");
  CHECK(call("globex") == StatusCode::NOT_FOUND);
  CHECK(call("owner") == StatusCode::FAILED_PRECONDITION);  // The same person's key.
  approve.set_org("acme");
  REQUIRE(call("first") == StatusCode::OK);
  CHECK(approved.state() == "granted");
  CHECK(approved.minutes() == 30);
  CHECK(call("first") == StatusCode::NOT_FOUND);  // It waits no more.

  v1::ListRecordsRequest list;
  list.add_kinds(v1::RECORD_KIND_ADMIN);
  v1::ListRecordsReply records;
  REQUIRE(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::List, list, records).ok());
  CHECK(records.records(0).record().admin().action() == "policy.approve");
  CHECK(records.records(0).record().admin().summary().find("rule dump for 30 minutes") == 0);

  CHECK(pass().passes());
  v1::RevokeApprovalRequest revoke;
  revoke.set_id(id.ToString());
  revoke.set_reason("over");
  const auto take_back = [&](const std::string& as) {
    return world.Call(as, stub(), &v1::Policy::Stub::RevokeApproval, revoke, approved).error_code();
  };
  CHECK(take_back("member") == StatusCode::PERMISSION_DENIED);
  CHECK(take_back("globex") == StatusCode::NOT_FOUND);
  REQUIRE(take_back("owner") == StatusCode::OK);
  CHECK(approved.state() == "revoked");
  CHECK(take_back("owner") == StatusCode::NOT_FOUND);
  CHECK_FALSE(pass().passes());
  REQUIRE(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::List, list, records).ok());
  CHECK(records.records(0).record().admin().action() == "policy.revoke_approval");
}

TEST_CASE("What is approved for one request is on record with the request that asked, and what waits can be turned down, on record too") {
  World world;
  const auto snapshot = Must(world.directory->InForce());
  const auto place = *snapshot->FindKey(world.in.IdOf("acme/app"));
  const auto ask = [&](const std::string& prompt) {
    const gates::Ask one{.org = place.org->id,
                         .team = place.team->id,
                         .key = place.key->id,
                         .request = base::RequestId::New(),
                         .approvals = {{"dump", 0, base::Sha256(prompt)}}};
    std::promise<absl::StatusOr<gates::Answer>> asked;
    world.gates->Pass(one, [&](auto answer) { asked.set_value(std::move(answer)); });
    return std::pair(one.request.ToString(), Must(asked.get_future().get()));
  };
  const auto newest = [&] {
    v1::ListRecordsRequest list;
    list.add_kinds(v1::RECORD_KIND_ADMIN);
    v1::ListRecordsReply records;
    REQUIRE(world.Call("auditor", v1::Audit::NewStub(world.channel), &v1::Audit::Stub::List, list, records).ok());
    return records.records(0).record().admin().summary();
  };
  const auto [request, harmless] = ask("harmless");
  v1::ApproveRequest approve;
  approve.set_id(harmless.waiting.at(0).id.ToString());
  approve.set_reason("incident 12");
  v1::PolicyApproval reply;
  approve.set_org("acme");
  REQUIRE(world.Call("first", v1::Policy::NewStub(world.channel), &v1::Policy::Stub::Approve, approve, reply).ok());
  CHECK(reply.request_id() == request);
  CHECK(newest().find("rule dump for one request, the prompt of request " + request) == 0);
  const auto [other, evil] = ask("evil");
  CHECK_FALSE(evil.passes());
  v1::RevokeApprovalRequest turn_down;
  turn_down.set_id(evil.waiting.at(0).id.ToString());
  turn_down.set_reason("not this");
  REQUIRE(world.Call("owner", v1::Policy::NewStub(world.channel), &v1::Policy::Stub::RevokeApproval, turn_down, reply).ok());
  CHECK(reply.state() == "revoked");
  CHECK(reply.granted_by().empty());
  CHECK(newest().find("turned down rule dump for one request, the prompt of request " + other) == 0);
  CHECK(ask("evil").second.waiting.at(0).id != evil.waiting.at(0).id);
  CHECK(ask("harmless").second.passes());
}
