// Counts, acceptances and approvals in Postgres: exact, whoever asks at the same time.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <future>
#include <thread>

#include "gateway/gates/gates.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using gates::Gates;

namespace {

template <typename T, typename Ask>
absl::StatusOr<T> Wait(Ask ask) {
  std::promise<absl::StatusOr<T>> promise;
  ask([&](absl::StatusOr<T> answer) { promise.set_value(std::move(answer)); });
  return promise.get_future().get();
}

struct Bed {
  test::Installation in;
  std::unique_ptr<Gates> a = gates::OpenPostgresGates(in.As("tollgate_writer")), b = gates::OpenPostgresGates(in.As("tollgate_writer"));
  base::TeamId team = base::TeamId::New();
};

}  // namespace

TEST_CASE("A rate admits exactly its limit, over instances and threads") {
  Bed bed;
  std::atomic<int> allowed{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Gates& gates = t % 2 == 0 ? *bed.a : *bed.b;
      for (int i = 0; i < 10; ++i) {
        const auto answer = Wait<gates::RateAnswer>([&](auto done) { gates.CountRate({bed.team, "few", "who", 86'400, 25}, done); });
        REQUIRE(answer.ok());
        CHECK((answer->reset_ms > 0 && answer->reset_ms <= 86'400'000));
        ++(answer->allowed ? allowed : refused);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The day may have changed meanwhile: then the window began anew.
  CHECK(allowed >= 25);
  CHECK(allowed + refused == 40);
  for (const gates::RateAsk& other : {gates::RateAsk{bed.team, "other", "who", 86'400, 1}, gates::RateAsk{bed.team, "few", "else", 86'400, 1},
                                      gates::RateAsk{base::TeamId::New(), "few", "who", 86'400, 1}}) {
    CHECK(Wait<gates::RateAnswer>([&](auto done) { bed.a->CountRate(other, done); })->allowed);
  }
}

TEST_CASE("Accepted terms are known to every instance, by version and end user") {
  Bed bed;
  const gates::TermsAsk anna{bed.team, "anna", "rules@1"};
  CHECK_FALSE(*Wait<bool>([&](auto done) { bed.a->HasAccepted(anna, done); }));
  for (int i = 0; i < 2; ++i) CHECK(*Wait<bool>([&](auto done) { bed.a->Accept(anna, base::RequestId::New(), done); }));
  CHECK(*Wait<bool>([&](auto done) { bed.b->HasAccepted(anna, done); }));
  CHECK_FALSE(*Wait<bool>([&](auto done) { bed.b->HasAccepted({bed.team, "anna", "rules@2"}, done); }));
  CHECK_FALSE(*Wait<bool>([&](auto done) { bed.b->HasAccepted({bed.team, "bert", "rules@1"}, done); }));
}

TEST_CASE("An approval waits once, is granted once, and a grant for one request is taken by one") {
  Bed bed;
  const base::OrgId org = base::OrgId::New();
  const gates::ApprovalAsk ask{org, bed.team, base::KeyId::New(), "dump", base::RequestId::New(), 0};
  const auto find = [&](Gates& gates, const gates::ApprovalAsk& of) {
    return Wait<gates::ApprovalAnswer>([&](auto done) { gates.FindApproval(of, done); });
  };
  const auto first = find(*bed.a, ask);
  REQUIRE(first.ok());
  CHECK_FALSE(first->granted);
  CHECK(find(*bed.b, ask)->id == first->id);
  CHECK(absl::IsNotFound(bed.a->FindPending(base::OrgId::New(), first->id).status()));
  CHECK(bed.a->FindPending(org, first->id)->rule == "dump");
  REQUIRE(bed.b->Grant(org, first->id, "second").ok());
  CHECK(absl::IsNotFound(bed.b->Grant(org, first->id, "third")));
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { granted += find(t % 2 == 0 ? *bed.a : *bed.b, ask)->granted ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  CHECK(granted == 1);
  const auto all = bed.a->ListApprovals(org);
  REQUIRE(all.ok());
  REQUIRE(all->size() == 2);
  CHECK((*all)[0].state == "pending");
  CHECK((*all)[1].state == "used");
  CHECK((*all)[1].granted_by == "second");

  gates::ApprovalAsk lasting = ask;
  lasting.rule = "long";
  lasting.minutes = 30;
  const base::Uuid id = find(*bed.a, lasting)->id;
  REQUIRE(bed.a->Grant(org, id, "second").ok());
  for (int i = 0; i < 3; ++i) CHECK(find(*bed.b, lasting)->granted);
  lasting.key = base::KeyId::New();
  CHECK_FALSE(find(*bed.b, lasting)->granted);
  bed.in.Sql("UPDATE gate.approval SET granted_at = granted_at - interval '31 minutes'");
  lasting.key = ask.key;
  CHECK_FALSE(find(*bed.b, lasting)->granted);
}
