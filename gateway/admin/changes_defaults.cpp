// The part of Changes that sets chat defaults. A scope has one row, which holds what is in force; its version goes on counting when
// defaults are removed and set anew, so that a version names one state for ever. Tested by tests/gateway/admin/changes_defaults_test.cpp.
#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "gateway/admin/changes_impl.h"
#include "gateway/directory/chat_defaults.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

namespace {

struct FoundDefaults {
  FoundScope scope;
  std::optional<Row> row;
};

absl::StatusOr<FoundDefaults> Find(Transaction& t, const ScopeNames& names) {
  FoundDefaults found;
  TG_ASSIGN(found.scope, t.FindScope(names));
  TG_ASSIGN(found.row, t.Find(Table::kChatDefaults, kOfScope, {KindOf(found.scope), found.scope.row.id.ToString()}));
  return found;
}

// The row of a scope's next state.
Row Next(const FoundDefaults& found, bool removed) {
  Row row = found.row.has_value() ? *found.row : directory::NewRow(Table::kChatDefaults);
  row.Set("org", found.scope.org.ToString());
  row.Set("scope_kind", KindOf(found.scope));
  row.Set("scope_id", found.scope.row.id.ToString());
  row.Set("defaults_version", found.row.has_value() ? found.row->Int("defaults_version") + 1 : std::int64_t{1});
  row.Set("removed", std::string(removed ? "t" : "f"));
  return row;
}

absl::Status OnlyOwners(const char* field, const std::string& what) {
  return OnlyInstallation(
      fmt::format("{}: {} may be set only by an owner of the installation: it goes before the requests of other orgs; ask "
                  "one, or leave it out",
                  field, what),
      field);
}

// All orgs share the models: who manages one of them does not decide that it goes before the others. What it was given it keeps.
absl::Status CheckRaise(const FoundDefaults& found, const tollgate::v1::ChatDefaults& asked) {
  tollgate::v1::ChatDefaults now;
  if (found.row.has_value() && !found.row->Bool("removed")) now = directory::SettingsOf(*found.row);
  const int band = now.has_band() ? std::min(now.band(), directory::kBandOrdinary) : directory::kBandOrdinary;
  const double weight = now.has_weight() ? std::max(now.weight(), directory::kWeightOrdinary) : directory::kWeightOrdinary;
  if (asked.has_band() && asked.band() < band) return OnlyOwners("band", fmt::format("a more urgent one than {}", band));
  if (asked.weight() > weight) return OnlyOwners("weight", fmt::format("more than {}", weight));
  return absl::OkStatus();
}

// Whether each cap that is set stays set, and no higher.
bool KeepsCaps(const tollgate::v1::ChatDefaults& now, const tollgate::v1::ChatDefaults& next) {
  const auto Holds = [](bool was, auto bound, bool is, auto cap) { return !was || (is && cap <= bound); };
  return Holds(now.has_temperature_cap(), now.temperature_cap(), next.has_temperature_cap(), next.temperature_cap()) &&
         Holds(now.has_input_tokens_cap(), now.input_tokens_cap(), next.has_input_tokens_cap(), next.input_tokens_cap()) &&
         Holds(now.has_output_tokens_cap(), now.output_tokens_cap(), next.has_output_tokens_cap(), next.output_tokens_cap()) &&
         Holds(now.has_stop_cap(), now.stop_cap(), next.has_stop_cap(), next.stop_cap()) &&
         Holds(now.has_reasoning_tokens_cap(), now.reasoning_tokens_cap(), next.has_reasoning_tokens_cap(), next.reasoning_tokens_cap());
}

// Caps that were laid down for the installation are ceilings: an org's admin neither raises nor removes them. Says whether `next` holds
// such.
absl::StatusOr<bool> CheckCaps(const Transaction& t, const FoundDefaults& found, const tollgate::v1::ChatDefaults& next) {
  if (t.actor().installation) return true;
  if (!found.row.has_value() || found.row->Bool("removed") || !found.row->Says("by_installation")) return false;
  const tollgate::v1::ChatDefaults now = directory::SettingsOf(*found.row);
  if (KeepsCaps(now, next)) return !KeepsCaps(now, {});
  return OnlyInstallation(
      fmt::format("the caps of {} were set for the installation ({}); name them again, or lower ones, or ask somebody with the role owner",
                  found.scope.text, directory::Words(now)));
}

}  // namespace

absl::StatusOr<Changed> Changes::SetDefaults(const Actor& actor, const ScopeNames& scope, const tollgate::v1::ChatDefaults& set,
                                             bool may_raise) {
  TG_ASSIGN(const auto checked, directory::Checked(set));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundDefaults found, Find(t, scope));
    out.row = Next(found, false);
    if (checked.shares_cache() && found.scope.kind != metering::Scope::Kind::kOrg)
      return base::InvalidArgument("shares_cache: only an org's system prompt is shared by its teams; set it for the org");
    if (!may_raise) TG_RETURN_IF_ERROR(CheckRaise(found, checked));
    TG_ASSIGN(const bool by_installation, CheckCaps(t, found, checked));
    out.row.Set("by_installation", Flag(by_installation));
    directory::ToRow(checked, out.row);
    if (found.row.has_value()) {
      Row same = out.row;
      same.Set("defaults_version", found.row->Int("defaults_version"));
      if (directory::RowDigest(same) == directory::RowDigest(*found.row)) {
        out.row = *found.row;
        return absl::OkStatus();
      }
    }
    const std::string summary = fmt::format("set the chat defaults of {}, version {}: {}", found.scope.text,
                                            out.row.Int("defaults_version"), directory::Words(checked));
    return t.Write(out.row, found.row.has_value() ? &*found.row : nullptr, NoteOf(found.scope, "defaults.set", summary));
  });
}

absl::StatusOr<Changed> Changes::RemoveDefaults(const Actor& actor, const ScopeNames& scope) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundDefaults found, Find(t, scope));
    if (!found.row.has_value() || found.row->Bool("removed"))
      return base::NotFound(fmt::format("{} has no chat defaults of its own", found.scope.text));
    TG_RETURN_IF_ERROR(CheckCaps(t, found, {}).status());
    out.row = Next(found, true);
    const std::string summary = fmt::format("removed the chat defaults of {}", found.scope.text);
    return t.Write(out.row, &*found.row, NoteOf(found.scope, "defaults.remove", summary));
  });
}

}  // namespace tollgate::admin
