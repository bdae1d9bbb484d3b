#include "gateway/identity/permissions.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/directory/names.h"
#include "tollgate/v1/audit.pb.h"
#include "tollgate/v1/defaults.pb.h"
#include "tollgate/v1/directory.pb.h"
#include "tollgate/v1/embeddings.pb.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/policy.pb.h"
#include "tollgate/v1/registry.pb.h"
#include "tollgate/v1/system.pb.h"
#include "tollgate/v1/usage.pb.h"

using namespace tollgate;
using directory::Role;
using identity::Permission;
using identity::Reach;

namespace {

// The table as people read it: '-' no, 'o' own org, 'A' the whole installation. Order: use, read directory, orgs, teams, keys, grants,
// quotas, prices, read policy, write policy, activate policy, audit, content, verify, usage, reconcile, system, stop, stop everything,
// models, grammars, strict answers.
const std::map<std::string, std::string> kTable = {
    {"owner", "oAAAAAAAAAAAAAAAAAAAoo"},    {"admin", "oo-oooo-oooo--o-oo--oo"},   {"policy_author", "oo------ooo-----------"},
    {"approver", "-o------o-o-----------"}, {"auditor", "-o------o--oo-o-------"}, {"finance", "-o------------o-------"},
    {"operator", "-A-----A-----A-AAAAA--"}, {"member", "o---------------o-----"},  {"grammar_author", "--------------------o-"},
    {"evidence", "---------------------o"},
};

char Letter(Reach reach) { return reach == Reach::kNone ? '-' : reach == Reach::kOrg ? 'o' : 'A'; }

directory::Key KeyWith(std::vector<Role> roles) {
  directory::Key key;
  key.public_id = "abcdefgh";
  key.roles = std::move(roles);
  return key;
}

// The comments of enum Permission, those of several lines as one, without their last full stop.
std::vector<std::string> Comments() {
  std::istringstream header(base::ReadFile(TOLLGATE_SOURCE_DIR "/gateway/identity/permissions.h").value());
  std::vector<std::string> comments;
  std::string line;
  while (std::getline(header, line) && line != "enum class Permission {") continue;
  while (std::getline(header, line) && line != "};") {
    const std::size_t mark = line.find("// ");
    if (mark == std::string::npos) continue;
    if (line.compare(0, 3, "  k") == 0) {
      comments.push_back(line.substr(mark + 3));
    } else if (!comments.empty()) {
      comments.back() += " " + line.substr(mark + 3);
    }
  }
  for (std::string& comment : comments) comment.resize(comment.size() - 1);
  return comments;
}

}  // namespace

TEST_CASE("Each role may do what the table says, and there is a row for each") {
  std::set<std::string> seen;
  for (const auto& row : identity::RoleTable()) {
    std::string letters;
    for (const Reach reach : row.reach) letters += Letter(reach);
    const std::string name(directory::RoleName(row.role));
    INFO(name);
    CHECK(letters == kTable.at(name));
    CHECK(seen.insert(name).second);
    for (int p = 0; p < identity::kPermissions; ++p) {
      CHECK(identity::ReachOf(row.role, static_cast<Permission>(p)) == row.reach[static_cast<std::size_t>(p)]);
    }
  }
  CHECK(seen.size() == kTable.size());
}

TEST_CASE("Every call of every service is in the table once, and nothing else is") {
  std::set<std::string> declared;
  for (const auto* file :
       {v1::ChatRequest::descriptor()->file(), v1::Org::descriptor()->file(), v1::StoredPolicy::descriptor()->file(),
        v1::ModelSpec::descriptor()->file(), v1::ChatDefaults::descriptor()->file(), v1::EmbedRequest::descriptor()->file(),
        v1::StoredRecord::descriptor()->file(), v1::UsageLine::descriptor()->file(), v1::StatusReply::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        declared.insert("/" + file->service(s)->full_name() + "/" + file->service(s)->method(m)->name());
      }
    }
  }
  std::set<std::string> listed;
  for (const auto& row : identity::CallTable()) CHECK(listed.insert(std::string(row.method)).second);
  CHECK(listed == declared);
  CHECK_FALSE(identity::PermissionOf("/tollgate.v1.Directory/DropEverything").has_value());
  CHECK_FALSE(identity::PermissionOf("").has_value());
}

