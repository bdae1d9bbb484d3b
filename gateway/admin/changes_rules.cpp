// The part of Changes that sets rules: allow-lists, limits, prices, emergency stops; policies are in changes_policies.cpp. As in
// changes.cpp, each method is one body. Tested by tests/gateway/admin/changes_test.cpp.
#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "gateway/admin/changes_impl.h"
#include "gateway/admin/text.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/names.h"
#include "metering/books.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

namespace {

base::Uuid IdOf(const FoundScope& scope) { return scope.row.id; }

void SetScope(Row& row, const FoundScope& scope) {
  row.Set("org", scope.org.ToString());
  row.Set("scope_kind", KindOf(scope));
  row.Set("scope_id", IdOf(scope).ToString());
}

}  // namespace

absl::Status Changes::Impl::SetGrant(Transaction& t, const ScopeNames& scope, const std::string& model, const std::string& state,
                                     Changed& out) {
  TG_ASSIGN(const FoundScope found, t.FindScope(scope));
  TG_ASSIGN(const auto old,
            t.Find(Table::kModelGrant, fmt::format("{} AND model = $3::text", kOfScope), {KindOf(found), IdOf(found).ToString(), model}));
  const bool grant = state == "granted";
  const bool opens = grant && t.actor().installation;  // A restricted model; only so.
  if (old.has_value()) {
    out.row = *old;
    if (old->Text("state") == state && (!opens || old->Says("by_installation"))) return absl::OkStatus();
  } else {
    out.row = directory::NewRow(Table::kModelGrant);
    SetScope(out.row, found);
    out.row.Set("model", model);
  }
  if (!grant && (!old.has_value() || old->Text("state") != "granted")) {
    return base::NotFound(fmt::format("model '{}' is not on the allow-list of {}", model, found.text));
  }
  out.row.Set("state", state);
  out.row.Set("by_installation", Flag(opens));
  const std::string summary = fmt::format("{} model {} {} the allow-list of {}{}", grant ? "put" : "took", model, grant ? "on" : "off",
                                          found.text, opens ? ", for the installation" : "");
  return t.Write(out.row, old.has_value() ? &*old : nullptr, NoteOf(found, grant ? "grant.add" : "grant.revoke", summary));
}

absl::StatusOr<Changed> Changes::GrantModel(const Actor& actor, const ScopeNames& scope, const std::string& model) {
  TG_RETURN_IF_ERROR(directory::CheckModelName(model));
  return impl_->One(actor, [&](Transaction& t, Changed& out) { return impl_->SetGrant(t, scope, model, "granted", out); });
}

absl::StatusOr<Changed> Changes::RevokeGrant(const Actor& actor, const ScopeNames& scope, const std::string& model) {
  TG_RETURN_IF_ERROR(directory::CheckModelName(model));
  return impl_->One(actor, [&](Transaction& t, Changed& out) { return impl_->SetGrant(t, scope, model, "revoked", out); });
}

absl::StatusOr<Cleared> Changes::ClearGrants(const Actor& actor, const ScopeNames& scope) {
  Cleared cleared;
  TG_ASSIGN(cleared.second, impl_->changer.Run(actor, [&](Transaction& t) -> absl::Status {
    cleared.first = 0;
    TG_ASSIGN(const FoundScope found, t.FindScope(scope));
    TG_ASSIGN(const auto rows,
              t.FindAll(Table::kModelGrant, fmt::format("{} AND state <> 'cleared'", kOfScope), {KindOf(found), IdOf(found).ToString()}));
    for (const Row& old : rows) {
      Row row = old;
      row.Set("state", std::string("cleared"));
      TG_RETURN_IF_ERROR(t.Write(
          row, &old, NoteOf(found, "grant.clear", fmt::format("removed the allow-list of {} (model {})", found.text, old.Text("model")))));
      if (old.Text("state") == "granted") ++cleared.first;
    }
    return absl::OkStatus();
  }));
  return cleared;
}

