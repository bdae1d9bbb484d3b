// Who waits for whom: every thread for ordinary calls is held here by calls that do not end.
#include <future>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/gateway/admin/served.h"

using namespace tollgate;
using grpc::StatusCode;
using test::Must;

namespace {

constexpr int kThreads = 4;  // As few as there can be.

struct World : test::Served {
  World() {
    on_status = [this] {
      entered.release();
      go.acquire();
    };
  }
  ~World() {
    go.release(1000);
    calls.clear();
  }
  // Calls that each hold a thread, or wait for one.
  void Hold(const std::string& as, int count) {
    for (int i = 0; i < count; ++i) {
      calls.push_back(std::async(std::launch::async, [this, as] {
        v1::StatusReply reply;
        return Call(as, v1::System::NewStub(channel), &v1::System::Stub::Status, v1::StatusRequest(), reply);
      }));
    }
  }
  void AwaitHeld(int count) {
    for (int i = 0; i < count; ++i) entered.acquire();
  }
  template <typename Request, typename Reply>
  StatusCode Ask(const std::string& as, grpc::Status (v1::Directory::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                 const Request& request, std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    grpc::ClientContext context;
    if (!as.empty()) context.AddMetadata("authorization", "Bearer " + texts[as]);
    context.set_deadline(std::chrono::system_clock::now() + patience);
    Reply reply;
    return (v1::Directory::NewStub(channel).get()->*method)(&context, request, &reply).error_code();
  }
  StatusCode ListTeams(const std::string& as) { return Ask(as, &v1::Directory::Stub::ListTeams, v1::ListTeamsRequest()); }
  StatusCode Stop(const std::string& as) {
    v1::StopRequest stop;
    if (as == "operator") {
      stop.mutable_target()->set_everything(true);
    } else {
      stop.mutable_target()->mutable_scope()->set_team("search");
    }
    stop.set_reason("a leak");
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + texts[as]);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::EmergencyStop reply;
    return v1::System::NewStub(channel)->Stop(&context, stop, &reply).error_code();
  }

  // Who looks at acme's records or usage, of which there is some, waits from now on while lock 7 is held.
  void LetAcmeWait() {
    const auto row = test::PostgresCluster::Shared().Connect(in.url)->Run("look", "SELECT id::text FROM directory.org WHERE name = 'acme'");
    const std::string acme = "'" + Must(row).Text(0, 0) + "'";
    in.Sql(
        "INSERT INTO metering.usage (request_id, leaf_index, at_us, amount_nanos, epoch, input_tokens, cached_input_tokens, output_tokens, "
        "delivered_tokens, price_version, attempt, log_id, org_id, currency, model, end_user_hmac, leases) VALUES (gen_random_uuid(), 1, "
        "(extract(epoch FROM now()) * 1000000)::int8, 0, 0, 1, 0, 1, 1, 1, 1, 1, " +
        acme + ", 'EUR', 'm', '', '')");
    in.Sql("CREATE FUNCTION audit.waits() RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN IF current_setting('tollgate.org', true) = " +
           acme +
           " THEN PERFORM pg_advisory_xact_lock_shared(7); END IF; RETURN true; END $$;"
           "CREATE POLICY waits ON audit.record AS RESTRICTIVE FOR SELECT TO tollgate_reader USING (audit.waits());"
           "CREATE POLICY waits ON metering.usage AS RESTRICTIVE FOR SELECT TO tollgate_reader USING (audit.waits())");
  }
  StatusCode Report(const std::string& as) {
    v1::UsageReportReply reply;
    return Call(as, v1::Usage::NewStub(channel), &v1::Usage::Stub::Report, v1::UsageReportRequest(), reply).error_code();
  }
  StatusCode ListRecords(const std::string& as) {
    v1::ListRecordsReply reply;
    return Call(as, v1::Audit::NewStub(channel), &v1::Audit::Stub::List, v1::ListRecordsRequest(), reply).error_code();
  }

  std::counting_semaphore<> entered{0}, go{0};
  std::vector<std::future<grpc::Status>> calls;
};

}  // namespace

TEST_CASE("Emergency stops and revocations are made while every thread for other calls is held") {
  World world;
  world.Hold("first", kThreads);
  world.AwaitHeld(kThreads);
  CHECK(world.Stop("operator") == StatusCode::OK);
  CHECK(world.Stop("admin") == StatusCode::OK);
  v1::RevokeKeyRequest revoke;
  revoke.set_public_id(world.in.IdOf("acme/finance"));
  CHECK(world.Ask("admin", &v1::Directory::Stub::RevokeKey, revoke) == StatusCode::OK);
}

TEST_CASE("A call without a key that is good takes no place and waits for nobody") {
  World world;
  world.Hold("first", kThreads);
  world.AwaitHeld(kThreads);
  for (int i = 0; i < 201; ++i) REQUIRE(world.ListTeams("") == StatusCode::UNAUTHENTICATED);
  CHECK(world.ListTeams("member") == StatusCode::PERMISSION_DENIED);
}

TEST_CASE("Calls of one org that do not end leave a thread to others") {
  World world;
  world.Hold("globex", kThreads + 2);
  world.AwaitHeld(kThreads / 2);
  CHECK(world.ListTeams("admin") == StatusCode::OK);
  CHECK(world.ListTeams("first") == StatusCode::OK);
}

TEST_CASE("A call whose client gave up before its turn is not executed") {
  World world;
  world.Hold("first", kThreads);
  world.AwaitHeld(kThreads);
  v1::CreateTeamRequest create;
  create.set_name("late");
  CHECK(world.Ask("admin", &v1::Directory::Stub::CreateTeam, create, std::chrono::milliseconds(300)) == StatusCode::DEADLINE_EXCEEDED);
  for (int i = 0; i < 50; ++i) REQUIRE(world.ListTeams("") == StatusCode::UNAUTHENTICATED);  // Behind its end, on the same connection.
  world.Hold("first", kThreads);  // Behind it in the queue: where these run it has had its turn.
  world.go.release(kThreads);
  world.AwaitHeld(kThreads);
  const auto late =
      test::PostgresCluster::Shared().Connect(world.in.url)->Run("look", "SELECT count(*) FROM directory.team WHERE name = 'late'");
  CHECK(Must(late).Int(0, 0) == 0);
}

TEST_CASE("Look-ups of one org that do not end leave sessions to others") {
  World world;
  world.LetAcmeWait();
  const auto holder = test::PostgresCluster::Shared().Connect(world.in.url), look = test::PostgresCluster::Shared().Connect(world.in.url);
  for (const auto ask : {&World::Report, &World::ListRecords}) {
    std::vector<std::future<StatusCode>> waiting;
    const auto locked = holder->InTransaction("let acme wait", [&](base::Session& s) -> absl::Status {
      TG_RETURN_IF_ERROR(s.Run("lock", "SELECT pg_advisory_xact_lock(7)").status());
      for (int i = 0; i < 3; ++i) waiting.push_back(std::async(std::launch::async, [&] { return (world.*ask)("admin"); }));
      const auto waits = [&] { return Must(look->Run("look", "SELECT count(*) FROM pg_locks WHERE NOT granted")).Int(0, 0); };
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (waits() < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
      CHECK(waits() == 2);
      CHECK((world.*ask)("first") == StatusCode::OK);
      CHECK((world.*ask)("globex") == StatusCode::OK);
      return absl::OkStatus();
    });
    REQUIRE(locked.ok());
    for (auto& one : waiting) CHECK(one.get() == StatusCode::OK);
  }
}
