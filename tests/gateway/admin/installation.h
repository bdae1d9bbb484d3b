// An installation for tests: a database of its own, a journal in memory, Changes, and a first owner's key.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "gateway/admin/changes.h"
#include "gateway/directory/directory_postgres.h"
#include "gateway/identity/identity.h"
#include "tests/support/fake_journal.h"
#include "tests/support/postgres_cluster.h"

namespace tollgate::test {

// Fails the test if the change was refused.
template <typename T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status());
  REQUIRE(made.ok());
  return *std::move(made);
}

struct Installation {
  Installation() : url(PostgresCluster::Shared().NewDatabase({"migrations/main"})), changes(MakeChanges(journal)) {}

  base::PostgresOptions As(const std::string& role) const {
    base::PostgresOptions options = PostgresCluster::Shared().Options(url);
    options.role = role;
    return options;
  }
  std::unique_ptr<admin::Changes> MakeChanges(audit::Journal& to) {
    admin::ChangesOptions options;
    options.postgres = As("tollgate_directory");
    options.mac_key = mac_key;
    options.pepper = pepper;
    options.on_change = [this](std::int64_t version) {
      ++commits;
      last_version = version;
    };
    return std::make_unique<admin::Changes>(std::move(options), to, base::SystemClock());
  }
  directory::DirectoryOptions DirectoryOptions() const {
    directory::DirectoryOptions options;
    options.postgres = As("tollgate_directory");
    options.mac_key = mac_key;
    return options;
  }
  std::unique_ptr<directory::PostgresDirectory> OpenDirectory() {
    return Must(directory::PostgresDirectory::Open(DirectoryOptions(), base::SystemClock()));
  }

  // org, team search, project web, a key for it; the key's text.
  std::string MakeOrg(const std::string& org, std::vector<directory::Role> roles = {directory::Role::kMember}) {
    Must(changes->CreateOrg(cli, org));
    Must(changes->CreateTeam(cli, org, "search"));
    Must(changes->CreateProject(cli, org, "search", "web"));
    return MakeKey(org, "app", std::move(roles));
  }
  std::string MakeKey(const std::string& org, const std::string& name, std::vector<directory::Role> roles, std::string owner = "") {
    if (owner.empty()) owner = "ann@" + org + ".example";
    auto made = Must(changes->CreateKey(cli, {org, "search", "web", {}}, {name, owner, std::move(roles), std::nullopt, false}));
    public_ids[org + "/" + name] = made.row.Text("public_id");
    return made.secret;
  }
  std::string IdOf(const std::string& key) const { return public_ids.at(key); }

  // As the superuser: what a hostile administrator of the database could do.
  void Sql(const std::string& sql) {
    const auto status = PostgresCluster::Shared().Connect(url)->RunScript("tamper", sql);
    INFO(status);
    REQUIRE(status.ok());
  }

  const std::string mac_key = std::string(32, 'm');
  const std::string pepper = std::string(32, 'p');
  const admin::Actor cli{"cli:root", {}, true};
  std::string url;
  FakeJournal journal;
  int commits = 0;
  std::int64_t last_version = 0;
  std::map<std::string, std::string> public_ids;
  std::unique_ptr<admin::Changes> changes;
};

}  // namespace tollgate::test