namespace {

absl::StatusOr<metering::QuotaRule> RuleOf(const FoundScope& scope, const std::string& meter, const std::string& window,
                                           std::int64_t amount) {
  metering::QuotaRule rule;
  rule.id = base::Uuid::NewV7();
  rule.scope = {scope.kind, IdOf(scope), scope.text};
  TG_ASSIGN(rule.meter, metering::ParseMeter(meter));
  TG_ASSIGN(rule.window, metering::ParseWindow(window));
  rule.amount = amount;
  TG_RETURN_IF_ERROR(metering::Validate(rule));
  return rule;
}

// "tokens per month", "concurrent".
std::string LimitText(const std::string& meter, const std::string& window) { return window == "none" ? meter : meter + " per " + window; }

constexpr const char* kOneQuota = "scope_kind = $1::text AND scope_id = $2::uuid AND meter = $3::text AND period = $4::text";

// What was laid down for the installation is a ceiling: an org's admin neither raises nor removes it.
absl::Status MayChange(const Transaction& t, const FoundScope& scope, const Row& limit) {
  if (limit.Bool("removed") || !limit.Says("by_installation") || t.actor().installation) return absl::OkStatus();
  return OnlyInstallation(fmt::format(
      "the limit on {} of {} was set for the installation; ask somebody with the role owner to change it, or set limits of your own beside "
      "it: on teams, projects and keys, or over another time",
      LimitText(limit.Text("meter"), limit.Text("period")), scope.text));
}

}  // namespace

absl::StatusOr<Changed> Changes::SetQuota(const Actor& actor, const ScopeNames& scope, const std::string& meter, const std::string& window,
                                          std::int64_t amount) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope found, t.FindScope(scope));
    TG_RETURN_IF_ERROR(RuleOf(found, meter, window, amount).status());
    TG_ASSIGN(const auto old, t.Find(Table::kQuota, kOneQuota, {KindOf(found), IdOf(found).ToString(), meter, window}));
    const bool installation = t.actor().installation;
    if (old.has_value()) {
      out.row = *old;
      const bool so_already = !old->Bool("removed") && old->Int("amount") == amount;
      if (so_already && (!installation || old->Says("by_installation"))) return absl::OkStatus();
      TG_RETURN_IF_ERROR(MayChange(t, found, *old));
    } else {
      out.row = directory::NewRow(Table::kQuota);
      SetScope(out.row, found);
      out.row.Set("meter", meter);
      out.row.Set("period", window);
    }
    out.row.Set("amount", amount);
    out.row.Set("removed", std::string("f"));
    out.row.Set("by_installation", Flag(installation));
    const std::string summary =
        fmt::format("set {} of {} to {}{}", LimitText(meter, window), found.text, amount, installation ? ", for the installation" : "");
    return t.Write(out.row, old.has_value() ? &*old : nullptr, NoteOf(found, "quota.set", summary));
  });
}

absl::StatusOr<Changed> Changes::RemoveQuota(const Actor& actor, const ScopeNames& scope, const std::string& meter,
                                             const std::string& window) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope found, t.FindScope(scope));
    TG_RETURN_IF_ERROR(RuleOf(found, meter, window, 0).status());
    TG_ASSIGN(const auto old, t.Find(Table::kQuota, kOneQuota, {KindOf(found), IdOf(found).ToString(), meter, window}));
    if (!old.has_value() || old->Bool("removed"))
      return base::NotFound(fmt::format("{} has no limit on {}", found.text, LimitText(meter, window)));
    TG_RETURN_IF_ERROR(MayChange(t, found, *old));
    out.row = *old;
    out.row.Set("removed", std::string("t"));
    return t.Write(out.row, &*old,
                   NoteOf(found, "quota.remove", fmt::format("removed the limit on {} of {}", LimitText(meter, window), found.text)));
  });
}

namespace {

// What was left out is as in the line that it follows: a change of one price must not move the bill to another currency, nor end a
// discount.
absl::Status Complete(const Row* before, NewPrice& price) {
  const bool discount = before != nullptr && before->Int("cached_input_nanos") != before->Int("input_nanos");
  const bool moves = before != nullptr && !price.currency.empty() && price.currency != before->Text("currency");
  if (price.currency.empty()) price.currency = before != nullptr ? before->Text("currency") : "EUR";
  if (!price.keeps_cached) return absl::OkStatus();
  price.cached_input = discount ? base::Money{before->Int("cached_input_nanos")} : price.input;
  if (!discount || (!moves && price.cached_input.nanos <= price.input.nanos)) return absl::OkStatus();
  return base::InvalidArgument(
      fmt::format("cached_input_per_1000: {} has had a price of its own for cached input ({} {}), which does not fit "
                  "the new one: name it too",
                  price.model, base::FormatMoney(price.cached_input), before->Text("currency")));
}

}  // namespace