TEST_CASE("A key reaches as far as the furthest of its roles") {
  CHECK(identity::ReachOf(KeyWith({Role::kMember}), Permission::kReadAudit) == Reach::kNone);
  CHECK(identity::ReachOf(KeyWith({Role::kMember, Role::kAuditor}), Permission::kReadAudit) == Reach::kOrg);
  CHECK(identity::ReachOf(KeyWith({Role::kAuditor, Role::kOwner}), Permission::kReadAudit) == Reach::kInstallation);
  CHECK(identity::ReachOf(KeyWith({}), Permission::kUseModels) == Reach::kNone);
}

TEST_CASE("Nobody gives a role that reaches further than their own") {
  CHECK(identity::MayGive(KeyWith({Role::kOwner}), Role::kOwner).ok());
  CHECK(identity::MayGive(KeyWith({Role::kAdmin}), Role::kMember).ok());
  CHECK(identity::MayGive(KeyWith({Role::kAdmin}), Role::kPolicyAuthor).ok());
  for (const Role too_far : {Role::kOwner, Role::kOperator, Role::kAuditor}) {
    const absl::Status refused = identity::MayGive(KeyWith({Role::kAdmin}), too_far);
    CHECK(absl::IsPermissionDenied(refused));
    CHECK(base::DetailOf(refused)->reason == "ROLE_TOO_FAR");
  }
  CHECK_FALSE(identity::MayGive(KeyWith({Role::kMember}), Role::kAdmin).ok());
}

TEST_CASE("docs/roles.md has the table as it is") {
  const auto page = base::ReadFile(TOLLGATE_SOURCE_DIR "/docs/roles.md");
  REQUIRE(page.ok());
  std::string head = "| may |", line;
  for (const auto& row : identity::RoleTable()) head += " " + std::string(directory::RoleName(row.role)) + " |";
  CHECK(page->find(head + "\n") != std::string::npos);
  for (int p = 0; p < identity::kPermissions; ++p) {
    line = "| `" + std::string(identity::PermissionName(static_cast<Permission>(p))) + "` |";
    for (const auto& row : identity::RoleTable()) {
      const Reach reach = row.reach[static_cast<std::size_t>(p)];
      line += reach == Reach::kNone ? " - |" : reach == Reach::kOrg ? " own |" : " all |";
    }
    INFO(line);
    CHECK(page->find(line + "\n") != std::string::npos);
  }
}

TEST_CASE("docs/roles.md says of each permission what its comment says, and names the calls that need it") {
  const auto page = base::ReadFile(TOLLGATE_SOURCE_DIR "/docs/roles.md");
  REQUIRE(page.ok());
  const std::vector<std::string> comments = Comments();
  REQUIRE(comments.size() == identity::kPermissions);
  for (int p = 0; p < identity::kPermissions; ++p) {
    std::string calls;
    for (const auto& row : identity::CallTable()) {
      if (row.permission != static_cast<Permission>(p)) continue;
      std::string call(row.method.substr(std::string_view("/tollgate.v1.").size()));
      std::replace(call.begin(), call.end(), '/', '.');
      calls += (calls.empty() ? "`" : ", `") + call + "`";
    }
    const std::string line = "| `" + std::string(identity::PermissionName(static_cast<Permission>(p))) + "` | " +
                             comments[static_cast<std::size_t>(p)] + " | " + (calls.empty() ? "-" : calls) + " |\n";
    INFO(line);
    CHECK(page->find(line) != std::string::npos);
  }
}
