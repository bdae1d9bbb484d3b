// The inside of Changes, shared by its files.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "gateway/admin/changes.h"
#include "gateway/admin/transaction.h"

namespace tollgate::admin {

class Together;  // together.h

struct Changes::Impl {
  Impl(ChangesOptions options, audit::Journal& journal, const base::Clock& clock) : changer(std::move(options), journal, clock) {}

  absl::StatusOr<Changed> One(const Actor& actor, const std::function<absl::Status(Transaction&, Changed&)>& body);
  // The same, for what must compile with the org's other policies: `body` asks `Together`, and is run again when that is known.
  absl::StatusOr<Changed> WithPolicies(const Actor& actor, const std::function<absl::Status(Transaction&, Changed&, Together&)>& body);
  absl::Status MakeOrg(Transaction& t, const std::string& org, directory::Row& row);
  absl::Status MakeTeam(Transaction& t, const directory::Row& org, const std::string& team, directory::Row& row);
  absl::Status MakeProject(Transaction& t, const directory::Row& team, const std::string& project, directory::Row& row);
  absl::Status MakeKey(Transaction& t, const FoundScope& in, const NewKey& wanted, const base::Uuid& predecessor, CreatedKey& out);
  absl::Status MakeOwnersKey(Transaction& t, const std::string& name, const std::string& owner, bool dev, CreatedKey& out);
  absl::Status CopyRules(Transaction& t, const FoundScope& old, const directory::Row& successor);
  absl::Status SetGrant(Transaction& t, const ScopeNames& scope, const std::string& model, const std::string& state, Changed& out);

  Changer changer;
};

// Rules' and defaults' rows of one scope: $1 KindOf, $2 its row's id.
inline constexpr const char* kOfScope = "scope_kind = $1::text AND scope_id = $2::uuid";
inline std::string KindOf(const FoundScope& scope) { return std::string(metering::NameOf(scope.kind)); }

// The value of `by_installation`, as rows hold it.
inline base::Value Flag(bool set) { return set ? base::Value(std::string("t")) : base::Value(); }

// PERMISSION_DENIED: it takes somebody whose permission reaches over the installation. `param`: the field of the request, if it is one.
absl::Status OnlyInstallation(const std::string& message, const std::string& param = {});

inline Note NoteOf(const FoundScope& scope, std::string action, std::string summary) {
  return {std::move(action), std::move(summary), scope.org, scope.team, scope.project};
}

}  // namespace tollgate::admin
