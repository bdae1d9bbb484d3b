// The rows of registry and aliases: each change is a record, settings never change, a retired name may come back.
#include <catch2/catch_test_macros.hpp>

#include "gateway/directory/shard.h"
#include "tests/gateway/admin/installation.h"

using namespace tollgate;
using directory::Model;
using test::Installation;
using test::Must;

namespace {

Model Named(const std::string& name) {
  Model model;
  model.name = name;
  model.file = name + ".gguf";
  model.sha256 = base::Sha256(name);
  model.licence = "MIT";
  return model;
}

std::string LastAction(Installation& in) {
  const auto entries = in.journal.entries();
  return entries.empty() ? "" : entries.back().record.admin().action();
}

}  // namespace

TEST_CASE("A model is registered, loaded, restricted and retired; each change is on record before it counts") {
  Installation in;
  const auto added = Must(in.changes->AddModel(in.cli, Named("qwen3")));
  CHECK(added.changed);
  CHECK(LastAction(in) == "model.add");
  CHECK(in.journal.entries().back().record.admin().summary().find("sha256 ") != std::string::npos);
  CHECK_FALSE(Must(in.changes->AddModel(in.cli, Named("qwen3"))).changed);

  CHECK(Must(in.changes->SetModelLoaded(in.cli, "qwen3", true)).row.Bool("loaded"));
  CHECK(LastAction(in) == "model.load");
  CHECK_FALSE(Must(in.changes->SetModelLoaded(in.cli, "qwen3", true)).changed);
  CHECK(Must(in.changes->RestrictModel(in.cli, "qwen3", true)).row.Bool("restricted"));
  CHECK(LastAction(in) == "model.restrict");

  const auto directory = in.OpenDirectory();
  const auto snapshot = Must(directory->InForce());
  REQUIRE(snapshot->FindModel("qwen3") != nullptr);
  CHECK(snapshot->FindModel("qwen3")->loaded);
  CHECK(snapshot->FindModel("other") == nullptr);

  const auto retired = Must(in.changes->RetireModel(in.cli, "qwen3", "replaced"));
  CHECK_FALSE(retired.row.Bool("loaded"));
  CHECK(LastAction(in) == "model.retire");
  CHECK(absl::IsNotFound(in.changes->SetModelLoaded(in.cli, "qwen3", true).status()));
  REQUIRE(directory->WaitFor(retired.version, std::chrono::seconds(10)).ok());
  CHECK(Must(directory->InForce())->FindModel("qwen3") == nullptr);
  CHECK(Must(directory->InForce())->installation().model_rows.contains("qwen3"));
}

TEST_CASE("Settings of a registered model never change; a retired one's name may be registered anew") {
  Installation in;
  Must(in.changes->AddModel(in.cli, Named("qwen3")));
  Model bigger = Named("qwen3");
  bigger.context_tokens = 8192;
  const auto refused = in.changes->AddModel(in.cli, bigger);
  CHECK(absl::IsAlreadyExists(refused.status()));
  CHECK(base::Message(refused.status()).find("retire") != std::string::npos);
  Must(in.changes->RetireModel(in.cli, "qwen3", "bigger"));
  CHECK(Must(in.changes->AddModel(in.cli, bigger)).row.Int("context_tokens") == 8192);
}

TEST_CASE("Models that make no sense, or are not there, change nothing and leave no record") {
  Installation in;
  const auto before = in.journal.entries().size();
  Model bad = Named("qwen3");
  bad.file = "../secret";
  CHECK(absl::IsInvalidArgument(in.changes->AddModel(in.cli, bad).status()));
  CHECK(absl::IsNotFound(in.changes->SetModelLoaded(in.cli, "nowhere", true).status()));
  CHECK(absl::IsNotFound(in.changes->RetireModel(in.cli, "nowhere", "").status()));
  CHECK(absl::IsInvalidArgument(in.changes->RestrictModel(in.cli, "no such name", true).status()));
  CHECK(in.journal.entries().size() == before);
}

TEST_CASE("A model's row that was changed in the database is refused") {
  Installation in;
  Must(in.changes->AddModel(in.cli, Named("qwen3")));
  in.Sql("UPDATE directory.model SET sha256 = decode(repeat('00', 32), 'hex')");
  const auto refused = directory::PostgresDirectory::Open(in.DirectoryOptions(), base::SystemClock());
  CHECK(absl::IsDataLoss(refused.status()));
  CHECK(base::Message(refused.status()).find("directory.model") != std::string::npos);
}

namespace {

directory::Alias Leading(const std::string& targets, const std::string& fallbacks = "") {
  return Must(directory::MakeAlias("chat", targets, fallbacks));
}

}  // namespace

