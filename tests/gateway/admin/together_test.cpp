// What an org's policies cost to compile, and to store, is nobody else's wait.
#include "gateway/admin/together.h"

#include <catch2/catch_test_macros.hpp>

#include "gateway/admin/changes_impl.h"
#include "gateway/directory/row_postgres.h"
#include "policy/bundle.h"
#include "tests/gateway/admin/installation.h"
#include "tests/support/reason.h"

using namespace tollgate;
using test::Installation;
using test::Must;

namespace {

std::string Yaml(const std::string& word, const std::string& id = "word") {
  return "version: 1\nname: house\nrules:\n  - id: " + id + "\n    detect: {keywords: " + word + "}\n    do: block\n";
}

const admin::StopTarget kEverything{admin::StopTarget::Kind::kEverything, {}, {}};

// As rows were before numbers had a column.
void ForgetNumbers(Installation& in) {
  const auto session = test::PostgresCluster::Shared().Connect(in.url);
  auto head = Must(directory::ReadHead(*session, false));
  auto versions = Must(directory::ReadRows(*session, directory::Table::kPolicy, "true", {}));
  const auto written = session->InTransaction("forget", [&](base::Session& s) -> absl::Status {
    for (directory::Row& row : versions) {
      directory::Toggle(head.set, row.mac);
      row.Set("bundle", std::monostate());
      row.mac = directory::RowMac(in.mac_key, row);
      directory::Toggle(head.set, row.mac);
      TG_RETURN_IF_ERROR(directory::UpdateRow(s, row));
    }
    head.mac = directory::HeadMac(in.mac_key, ++head.version, head.set);
    return directory::WriteHead(s, head);
  });
  INFO(written);
  REQUIRE(written.ok());
}

}  // namespace

TEST_CASE("No policy is compiled while the directory is locked, and what was compiled is compared under the lock") {
  Installation in;
  in.MakeOrg("acme");
  Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("eagle")));
  Must(in.changes->PutPolicy(in.cli, "acme", "other", Yaml("owl")));  // A second rule with the id of the first.
  admin::ChangesOptions options;
  options.postgres = in.As("tollgate_directory");
  options.mac_key = in.mac_key;
  options.pepper = in.pepper;
  admin::Changer changer(options, in.journal, base::SystemClock());
  admin::Together together(changer, nullptr);
  const auto check = [&](const std::string& name, std::int64_t policy_version) {
    absl::Status checked;
    const auto run = changer.Run(in.cli, [&](admin::Transaction& t) -> absl::Status {
      together.Begin();
      TG_ASSIGN(const auto in_org, t.FindScope({"acme", {}, {}, {}}));
      return checked = together.Check(t, in_org.org.ToString(), name, policy_version);
    });
    CHECK(run.ok() == checked.ok());
    return checked;
  };
  CHECK(check("house", 1).code() == absl::StatusCode::kCancelled);
  REQUIRE(together.Asks());
  CHECK(Must(in.changes->Stop(in.cli, kEverything, "fire drill")).changed);  // Nobody holds the lock.
  CHECK(Must(together.CompileAsked()));
  CHECK(check("house", 1).ok());
  CHECK_FALSE(Must(together.CompileAsked()));

  Must(in.changes->ActivatePolicy(in.cli, "acme", "other", 1));  // Meanwhile: what was compiled is not what is in force.
  CHECK(check("house", 1).code() == absl::StatusCode::kCancelled);
  CHECK(Must(together.CompileAsked()));
  const absl::Status refused = check("house", 1);
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(base::Message(refused).find("a second rule with id 'word'") != std::string::npos);

  // A row that nobody may read without noticing: under the lock the others' texts are not read, and beside it what is read is verified.
  in.Sql("UPDATE directory.policy SET created_us = created_us + 1 WHERE name = 'other'");
  CHECK(absl::IsInvalidArgument(check("house", 1)));
  CHECK(absl::IsDataLoss(in.changes->ActivatePolicy(in.cli, "acme", "house", 1).status()));
}

TEST_CASE("What an org's policies in force have of text together has an end, and the refusal says what to do") {
  const std::string text = Yaml("eagle") + "#" + std::string(admin::kInForceBytesMax / 2, 'x') + "\n";
  const absl::Status refused = admin::CompileTogether({{"house", text}, {"other", text}});
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(base::Message(refused).find("32 MiB") != std::string::npos);
  CHECK(base::Message(refused).find("take one out of force") != std::string::npos);
}