absl::StatusOr<Changed> Changes::SetPrice(const Actor& actor, const NewPrice& asked) {
  TG_RETURN_IF_ERROR(directory::CheckModelName(asked.model));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    NewPrice wanted = asked;
    if (wanted.effective_from_us != 0 && wanted.effective_from_us < t.now_us() - 60'000'000) {
      return base::InvalidArgument("effective_from: a price cannot count from a time in the past; leave it out for now");
    }
    const std::int64_t from_us = wanted.effective_from_us == 0 ? t.now_us() : wanted.effective_from_us;
    TG_ASSIGN(const auto lines, t.FindAll(Table::kPrice, "true", {}));
    const Row* in_force = nullptr;  // The line that counts at from_us: the latest effective one, of two with one time the higher version.
    std::int64_t newest = 0;
    for (const Row& line : lines) {
      newest = std::max(newest, line.Int("price_version"));
      if (line.Text("model") != wanted.model || line.Int("effective_from_us") > from_us) continue;
      const auto rank = [](const Row& row) { return std::pair(row.Int("effective_from_us"), row.Int("price_version")); };
      if (in_force == nullptr || rank(*in_force) < rank(line)) in_force = &line;
    }
    TG_RETURN_IF_ERROR(Complete(in_force, wanted));
    out.row = directory::NewRow(Table::kPrice);
    out.row.Set("price_version", newest + 1);
    out.row.Set("model", wanted.model);
    out.row.Set("effective_from_us", from_us);
    out.row.Set("input_nanos", wanted.input.nanos);
    out.row.Set("cached_input_nanos", wanted.cached_input.nanos);
    out.row.Set("output_nanos", wanted.output.nanos);
    out.row.Set("currency", wanted.currency);
    TG_RETURN_IF_ERROR(metering::Validate({newest + 1, wanted.model, base::FromMicros(from_us), wanted.input.nanos,
                                           wanted.cached_input.nanos, wanted.output.nanos, wanted.currency}));
    if (in_force != nullptr && in_force->Int("input_nanos") == wanted.input.nanos &&
        in_force->Int("cached_input_nanos") == wanted.cached_input.nanos && in_force->Int("output_nanos") == wanted.output.nanos &&
        in_force->Text("currency") == wanted.currency) {
      out.row = *in_force;
      return absl::OkStatus();
    }
    const bool moves = in_force != nullptr && in_force->Text("currency") != wanted.currency;
    const std::string summary =
        fmt::format("set the price of {} from {}: {} input, {} cached input, {} output, {} for 1,000 tokens{}", wanted.model,
                    base::FormatRfc3339(base::FromMicros(from_us)), base::FormatMoney(wanted.input), base::FormatMoney(wanted.cached_input),
                    base::FormatMoney(wanted.output), wanted.currency, moves ? "; before in " + in_force->Text("currency") : "");
    return t.Write(out.row, nullptr, {"price.set", summary, {}, {}, {}});
  });
}