TEST_CASE("An alias is led elsewhere, and back with one call; each change is on record") {
  Installation in;
  CHECK(Must(in.changes->SetAlias(in.cli, Leading("qwen3"))).changed);
  CHECK(in.journal.entries().back().record.admin().summary() == "alias chat leads to qwen3=1");
  CHECK(absl::IsFailedPrecondition(in.changes->RollbackAlias(in.cli, "chat", "no").status()));
  CHECK_FALSE(Must(in.changes->SetAlias(in.cli, Leading("qwen3"))).changed);
  Must(in.changes->SetAlias(in.cli, Leading("qwen3=9 qwen4=1", "smollm2")));
  const auto back = Must(in.changes->RollbackAlias(in.cli, "chat", "worse answers"));
  CHECK(LastAction(in) == "alias.rollback");
  CHECK(back.row.Text("targets") == "qwen3=1");
  CHECK(back.row.Text("fallbacks").empty());
  const auto again = Must(in.changes->RollbackAlias(in.cli, "chat", "they were not"));
  CHECK(again.row.Text("targets") == "qwen3=9 qwen4=1");
  CHECK(again.row.Text("fallbacks") == "smollm2");

  const auto directory = in.OpenDirectory();
  const auto snapshot = Must(directory->InForce());
  REQUIRE(snapshot->FindAlias("chat") != nullptr);
  CHECK(snapshot->FindAlias("chat")->fallbacks == std::vector<std::string>{"smollm2"});
  const auto removed = Must(in.changes->RemoveAlias(in.cli, "chat", "not wanted"));
  REQUIRE(directory->WaitFor(removed.version, std::chrono::seconds(10)).ok());
  CHECK(Must(directory->InForce())->FindAlias("chat") == nullptr);
  CHECK(absl::IsNotFound(in.changes->RemoveAlias(in.cli, "chat", "").status()));
  CHECK(absl::IsNotFound(in.changes->RollbackAlias(in.cli, "chat", "").status()));
  Must(in.changes->SetAlias(in.cli, Leading("qwen3")));
  CHECK(absl::IsFailedPrecondition(in.changes->RollbackAlias(in.cli, "chat", "").status()));  // What was removed is no before.
}

TEST_CASE("An alias is not stopped: the refusal names the models that are to be") {
  Installation in;
  const admin::StopTarget chat{admin::StopTarget::Kind::kModel, "chat", {}};
  Must(in.changes->SetAlias(in.cli, Leading("qwen3=9 qwen4=1")));
  const absl::Status refused = in.changes->Stop(in.cli, chat, "a leak").status();
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(base::Message(refused).find("qwen3=9 qwen4=1") != std::string::npos);
  CHECK(Must(in.changes->Stop(in.cli, {admin::StopTarget::Kind::kModel, "qwen3", {}}, "a leak")).changed);
  Must(in.changes->RemoveAlias(in.cli, "chat", "not wanted"));
  CHECK(Must(in.changes->Stop(in.cli, chat, "a leak")).changed);
}

TEST_CASE("A model whose name an alias has is stopped wherever it may be running, its adapters with it") {
  const auto alias = [](const std::string& name, const std::string& targets, const std::string& fallbacks = "") {
    return Must(directory::MakeAlias(name, targets, fallbacks));
  };
  const admin::StopTarget qwen3{admin::StopTarget::Kind::kModel, "qwen3", {}};
  const auto stops = [](Installation& in, const admin::StopTarget& target) { return in.changes->Stop(in.cli, target, "a leak").ok(); };
  SECTION("the alias leads to it") {
    Installation in;
    Must(in.changes->SetAlias(in.cli, alias("qwen3", "qwen3=95 qwen4=5")));
    CHECK(stops(in, qwen3));
  }
  SECTION("it is registered, or was") {
    Installation in;
    Must(in.changes->AddModel(in.cli, Named("qwen3")));
    Must(in.changes->SetAlias(in.cli, alias("qwen3", "qwen4")));
    Must(in.changes->RetireModel(in.cli, "qwen3", "replaced"));
    CHECK(stops(in, qwen3));
    in.MakeOrg("acme");
    const auto after = Must(in.OpenDirectory()->InForce());
    const auto place = after->FindKey(in.IdOf("acme/app"));
    CHECK_FALSE(after->MayRun(*place, "qwen3", base::SystemClock().Wall()).ok());
    CHECK(after->MayRun(*place, "qwen4", base::SystemClock().Wall()).ok());
  }
  SECTION("another alias falls back to it, or to its adapter") {
    Installation in;
    Must(in.changes->SetAlias(in.cli, alias("qwen3", "qwen4")));
    CHECK_FALSE(stops(in, qwen3));
    Must(in.changes->SetAlias(in.cli, alias("chat", "qwen4", "qwen3:legal")));
    CHECK(stops(in, qwen3));
  }
  SECTION("the configuration names it") {
    Installation in;
    Must(in.changes->SetAlias(in.cli, alias("qwen3", "qwen4")));
    admin::StopTarget configured = qwen3;
    configured.configured = true;
    CHECK(stops(in, configured));
  }
}

TEST_CASE("A model that an alias leads to is not retired") {
  Installation in;
  Must(in.changes->AddModel(in.cli, Named("qwen3")));
  Must(in.changes->AddModel(in.cli, Named("qwen4")));
  Must(in.changes->SetAlias(in.cli, Leading("qwen3", "qwen4")));
  for (const char* model : {"qwen3", "qwen4"}) {
    const auto refused = in.changes->RetireModel(in.cli, model, "");
    CHECK(absl::IsFailedPrecondition(refused.status()));
    CHECK(base::Message(refused.status()).find("alias chat leads to") != std::string::npos);
  }
  Must(in.changes->RemoveAlias(in.cli, "chat", ""));
  Must(in.changes->RetireModel(in.cli, "qwen3", ""));
}

TEST_CASE("An alias is not rolled back to a model that was retired since") {
  for (const bool fallback : {false, true}) {
    Installation in;
    Must(in.changes->AddModel(in.cli, Named("qwen3")));
    Must(in.changes->SetAlias(in.cli, fallback ? Leading("configured", "qwen3") : Leading("qwen3")));
    Must(in.changes->SetAlias(in.cli, Leading("qwen4")));
    Must(in.changes->RetireModel(in.cli, "qwen3", "replaced"));
    const auto refused = in.changes->RollbackAlias(in.cli, "chat", "worse answers");
    CHECK(absl::IsFailedPrecondition(refused.status()));
    CHECK(base::Message(refused.status()).find("led to model qwen3 before, which is retired") != std::string::npos);
    Must(in.changes->AddModel(in.cli, Named("qwen3")));
    CHECK(Must(in.changes->RollbackAlias(in.cli, "chat", "worse answers")).changed);
  }
}
