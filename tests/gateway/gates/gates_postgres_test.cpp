// Counts, acceptances and approvals in Postgres: exact, whoever asks at the same time.
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <future>
#include <thread>

#include <fmt/format.h>

#include "gateway/gates/gates.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using gates::Answer;
using gates::Ask;
using gates::Gates;

namespace {

// For one request, with this prompt.
gates::Wish Once(const std::string& prompt, const std::string& rule = "dump") { return {rule, 0, base::Sha256(prompt)}; }

struct Bed {
  test::Installation in;
  std::unique_ptr<Gates> a = Open(), b = Open();
  base::TeamId team = base::TeamId::New();
  base::OrgId org = base::OrgId::New();
  base::KeyId key = base::KeyId::New();

  std::unique_ptr<Gates> Open() { return gates::OpenPostgresGates(in.As("tollgate_writer"), std::string(32, 'm')); }

  Ask Of(std::vector<gates::Wish> approvals = {}, std::vector<gates::Rate> rates = {}) const {
    return {.org = org,
            .team = team,
            .key = key,
            .request = base::RequestId::New(),
            .end_user = "anna",
            .approvals = std::move(approvals),
            .rates = std::move(rates)};
  }
  Answer Pass(Gates& gates, const Ask& ask) {
    std::promise<absl::StatusOr<Answer>> promise;
    gates.Pass(ask, [&](absl::StatusOr<Answer> answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get().value();
  }
  void Accept(Gates& gates, const std::vector<std::string>& terms) {
    std::promise<absl::StatusOr<bool>> promise;
    gates.Accept(team, "anna", terms, base::RequestId::New(), [&](absl::StatusOr<bool> kept) { promise.set_value(std::move(kept)); });
    REQUIRE(promise.get_future().get().ok());
  }
  void GiveBack(const Ask& ask, const Answer& answer) {
    std::promise<absl::StatusOr<bool>> promise;
    b->GiveBack(team, ask.request, answer.grants, [&](absl::StatusOr<bool> given) { promise.set_value(std::move(given)); });
    REQUIRE(promise.get_future().get().ok());
  }
  base::Uuid WaitFor(const gates::Wish& wish) { return Pass(*a, Of({wish})).waiting.at(0).id; }
  std::int64_t Count(const std::string& where) {
    const auto session = test::PostgresCluster::Shared().Connect(in.url);
    return session->Run("count", "SELECT count(*) FROM gate.approval WHERE " + where)->Int(0, 0);
  }
  void GrantAll(const Ask& ask) {
    for (const Answer::Waiting& one : Pass(*a, ask).waiting) REQUIRE(b->Grant(org, one.id, "second").ok());
  }
};

}  // namespace

TEST_CASE("A rate admits exactly its limit, over instances and threads") {
  Bed bed;
  std::atomic<int> allowed{0}, refused{0}, odd{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const Answer answer = bed.Pass(t % 2 == 0 ? *bed.a : *bed.b, bed.Of({}, {{"few", "who", 86'400, 25}}));
        if (answer.full && (answer.full->rule != "few" || answer.full->reset_ms <= 0 || answer.full->reset_ms > 86'400'000)) ++odd;
        ++(answer.passes() ? allowed : refused);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The day may have changed meanwhile: then the window began anew.
  CHECK(allowed >= 25);
  CHECK(allowed + refused == 40);
  CHECK(odd == 0);
  CHECK(bed.Pass(*bed.a, bed.Of({}, {{"other", "who", 86'400, 1}})).passes());
  CHECK(bed.Pass(*bed.a, bed.Of({}, {{"few", "else", 86'400, 1}})).passes());
  Ask elsewhere = bed.Of({}, {{"few", "who", 86'400, 1}});
  elsewhere.team = base::TeamId::New();
  CHECK(bed.Pass(*bed.a, elsewhere).passes());
}

TEST_CASE("Of several rates all are counted or none, and a full one is known without asking until it ends") {
  Bed bed;
  const gates::Rate wide{"wide", "who", 86'400, 2}, narrow{"narrow", "who", 86'400, 1};
  CHECK(bed.Pass(*bed.a, bed.Of({}, {narrow})).passes());
  CHECK(bed.Pass(*bed.a, bed.Of({}, {wide, narrow})).full->rule == "narrow");
  for (int i = 0; i < 2; ++i) CHECK(bed.Pass(*bed.a, bed.Of({}, {wide})).passes());
  CHECK_FALSE(bed.Pass(*bed.a, bed.Of({}, {wide})).passes());
  bed.in.Sql("DELETE FROM gate.rate");
  CHECK_FALSE(bed.Pass(*bed.a, bed.Of({}, {narrow})).passes());                  // Not asked for again,
  CHECK(bed.Pass(*bed.b, bed.Of({}, {narrow})).passes());                        // each instance for itself,
  CHECK(bed.Pass(*bed.a, bed.Of({}, {{"narrow", "who", 86'400, 2}})).passes());  // unless the rule has changed.
}

TEST_CASE("Accepted terms are known to every instance, by version and end user, until they are forgotten") {
  Bed bed;
  Ask anna = bed.Of();
  anna.terms = {"rules@1", "privacy@1"};
  CHECK(bed.Pass(*bed.a, anna).terms_missing == anna.terms);
  for (int i = 0; i < 2; ++i) bed.Accept(*bed.a, {"rules@1"});
  CHECK(bed.Pass(*bed.b, anna).terms_missing == std::vector<std::string>{"privacy@1"});
  bed.Accept(*bed.b, {"privacy@1", "other@1"});
  CHECK(bed.Pass(*bed.a, anna).passes());
  Ask bert = anna;
  bert.end_user = "bert";
  CHECK(bed.Pass(*bed.b, bert).terms_missing == anna.terms);
  CHECK(bed.Pass(*bed.b, bed.Of({}, {{"few", "anna", 86'400, 1}})).passes());
  CHECK_FALSE(bed.Pass(*bed.b, bed.Of({}, {{"few", "anna", 86'400, 1}})).passes());
  CHECK(*bed.b->Forget(bed.team, "bert") == 0);
  CHECK(*bed.b->Forget(bed.team, "anna") == 4);
  CHECK(bed.Pass(*bed.a, anna).terms_missing == anna.terms);
  CHECK(bed.Pass(*bed.b, bed.Of({}, {{"few", "anna", 86'400, 1}})).passes());
}

TEST_CASE("An approval waits once, is granted once, and a grant for one request is taken by one") {
  Bed bed;
  const Ask ask = bed.Of({{"dump", 0}});
  const Answer first = bed.Pass(*bed.a, ask);
  REQUIRE(first.waiting.size() == 1);
  const base::Uuid id = first.waiting[0].id;
  CHECK(bed.Pass(*bed.b, ask).waiting[0].id == id);
  CHECK(absl::IsNotFound(bed.a->Find(base::OrgId::New(), id).status()));
  CHECK(bed.a->Find(bed.org, id)->rule == "dump");
  REQUIRE(bed.b->Grant(bed.org, id, "second").ok());
  CHECK(absl::IsNotFound(bed.b->Grant(bed.org, id, "third")));
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { passed += bed.Pass(t % 2 == 0 ? *bed.a : *bed.b, ask).passes() ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  CHECK(passed == 1);
  const auto listed = bed.a->ListApprovals(bed.org);
  REQUIRE(listed.ok());
  REQUIRE(listed->all.size() == 2);
  CHECK_FALSE(listed->more);
  CHECK(listed->all[0].state == "pending");
  CHECK(listed->all[1].state == "used");
  CHECK(listed->all[1].granted_by == "second");
}

TEST_CASE("A grant for minutes lets every request pass, however many ask at once, until it ends or is taken back") {
  Bed bed;
  const Ask ask = bed.Of({{"dump", 30}});
  bed.GrantAll(ask);
  std::atomic<int> passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) passed += bed.Pass(t % 2 == 0 ? *bed.a : *bed.b, ask).passes() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(passed == 200);
  const auto listed = bed.a->ListApprovals(bed.org);
  REQUIRE(listed->all.size() == 1);
  Ask other = ask;
  other.key = base::KeyId::New();
  CHECK_FALSE(bed.Pass(*bed.b, other).passes());
  REQUIRE(bed.b->Revoke(bed.org, listed->all[0].id).ok());
  CHECK(absl::IsNotFound(bed.b->Revoke(bed.org, listed->all[0].id)));
  CHECK_FALSE(bed.Pass(*bed.a, ask).passes());
}

TEST_CASE("A request takes all of its grants or none, and gives back what led nowhere") {
  Bed bed;
  const Ask both = bed.Of({{"pay", 0}, {"dump", 0}});
  const Answer refused = bed.Pass(*bed.a, both);
  REQUIRE(refused.waiting.size() == 2);
  REQUIRE(bed.a->Grant(bed.org, refused.waiting[0].id, "second").ok());
  for (int i = 0; i < 2; ++i) {
    const Answer again = bed.Pass(*bed.b, both);
    REQUIRE(again.waiting.size() == 1);
    CHECK(again.waiting[0].id == refused.waiting[1].id);
  }
  REQUIRE(bed.a->Grant(bed.org, refused.waiting[1].id, "second").ok());
  Ask limited = both;
  limited.rates = {{"few", "who", 86'400, 1}};
  CHECK(bed.Pass(*bed.a, bed.Of({}, limited.rates)).passes());
  CHECK(bed.Pass(*bed.a, limited).full->rule == "few");  // Takes nothing either.
  Answer passed = bed.Pass(*bed.a, both);
  REQUIRE(passed.grants.size() == 2);
  Ask another = both;
  another.request = base::RequestId::New();
  bed.GiveBack(another, passed);  // It is not that one's.
  CHECK_FALSE(bed.Pass(*bed.b, both).passes());
  bed.GiveBack(both, passed);
  passed = bed.Pass(*bed.b, another);
  CHECK(passed.grants.size() == 2);
  CHECK_FALSE(bed.Pass(*bed.b, both).passes());
}

TEST_CASE("A grant that Tollgate did not give, or that was changed since, lets nobody pass") {
  const struct {
    const char* change;
    int minutes;
  } rows[] = {{"UPDATE gate.approval SET state = 'granted', granted_at = now(), granted_by = 'second', mac = NULL", 0},
              {"UPDATE gate.approval SET minutes = 10080", 30},
              {"UPDATE gate.approval SET granted_at = granted_at + interval '1 second'", 30},
              {"UPDATE gate.approval SET rule = 'all'", 30},
              {"UPDATE gate.approval SET prompt = sha256('x')", 0},
              {"UPDATE gate.approval SET request_id = gen_random_uuid()", 0},
              {"UPDATE gate.approval SET minutes = 30", 0},
              {"UPDATE gate.approval SET minutes = 30, prompt = ''", 0}};
  for (const auto& row : rows) {
    INFO(row.change);
    Bed bed;
    const Ask ask = bed.Of({{"dump", row.minutes}});
    bed.GrantAll(ask);
    bed.in.Sql(row.change);
    CHECK_FALSE(bed.Pass(*bed.a, bed.Of({{"all", row.minutes}})).passes());
    CHECK_FALSE(bed.Pass(*bed.a, ask).passes());
  }
}

TEST_CASE("A grant for one request is for the prompt that asked; each prompt waits by itself, whichever instance is asked") {
  Bed bed;
  const base::Uuid harmless = bed.WaitFor(Once("harmless")), evil = bed.WaitFor(Once("evil"));
  CHECK(harmless != evil);
  CHECK(bed.Pass(*bed.b, bed.Of({Once("harmless")})).waiting.at(0).id == harmless);
  REQUIRE(bed.b->Grant(bed.org, harmless, "second").ok());
  CHECK(bed.Pass(*bed.a, bed.Of({Once("evil")})).waiting.at(0).id == evil);
  CHECK(bed.Pass(*bed.a, bed.Of({Once("another")})).waiting.size() == 1);
  CHECK_FALSE(bed.Pass(*bed.a, bed.Of({Once("harmless", "pay")})).passes());
  Ask elsewhere = bed.Of({Once("harmless")});
  elsewhere.key = base::KeyId::New();
  CHECK_FALSE(bed.Pass(*bed.a, elsewhere).passes());
  const Ask again = bed.Of({Once("harmless")});
  const Answer passed = bed.Pass(*bed.b, again);
  CHECK(passed.grants == std::vector<base::Uuid>{harmless});
  CHECK_FALSE(bed.Pass(*bed.a, bed.Of({Once("harmless")})).passes());
  bed.GiveBack(again, passed);
  CHECK_FALSE(bed.Pass(*bed.a, bed.Of({Once("evil")})).passes());
  CHECK(bed.Pass(*bed.a, bed.Of({Once("harmless")})).passes());
}

TEST_CASE("An approval names the request that asked first, and its row tells nobody what a short prompt is") {
  Bed bed;
  const Ask first = bed.Of({Once("yes")});
  const base::Uuid id = bed.Pass(*bed.a, first).waiting.at(0).id;
  CHECK(bed.Pass(*bed.a, bed.Of({Once("yes")})).waiting.at(0).id == id);
  CHECK(bed.a->Find(bed.org, id)->request == first.request);
  CHECK(bed.a->ListApprovals(bed.org)->all.at(0).request == first.request);
  CHECK(bed.Count("length(prompt) = 32 AND prompt <> sha256('yes')") == 1);
  Ask other = bed.Of({Once("yes")});
  other.key = base::KeyId::New();
  bed.Pass(*bed.a, other);
  bed.Pass(*bed.a, bed.Of({Once("yes", "pay")}));
  CHECK(bed.Count("true") == 3);
  CHECK(bed.Count("prompt = (SELECT prompt FROM gate.approval ORDER BY asked_at LIMIT 1)") == 1);  // Nor who asks the same.
  bed.Pass(*bed.a, bed.Of({{"dump", 30, base::Sha256("yes")}}));
  CHECK(bed.Count("minutes = 30 AND prompt = ''") == 1);
}

TEST_CASE("A grant for minutes lets any prompt pass, also where its rule asks for each prompt by now") {
  Bed bed;
  bed.GrantAll(bed.Of({{"dump", 30, base::Sha256("harmless")}}));
  CHECK(bed.Pass(*bed.b, bed.Of({{"dump", 30, base::Sha256("evil")}})).passes());
  CHECK(bed.Pass(*bed.b, bed.Of({Once("evil")})).passes());
  bed.in.Sql("UPDATE gate.approval SET granted_at = granted_at - interval '1 hour'");
  CHECK_FALSE(bed.Pass(*bed.b, bed.Of({{"dump", 30, base::Sha256("harmless")}})).passes());
}

TEST_CASE("Nobody can say yes to a wish that somebody else wrote, or put another prompt or request behind") {
  const char* rows[] = {"UPDATE gate.approval SET prompt = sha256('x') WHERE request_id = '{}'",
                        "UPDATE gate.approval SET request_id = gen_random_uuid() WHERE request_id = '{}'",
                        "UPDATE gate.approval SET mac = NULL WHERE request_id = '{}'",
                        // Another wish, as good, in its place.
                        "CREATE TEMP TABLE was AS SELECT id FROM gate.approval WHERE request_id = '{}';"
                        "DELETE FROM gate.approval WHERE id = (SELECT id FROM was);"
                        "UPDATE gate.approval SET id = (SELECT id FROM was)"};
  for (const char* row : rows) {
    INFO(row);
    Bed bed;
    const Ask ask = bed.Of({Once("harmless")});
    const base::Uuid id = bed.Pass(*bed.a, ask).waiting.at(0).id;
    bed.WaitFor(Once("evil"));
    bed.in.Sql(fmt::format(fmt::runtime(row), ask.request.ToString()));
    CHECK(absl::IsDataLoss(bed.b->Grant(bed.org, id, "second")));
    CHECK(bed.a->Find(bed.org, id)->state == "pending");
    CHECK_FALSE(bed.Pass(*bed.a, bed.Of({Once("harmless")})).passes());
    CHECK_FALSE(bed.Pass(*bed.a, bed.Of({Once("evil")})).passes());
    REQUIRE(bed.a->Revoke(bed.org, id).ok());
    const base::Uuid anew = bed.WaitFor(Once("harmless"));
    CHECK(anew != id);
    CHECK(bed.a->Grant(bed.org, anew, "second").ok());
  }
}

TEST_CASE("Rows from before approvals were for a prompt: for one request they lapse, for minutes they stand") {
  Bed bed;
  const Ask once = bed.Of({Once("dump it")}), minutes = bed.Of({{"pay", 30}});
  const base::Uuid id = bed.WaitFor(once.approvals[0]);
  bed.GrantAll(minutes);
  bed.in.Sql("UPDATE gate.approval SET prompt = '', mac = NULL WHERE rule = 'dump'");
  CHECK(bed.a->Find(bed.org, id)->state == "lapsed");
  CHECK(absl::IsNotFound(bed.a->Grant(bed.org, id, "second")));
  const base::Uuid anew = bed.Pass(*bed.a, once).waiting.at(0).id;
  CHECK(anew != id);
  CHECK(bed.Pass(*bed.a, bed.Of({{"dump", 30}})).waiting.at(0).id == id);  // Its row serves a wish that is like it.
  REQUIRE(bed.a->Grant(bed.org, anew, "second").ok());
  bed.in.Sql("UPDATE gate.approval SET prompt = '' WHERE rule = 'dump' AND state = 'granted'");
  CHECK_FALSE(bed.Pass(*bed.a, once).passes());
  CHECK(bed.Pass(*bed.a, minutes).passes());
}

TEST_CASE("So many prompts of a key wait for a rule, over instances and threads; turned down, granted or lapsed they make room") {
  Bed bed;
  std::atomic<int> waiting{0}, crowded{0}, odd{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Answer answer = bed.Pass(t % 2 == 0 ? *bed.a : *bed.b, bed.Of({Once(std::to_string(t) + "/" + std::to_string(i))}));
        odd += answer.passes() || answer.waiting.size() + answer.crowded.size() != 1 ? 1 : 0;
        ++(answer.crowded.empty() ? waiting : crowded);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(waiting == gates::kWaitingMax);
  CHECK(crowded == 80 - gates::kWaitingMax);
  CHECK(odd == 0);
  CHECK(bed.Count("state = 'pending'") == gates::kWaitingMax);
  const Ask one_more = bed.Of({Once("one more")});
  CHECK(bed.Pass(*bed.a, one_more).crowded == std::vector<std::string>{"dump"});
  CHECK(bed.Pass(*bed.a, bed.Of({Once("one more", "pay")})).waiting.size() == 1);  // Of another rule,
  CHECK(bed.Pass(*bed.a, bed.Of({{"dump", 30}})).waiting.size() == 1);             // for minutes,
  Ask elsewhere = one_more;
  elsewhere.key = base::KeyId::New();
  CHECK(bed.Pass(*bed.a, elsewhere).waiting.size() == 1);  // and of another key there is room.
  const Answer both = bed.Pass(*bed.a, bed.Of({Once("one more"), Once("one more", "pay")}));
  CHECK(both.crowded == std::vector<std::string>{"dump"});
  CHECK(both.waiting.size() == 1);
  CHECK_FALSE(both.passes());

  const auto id_where = [&](const std::string& where) {
    const auto session = test::PostgresCluster::Shared().Connect(bed.in.url);
    return *base::Uuid::Parse(session->Run("find", "SELECT id::text FROM gate.approval WHERE " + where + " LIMIT 1")->Text(0, 0));
  };
  const std::string waits = "state = 'pending' AND rule = 'dump' AND minutes = 0 AND key_id = '" + bed.key.ToString() + "'";
  REQUIRE(bed.b->Revoke(bed.org, id_where(waits)).ok());
  CHECK(bed.Pass(*bed.a, one_more).waiting.size() == 1);
  CHECK(bed.Pass(*bed.a, bed.Of({Once("second more")})).crowded.size() == 1);
  REQUIRE(bed.b->Grant(bed.org, id_where(waits), "second").ok());
  CHECK(bed.Pass(*bed.a, bed.Of({Once("second more")})).waiting.size() == 1);
  CHECK(bed.Pass(*bed.a, bed.Of({Once("third more")})).crowded.size() == 1);
  bed.in.Sql("UPDATE gate.approval SET asked_at = now() - interval '8 days'");
  CHECK(bed.Pass(*bed.a, bed.Of({Once("third more")})).waiting.size() == 1);
}

TEST_CASE("A wish that nobody granted for a week has to be made again, and what waits is listed before what is done") {
  Bed bed;
  const Ask old = bed.Of({{"old", 0}});
  const base::Uuid id = bed.Pass(*bed.a, old).waiting[0].id;
  bed.in.Sql("UPDATE gate.approval SET asked_at = now() - interval '8 days'");
  CHECK(bed.a->Find(bed.org, id)->state == "lapsed");
  CHECK(absl::IsNotFound(bed.a->Grant(bed.org, id, "second")));
  CHECK(bed.Pass(*bed.a, old).waiting[0].id == id);
  bed.in.Sql(
      "INSERT INTO gate.approval (id, org_id, team_id, key_id, rule, request_id, minutes, state, granted_at, granted_by) "
      "SELECT gen_random_uuid(), org_id, team_id, key_id, 'done', request_id, 0, 'used', now(), 'x' "
      "FROM gate.approval, generate_series(1, 600)");
  const auto listed = bed.a->ListApprovals(bed.org);
  CHECK(listed->all.size() == 500);
  CHECK(listed->more);
  CHECK(listed->all[0].id == id);
  CHECK(listed->all[0].state == "pending");
}
