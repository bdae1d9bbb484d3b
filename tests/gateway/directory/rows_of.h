// Rows for tests, signed, and the head that goes with them: a small company in a few lines.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gateway/directory/rows.h"

namespace tollgate::directory::test {

inline const std::string kMacKey(32, 'm');

// Takes rows as a directory would: each change is a version.
class Company {
 public:
  Row Add(Table table, const std::vector<std::pair<std::string, base::Value>>& values) {
    Row row = NewRow(table);
    for (const auto& [column, value] : values) row.Set(column, value);
    return Put(row);
  }
  // A new row, or a new state of one.
  Row Put(Row row) {
    row.version = head.version + 1;
    row.admin_record = base::Uuid::NewV7();
    row.mac = RowMac(kMacKey, row);
    if (const auto old = macs_.find(row.id); old != macs_.end()) Toggle(head.set, old->second);
    Toggle(head.set, row.mac);
    macs_[row.id] = row.mac;
    head.version = row.version;
    head.mac = HeadMac(kMacKey, head.version, head.set);
    std::erase_if(changed, [&row](const Row& older) { return older.id == row.id; });  // A reader sees the newest state only.
    changed.push_back(row);
    return row;
  }
  Row Org(const std::string& name) { return Add(Table::kOrg, {{"name", name}, {"blocked", std::string("f")}}); }
  Row Team(const Row& org, const std::string& name) {
    return Add(Table::kTeam, {{"org", org.id.ToString()}, {"name", name}, {"blocked", std::string("f")}});
  }
  Row Project(const Row& team, const std::string& name) {
    return Add(Table::kProject, {{"org", team.Text("org")}, {"team", team.id.ToString()}, {"name", name}, {"blocked", std::string("f")}});
  }
  Row Key(const Row& project, const std::string& public_id, const base::Digest& hmac = {}, const std::string& roles = "member",
          bool dev = false) {
    return Add(Table::kKey, {{"org", project.Text("org")},
                             {"project", project.id.ToString()},
                             {"public_id", public_id},
                             {"name", std::string("key-") + std::to_string(head.version)},
                             {"owner", std::string("ann@acme.example")},
                             {"secret_hmac", base::Blob{std::string(base::View(hmac))}},
                             {"roles", roles},
                             {"created_us", std::int64_t{1}},
                             {"dev", std::string(dev ? "t" : "f")}});
  }
  // As an owner of the installation gives it.
  Row Grant(const Row& org, const std::string& kind, const base::Uuid& scope, const std::string& model,
            const std::string& state = "granted") {
    return Add(Table::kModelGrant, {{"org", org.id.ToString()},
                                    {"scope_kind", kind},
                                    {"scope_id", scope.ToString()},
                                    {"model", model},
                                    {"state", state},
                                    {"by_installation", std::string("t")}});
  }
  Row Stop(const Row* org, const std::string& kind, const base::Uuid& scope, const std::string& model) {
    Row row = NewRow(Table::kStop);
    if (org != nullptr) row.Set("org", org->id.ToString());
    row.Set("scope_kind", kind);
    if (!scope.IsNone()) row.Set("scope_id", scope.ToString());
    if (!model.empty()) row.Set("model", model);
    row.Set("reason", std::string("a leak"));
    row.Set("since_us", std::int64_t{5});
    row.Set("lifted", std::string("f"));
    return Put(row);
  }

  Head head;
  std::vector<Row> changed;  // To be applied and cleared by the test.

 private:
  std::map<base::Uuid, base::Digest> macs_;
};

}  // namespace tollgate::directory::test
