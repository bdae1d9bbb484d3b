// A company whose policies are compiled beside its directory, by a compile function that the test holds and lets go.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "gateway/directory/policy_compiler.h"
#include "gateway/directory/shard.h"
#include "gateway/directory/snapshot_builder.h"
#include "tests/gateway/directory/held_compile.h"
#include "tests/gateway/directory/rows_of.h"

namespace tollgate::directory::test {

inline const base::WallTime kNow = base::FromMicros(1'790'000'000'000'000);

inline std::string Yaml(const std::string& word) {
  return "version: 1\nname: house\nrules:\n  - id: " + word + "\n    detect: {keywords: " + word + "}\n    do: block\n";
}

// Two orgs and a builder that compiles beside, as the directory has it.
struct PolicyCompany {
  PolicyCompany() {
    acme = company.Org("acme");
    company.Key(company.Project(company.Team(acme, "search"), "web"), "acmekey1");
    globex = company.Org("globex");
    globex_key = company.Key(company.Project(company.Team(globex, "search"), "web"), "globkey1");
  }
  void Put(const Row& org, const std::string& name, std::int64_t version, const std::string& yaml) {
    company.Add(Table::kPolicy, {{"org", org.id.ToString()},
                                 {"name", name},
                                 {"policy_version", version},
                                 {"sha256", base::Blob{std::string(base::View(base::Sha256(yaml)))}},
                                 {"yaml", yaml},
                                 {"created_us", std::int64_t{1}}});
  }
  Row Bind(const Row& org, const std::string& name, std::int64_t version) {
    Row& row = bindings[org.Text("name") + "/" + name];
    if (row.id.IsNone()) {
      row = NewRow(Table::kPolicyBinding);
      row.Set("org", org.id.ToString());
      row.Set("name", name);
      row.Set("mode", std::string("enforce"));
    }
    row.Set("policy_version", version);
    return row = company.Put(row);
  }
  // Acme's "house" is in force with "eagle" and a canary with "falcon", beside "lists" with "raven".
  void CanaryBesideLists() {
    Put(acme, "house", 1, Yaml("eagle"));
    Bind(acme, "house", 1);
    Put(acme, "house", 2, Yaml("falcon"));
    Put(acme, "lists", 1, Yaml("raven"));
    Bind(acme, "lists", 1);
    Try(2);
  }
  // A canary of acme's policy "house"; version 0: it is ended. The share is in ten-thousandths.
  void Try(std::int64_t version, std::int64_t share = 10000) {
    if (bindings["acme/house"].id.IsNone()) Bind(acme, "house", 0);
    Row& row = bindings["acme/house"];
    row.Set("candidate_version", version);
    row.Set("candidate_mode", std::string("canary"));
    row.Set("canary_by", std::string("request"));
    row.Set("canary_share", share);
    if (version == 0) EndTrial(row);
    row = company.Put(row);
  }
  // A shadow in the canary's place.
  void Shadow(std::int64_t version) {
    Row& row = bindings["acme/house"];
    EndTrial(row);
    row.Set("candidate_version", version);
    row.Set("candidate_mode", std::string("shadow"));
    row = company.Put(row);
  }
  static void EndTrial(Row& row) {
    for (const char* column : {"candidate_version", "candidate_mode", "canary_by", "canary_share"}) row.Set(column, std::monostate());
  }
  std::shared_ptr<const Snapshot> Built() {
    const absl::Status applied = builder.Apply(company.changed, company.head);
    INFO(applied);
    REQUIRE(applied.ok());
    company.changed.clear();
    auto snapshot = builder.Build({});
    REQUIRE(snapshot.ok());
    return *snapshot;
  }
  // Once everything is compiled.
  std::shared_ptr<const Snapshot> Settled() {
    auto snapshot = Built();
    while (snapshot->compiling()) {
      REQUIRE(compiler.WaitForDone(std::chrono::steady_clock::now() + std::chrono::seconds(30)));
      snapshot = Built();
    }
    return snapshot;
  }
  static bool Blocks(const policy::PolicySet& policies, const std::string& text) {
    const policy::Message message{policy::Role::kUser, "", {text}};
    const auto inspected = policies.Inspect({}, {&message, 1});
    REQUIRE(inspected.ok());
    return inspected->verdict.action == policy::Action::kBlock;
  }
  static bool Blocks(const Snapshot& snapshot, const std::string& text, const std::string& key = "acmekey1") {
    return Blocks(*snapshot.Policies(*snapshot.FindKey(key)), text);
  }
  // Whether a canary with all of acme's requests judges them, and blocks this.
  static bool CanaryBlocks(const Snapshot& snapshot, const std::string& text) {
    const Judges judges = snapshot.JudgesOf(*snapshot.FindKey("acmekey1"), base::RequestId::New());
    return judges.canary && Blocks(*judges.acting, text);
  }
  static absl::Status MayBegin(const Snapshot& snapshot, const std::string& key = "acmekey1") {
    return snapshot.MayBegin(*snapshot.FindKey(key), kNow);
  }

  Company company;
  HeldCompile held;
  PolicyCompiler compiler{held.AsCompile(), nullptr};
  SnapshotBuilder builder{kMacKey, &compiler};
  Row acme, globex, globex_key;
  std::map<std::string, Row> bindings;
};

}  // namespace tollgate::directory::test