namespace {

// The stop's row as it stands or would be new, and words for it.
struct FoundStop {
  std::optional<Row> old;
  Row row;
  Note note;
  std::string text;
};

bool IsOrHasBase(const std::string& model, const std::string& name) { return model == name || base::SplitAdapters(model).base == name; }

// Whether a model of this name can be running: a registered one, or one that was (its replicas may take a while to go), one that aliases
// lead to, and the base of an adapter.
absl::StatusOr<bool> MayBeRunning(Transaction& t, const StopTarget& target) {
  if (target.configured) return true;
  TG_ASSIGN(const auto registered, t.Find(Table::kModel, "name = $1::text OR starts_with(name, $1::text || ':')", {target.model}));
  if (registered.has_value()) return true;
  TG_ASSIGN(const auto aliases, t.FindAll(Table::kAlias, "NOT removed", {}));
  for (const Row& row : aliases) {
    TG_ASSIGN(const directory::Alias alias, directory::AliasOf(row));
    const auto leads_to = [&](const std::string& model) { return IsOrHasBase(model, target.model); };
    for (const directory::AliasTarget& to : alias.targets) {
      if (leads_to(to.model)) return true;
    }
    if (std::any_of(alias.fallbacks.begin(), alias.fallbacks.end(), leads_to)) return true;
  }
  return false;
}

// A stop is of weights: an alias only leads to them, and requests that run under it know nothing of it. Where a model has the name too that
// one is stopped, whatever the alias does: a stop too many is lifted again.
absl::Status CheckStops(Transaction& t, const StopTarget& target) {
  if (target.kind != StopTarget::Kind::kModel) return absl::OkStatus();
  TG_RETURN_IF_ERROR(directory::CheckModelName(target.model));
  TG_ASSIGN(const std::optional<Row> alias, t.Find(Table::kAlias, "name = $1::text", {target.model}));
  if (!alias || alias->Bool("removed")) return absl::OkStatus();
  TG_ASSIGN(const bool may_be_running, MayBeRunning(t, target));
  if (may_be_running) return absl::OkStatus();
  return base::InvalidArgument(
      fmt::format("{} is an alias: nothing was stopped; stop the models that it leads to ({})", target.model, alias->Text("targets")));
}

absl::StatusOr<FoundStop> FindStop(Transaction& t, const StopTarget& target) {
  FoundStop stop;
  stop.row = directory::NewRow(Table::kStop);
  if (target.kind == StopTarget::Kind::kEverything) {
    stop.text = "everything";
    stop.row.Set("scope_kind", std::string("everything"));
    TG_ASSIGN(stop.old, t.Find(Table::kStop, "scope_kind = 'everything'", {}));
  } else if (target.kind == StopTarget::Kind::kModel) {
    TG_RETURN_IF_ERROR(directory::CheckModelName(target.model));
    stop.text = "model " + target.model;
    stop.row.Set("scope_kind", std::string("model"));
    stop.row.Set("model", target.model);
    TG_ASSIGN(stop.old, t.Find(Table::kStop, "scope_kind = 'model' AND model = $1::text", {target.model}));
  } else {
    if (!target.scope.key.empty()) return base::InvalidArgument("a key is not stopped but revoked");
    TG_ASSIGN(const FoundScope found, t.FindScope(target.scope));
    stop.text = found.text;
    SetScope(stop.row, found);
    stop.note = NoteOf(found, {}, {});
    TG_ASSIGN(stop.old, t.Find(Table::kStop, kOfScope, {KindOf(found), IdOf(found).ToString()}));
  }
  return stop;
}

}  // namespace

absl::StatusOr<Changed> Changes::Stop(const Actor& actor, const StopTarget& target, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_RETURN_IF_ERROR(CheckStops(t, target));
    TG_ASSIGN(FoundStop stop, FindStop(t, target));
    out.row = stop.old.has_value() ? *stop.old : stop.row;
    const bool installation = t.actor().installation;
    const bool stands = stop.old.has_value() && !stop.old->Bool("lifted");
    if (stands && (!installation || stop.old->Says("by_installation"))) return absl::OkStatus();
    out.row.Set("reason", reason);
    if (!stands) out.row.Set("since_us", t.now_us());  // Else it is taken over: from now on its admin cannot lift it.
    out.row.Set("lifted", std::string("f"));
    out.row.Set("by_installation", Flag(installation));
    stop.note.action = "stop";
    stop.note.summary = fmt::format("emergency stop of {}: {}", stop.text, reason);
    return t.Write(out.row, stop.old.has_value() ? &*stop.old : nullptr, stop.note);
  });
}

absl::StatusOr<Changed> Changes::LiftStop(const Actor& actor, const StopTarget& target, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(FoundStop stop, FindStop(t, target));
    if (!stop.old.has_value() || stop.old->Bool("lifted"))
      return base::NotFound(fmt::format("there is no emergency stop of {}", stop.text));
    if (stop.old->Says("by_installation") && !t.actor().installation) {
      return OnlyInstallation(fmt::format(
          "the emergency stop of {} was set for the installation; ask somebody with the role operator or owner to lift it", stop.text));
    }
    out.row = *stop.old;
    out.row.Set("lifted", std::string("t"));
    stop.note.action = "stop.lift";
    stop.note.summary = fmt::format("lifted the emergency stop of {}: {}", stop.text, reason);
    return t.Write(out.row, &*stop.old, stop.note);
  });
}

}  // namespace tollgate::admin