TEST_CASE("Whoever gives up ends what is compiled for a step, whichever it is, and the step is not made") {
  Installation in;
  in.MakeOrg("acme");
  int may = 0;
  admin::Actor actor = in.cli;
  actor.keep_going = [&may] { return may-- > 0 ? absl::OkStatus() : base::Cancelled("nobody waits any more"); };
  const std::vector<std::function<absl::Status()>> steps = {
      [&] { return in.changes->PutPolicy(actor, "acme", "house", Yaml("eagle")).status(); },
      [&] { return in.changes->PutPolicy(actor, "acme", "house", Yaml("falcon"), true).status(); },
      [&] { return in.changes->ActivatePolicy(actor, "acme", "house", 1).status(); },
      [&] {
        return in.changes->TryPolicy(actor, "acme", "house", {2, false, 0, false}).status();
      },
      [&] { return in.changes->ActivatePolicy(actor, "acme", "house", 2).status(); },
      [&] { return in.changes->RollbackPolicy(actor, "acme", "house").status(); },
      [&] { return in.changes->ActivatePolicy(actor, "acme", "house", 0).status(); },
  };
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CAPTURE(i);
    const std::size_t records = in.journal.entries().size();
    int times = 0;
    for (absl::Status made = base::Cancelled("not yet"); !made.ok(); ++times) {
      CHECK(in.journal.entries().size() == records);
      may = times;
      made = steps[i]();
      if (made.ok()) break;
      REQUIRE(absl::IsCancelled(made));
      CHECK(base::Message(made) == "nobody waits any more");
    }
    CHECK(times > 0);
    CHECK(in.journal.entries().size() == records + 1);
  }
}

TEST_CASE("Activating, trying, rolling back and taking out compile and check as one change each") {
  Installation in;
  in.MakeOrg("acme");
  Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("eagle")));
  Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("falcon")));
  Must(in.changes->PutPolicy(in.cli, "acme", "other", Yaml("owl")));
  const auto records = in.journal.entries().size();
  CHECK(Must(in.changes->ActivatePolicy(in.cli, "acme", "house", 1)).changed);
  CHECK(absl::IsInvalidArgument(in.changes->ActivatePolicy(in.cli, "acme", "other", 1).status()));
  CHECK(absl::IsInvalidArgument(in.changes->TryPolicy(in.cli, "acme", "other", {1, false, 0, false}).status()));
  CHECK(Must(in.changes->TryPolicy(in.cli, "acme", "house", {2, false, 0, false})).changed);
  CHECK(Must(in.changes->ActivatePolicy(in.cli, "acme", "house", 2)).changed);
  CHECK(Must(in.changes->RollbackPolicy(in.cli, "acme", "house")).row.Int("policy_version") == 1);
  CHECK(Must(in.changes->ActivatePolicy(in.cli, "acme", "house", 0)).changed);
  CHECK(in.journal.entries().size() == records + 5);
}

TEST_CASE("A version is stored without reading those before it, and numbers of bundles from before they had a column count") {
  Installation in;
  in.MakeOrg("acme");
  const auto bundle = [&](const std::string& word, std::int64_t number) { return Must(policy::NumberBundle(Yaml(word), "house", number)); };
  Must(in.changes->PutPolicy(in.cli, "acme", "house", bundle("eagle", 5)));
  CHECK(Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("plain"))).row.Int("bundle") == 0);
  // An older version whose row nobody may read without noticing.
  in.Sql("UPDATE directory.policy SET created_us = created_us + 1 WHERE policy_version = 1");
  CHECK(Must(in.changes->PutPolicy(in.cli, "acme", "house", Yaml("owl"))).row.Int("policy_version") == 3);
  CHECK(absl::IsDataLoss(in.changes->PutPolicy(in.cli, "acme", "house", bundle("raven", 5)).status()));
  CHECK(Must(in.changes->PutPolicy(in.cli, "acme", "house", bundle("raven", 6))).row.Int("bundle") == 6);
  in.Sql("UPDATE directory.policy SET created_us = created_us - 1 WHERE policy_version = 1");
  ForgetNumbers(in);
  CHECK(test::ReasonOf(in.changes->PutPolicy(in.cli, "acme", "house", bundle("heron", 6)).status()) == "POLICY_BUNDLE_OLD");
}

TEST_CASE("What an org's own people may store of policies has an end, and the refusal names who can go on") {
  Installation in;
  in.MakeOrg("acme");
  admin::ChangesOptions options;
  options.postgres = in.As("tollgate_directory");
  options.mac_key = in.mac_key;
  options.pepper = in.pepper;
  options.policy_bytes_max = 200;
  admin::Changes changes(options, in.journal, base::SystemClock());
  const admin::Actor author{"author", {}, false};
  Must(changes.PutPolicy(author, "acme", "house", Yaml("eagle")));
  Must(changes.PutPolicy(author, "acme", "house", Yaml("falcon")));
  const absl::Status refused = changes.PutPolicy(author, "acme", "house", Yaml("raven")).status();
  CHECK(test::ReasonOf(refused) == "POLICIES_FULL");
  CHECK(base::Message(refused).find("ask an owner of the installation") != std::string::npos);
  CHECK_FALSE(Must(changes.PutPolicy(author, "acme", "house", Yaml("falcon"))).changed);  // It is there already.
  CHECK(Must(changes.PutPolicy(in.cli, "acme", "house", Yaml("raven"))).changed);
}
