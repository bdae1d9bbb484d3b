#include <catch2/catch_test_macros.hpp>

#include "gateway/admin/changes.h"
#include "gateway/directory/chat_defaults.h"
#include "gateway/directory/row_postgres.h"
#include "gateway/directory/shard.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using test::Installation;
using test::Must;

namespace {

v1::ChatDefaults Prompt(const std::string& text) {
  v1::ChatDefaults settings;
  settings.set_system_prompt(text);
  return settings;
}

std::vector<const directory::ChatDefaults*> InForce(const directory::Snapshot& snapshot, Installation& in) {
  return snapshot.DefaultsOf(*snapshot.FindKey(in.IdOf("acme/app")));
}

}  // namespace

TEST_CASE("Defaults are on record before they are in force, and the record, the row and what requests name are one digest") {
  Installation in;
  in.MakeOrg("acme");
  const auto directory = in.OpenDirectory();
  v1::ChatDefaults settings = Prompt("Never say the codename.");
  settings.mutable_sampling()->set_temperature(0.2);
  const auto made = Must(in.changes->SetDefaults(in.cli, {"acme", "search", {}, {}}, settings, false));
  CHECK(made.row.Int("defaults_version") == 1);
  REQUIRE(directory->WaitFor(made.version, std::chrono::seconds(5)).ok());
  const auto snapshot = Must(directory->InForce());
  const auto in_force = InForce(*snapshot, in);
  REQUIRE(in_force.size() == 1);
  CHECK(in_force[0]->settings.SerializeAsString() == settings.SerializeAsString());
  CHECK(in_force[0]->scope_kind == "team");
  CHECK(in_force[0]->scope_name == "search");
  const v1::AdminBody admin = in.journal.entries().back().record.admin();
  CHECK(admin.action() == "defaults.set");
  CHECK(admin.summary() == "set the chat defaults of team acme/search, version 1: system prompt of 23 bytes, temperature 0.2");
  CHECK(admin.row_sha256() == base::View(in_force[0]->sha256));
}

TEST_CASE("Versions count on; the same again is no change; what is removed may be set anew") {
  Installation in;
  in.MakeOrg("acme");
  const admin::ScopeNames org{"acme", {}, {}, {}};
  CHECK(Must(in.changes->SetDefaults(in.cli, org, Prompt("a"), false)).row.Int("defaults_version") == 1);
  const std::size_t records = in.journal.size();
  CHECK_FALSE(Must(in.changes->SetDefaults(in.cli, org, Prompt("a"), false)).changed);
  CHECK(in.journal.size() == records);
  CHECK(Must(in.changes->SetDefaults(in.cli, org, Prompt("b"), false)).row.Int("defaults_version") == 2);
  CHECK(Must(in.changes->RemoveDefaults(in.cli, org)).row.Int("defaults_version") == 3);
  CHECK(InForce(*Must(in.OpenDirectory()->InForce()), in).empty());
  CHECK(absl::IsNotFound(in.changes->RemoveDefaults(in.cli, org).status()));
  CHECK(Must(in.changes->SetDefaults(in.cli, org, Prompt("b"), false)).row.Int("defaults_version") == 4);
}

TEST_CASE("Defaults of nobody, or out of bounds, are refused with a word that helps") {
  Installation in;
  in.MakeOrg("acme");
  const std::size_t records = in.journal.size();
  CHECK(absl::IsNotFound(in.changes->SetDefaults(in.cli, {"acme", {}, {}, "nosuchky"}, Prompt("a"), false).status()));
  CHECK(absl::IsNotFound(in.changes->SetDefaults(in.cli, {"acme", "nobody", {}, {}}, Prompt("a"), false).status()));
  CHECK(absl::IsInvalidArgument(in.changes->SetDefaults(in.cli, {"acme", {}, {}, {}}, {}, false).status()));
  CHECK(absl::IsNotFound(in.changes->RemoveDefaults(in.cli, {"acme", "search", "web", {}}).status()));
  v1::ChatDefaults shared = Prompt("a");
  shared.set_shares_cache(true);
  CHECK(base::Message(in.changes->SetDefaults(in.cli, {"acme", "search", {}, {}}, shared, false).status())
            .starts_with("shares_cache: only an org's"));
  CHECK(in.journal.size() == records);
}

TEST_CASE("Defaults that were altered in the database are refused with the whole snapshot") {
  Installation in;
  in.MakeOrg("acme");
  Must(in.changes->SetDefaults(in.cli, {"acme", {}, {}, {}}, Prompt("Be careful."), false));
  in.Sql("UPDATE directory.chat_defaults SET system_prompt = 'Be careless.'");
  CHECK(absl::IsDataLoss(directory::PostgresDirectory::Open(in.DirectoryOptions(), base::SystemClock()).status()));
  CHECK(absl::IsDataLoss(in.changes->RemoveDefaults(in.cli, {"acme", {}, {}, {}}).status()));
}

TEST_CASE("Defaults of a key are in force for it alone, and its successor takes them over") {
  Installation in;
  in.MakeOrg("acme");
  in.MakeKey("acme", "batch", {directory::Role::kMember});
  const std::string batch = in.IdOf("acme/batch");
  v1::ChatDefaults settings;
  settings.set_band(3);
  settings.set_weight(0.5);
  settings.set_reasoning_tokens_cap(200);
  Must(in.changes->SetDefaults(in.cli, {"acme", {}, {}, batch}, settings, false));
  CHECK(in.journal.entries().back().record.admin().summary() ==
        "set the chat defaults of key " + batch +
            ", version 1: band 3, weight 0.5, at most 200 tokens of thought, what is beyond is refused");
  const std::string next = Must(in.changes->RotateKey(in.cli, batch, std::chrono::hours(1))).row.Text("public_id");
  const auto snapshot = Must(in.OpenDirectory()->InForce());
  CHECK(InForce(*snapshot, in).empty());
  for (const std::string& key : {batch, next}) {
    const auto in_force = snapshot->DefaultsOf(*snapshot->FindKey(key));
    REQUIRE(in_force.size() == 1);
    CHECK(in_force[0]->scope_kind == "key");
    CHECK(in_force[0]->scope_name == key);
    CHECK(in_force[0]->settings.SerializeAsString() == settings.SerializeAsString());
  }
}

TEST_CASE("Who manages one org does not put it before the others; what an owner gave it, it keeps and may lower") {
  Installation in;
  in.MakeOrg("acme");
  const admin::ScopeNames team{"acme", "search", {}, {}};
  const auto set = [&](int band, double weight, bool may_raise) {
    v1::ChatDefaults settings;
    settings.set_band(band);
    settings.set_weight(weight);
    return in.changes->SetDefaults(in.cli, team, settings, may_raise).status();
  };
  CHECK(set(1, 1, false).ok());
  CHECK(set(3, 0.5, false).ok());
  CHECK(set(1, 1, false).ok());
  const absl::Status urgent = set(0, 1, false);
  CHECK(absl::IsPermissionDenied(urgent));
  CHECK(base::Message(urgent).starts_with("band: a more urgent one than 1 may be set only by an owner"));
  CHECK(base::Message(set(1, 1.5, false)).starts_with("weight: more than 1 may be set only by an owner"));
  CHECK(set(0, 4, true).ok());
  CHECK(set(0, 4, false).ok());
  CHECK(set(0, 3, false).ok());
  CHECK(base::Message(set(0, 3.5, false)).starts_with("weight: more than 3 may"));
  Must(in.changes->RemoveDefaults(in.cli, team));
  CHECK(absl::IsPermissionDenied(set(0, 1, false)));
}
