// The part of Changes that keeps the models' registry and the aliases. As in changes.cpp, each method is one body. A registered model's
// settings never change: another setting is another model, or the same name after the old one was retired, so that a record's model and
// digest always say what answered. Tested by tests/gateway/admin/changes_models_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/encoding.h"
#include "gateway/admin/changes_impl.h"
#include "gateway/admin/text.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/models.h"
#include "gateway/directory/names.h"

namespace tollgate::admin {

using directory::Alias;
using directory::Model;
using directory::Row;
using directory::Table;

namespace {

absl::StatusOr<std::optional<Row>> FindRow(Transaction& t, const std::string& name) {
  return t.Find(Table::kModel, "name = $1::text", {name});
}

// The row of a model that is not retired.
absl::StatusOr<Row> Registered(Transaction& t, const std::string& name) {
  TG_RETURN_IF_ERROR(directory::CheckModelName(name));
  TG_ASSIGN(std::optional<Row> row, FindRow(t, name));
  if (row.has_value() && !row->Bool("retired")) return *std::move(row);
  return base::NotFound(fmt::format("no model {} is registered; `tollgate models list --registered` names those that are", name));
}

Note NoteOf(std::string action, std::string summary) { return {std::move(action), std::move(summary), {}, {}, {}}; }

std::string Describe(const Model& model) {
  if (!model.base.empty()) {
    return fmt::format("registered adapter {} of model {} from {} (sha256 {}, licence {}, scale {})", model.name, model.base, model.file,
                       base::HexEncode(base::View(*model.sha256)), model.licence.empty() ? "not stated" : model.licence,
                       static_cast<double>(model.scale_millionths) / 1e6);
  }
  if (!model.sha256.has_value()) return fmt::format("registered model {} (engine {})", model.name, model.engine);
  return fmt::format("registered model {} from {} (sha256 {}, licence {}, {} slots of {} tokens{}, kv {}{}{})", model.name, model.file,
                     base::HexEncode(base::View(*model.sha256)), model.licence.empty() ? "not stated" : model.licence, model.slots,
                     model.context_tokens, model.kv_tokens == 0 ? "" : fmt::format(" that share {}", model.kv_tokens), model.kv,
                     model.pooling.empty() ? "" : fmt::format(", pooling {}", model.pooling), model.strict ? ", strict" : "");
}

// An adapter of no model would be refused for ever.
absl::Status HasNoAdapters(Transaction& t, const std::string& model) {
  TG_ASSIGN(const auto rows, t.FindAll(Table::kModel, "base = $1::text AND NOT retired", {model}));
  if (rows.empty()) return absl::OkStatus();
  return base::FailedPrecondition(
      fmt::format("model {0} has the adapter {1}; retire that first: tollgate models retire {1} …", model, rows.front().Text("name")));
}

// A name of a model, or of one of the adapters of a name.
bool Leads(const std::string& target, const std::string& model) {
  const std::vector<std::string> adapters = base::SplitAdapters(target).adapters;
  return target == model || std::find(adapters.begin(), adapters.end(), model) != adapters.end();
}

// An alias that led nowhere would refuse whoever uses it.
absl::Status NotLedTo(Transaction& t, const std::string& model) {
  TG_ASSIGN(const auto rows, t.FindAll(Table::kAlias, "NOT removed", {}));
  for (const Row& row : rows) {
    TG_ASSIGN(const Alias alias, directory::AliasOf(row));
    const bool target = std::any_of(alias.targets.begin(), alias.targets.end(), [&](const auto& t) { return Leads(t.model, model); });
    const bool fallback = std::any_of(alias.fallbacks.begin(), alias.fallbacks.end(), [&](const auto& name) { return Leads(name, model); });
    if (!target && !fallback) continue;
    return base::FailedPrecondition(
        fmt::format("alias {} leads to model {}; lead it elsewhere first: tollgate models alias {} …", alias.name, model, alias.name));
  }
  return absl::OkStatus();
}

// A model that was retired since an alias led there answers nobody.
absl::Status NoneRetired(Transaction& t, const std::string& name, const Row& row) {
  TG_ASSIGN(const Alias before, directory::MakeAlias(name, row.Text("previous_targets"), row.Text("previous_fallbacks")));
  std::vector<std::string> models = before.fallbacks;
  for (const auto& target : before.targets) models.push_back(target.model);
  for (std::size_t i = 0, named = models.size(); i < named; ++i) {
    for (const std::string& adapter : base::SplitAdapters(models[i]).adapters) models.push_back(adapter);
  }
  for (const std::string& model : models) {
    TG_ASSIGN(const std::optional<Row> found, FindRow(t, model));
    if (!found.has_value() || !found->Bool("retired")) continue;
    return base::FailedPrecondition(
        fmt::format("alias {} led to model {} before, which is retired; lead it elsewhere: tollgate models alias {} …", name, model, name));
  }
  return absl::OkStatus();
}

// The row of an alias that is not removed.
absl::StatusOr<Row> AliasRow(Transaction& t, const std::string& name) {
  TG_RETURN_IF_ERROR(directory::CheckModelName(name));
  TG_ASSIGN(std::optional<Row> row, t.Find(Table::kAlias, "name = $1::text", {name}));
  if (row.has_value() && !row->Bool("removed")) return *std::move(row);
  return base::NotFound(fmt::format("there is no alias {}; `tollgate models aliases` names those there are", name));
}

std::string LeadsTo(const Row& row) {
  const std::string& fallbacks = row.Text("fallbacks");
  return fmt::format("alias {} leads to {}{}{}", row.Text("name"), row.Text("targets"), fallbacks.empty() ? "" : ", else to ", fallbacks);
}

}  // namespace

absl::StatusOr<Changed> Changes::SetAlias(const Actor& actor, const Alias& alias) {
  TG_RETURN_IF_ERROR(directory::Validate(alias));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const std::optional<Row> old, t.Find(Table::kAlias, "name = $1::text", {alias.name}));
    const std::string targets = TargetsText(alias);
    const std::string fallbacks = FallbacksText(alias);
    const bool there = old.has_value() && !old->Bool("removed");
    out.row = old.has_value() ? *old : directory::NewRow(Table::kAlias);
    if (there && old->Text("targets") == targets && old->Text("fallbacks") == fallbacks) return absl::OkStatus();
    out.row.Set("name", alias.name);
    out.row.Set("targets", targets);
    out.row.Set("fallbacks", fallbacks);
    out.row.Set("previous_targets", there ? base::Value(old->Text("targets")) : base::Value());
    out.row.Set("previous_fallbacks", there ? base::Value(old->Text("fallbacks")) : base::Value());
    out.row.Set("removed", std::string("f"));
    return t.Write(out.row, old.has_value() ? &*old : nullptr, NoteOf("alias.set", LeadsTo(out.row)));
  });
}

absl::StatusOr<Changed> Changes::RollbackAlias(const Actor& actor, const std::string& name, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const Row old, AliasRow(t, name));
    if (old.IsNull("previous_targets")) return base::FailedPrecondition(fmt::format("alias {} led nowhere else before", name));
    TG_RETURN_IF_ERROR(NoneRetired(t, name, old));
    out.row = old;
    out.row.Set("targets", old.Text("previous_targets"));
    out.row.Set("fallbacks", old.Text("previous_fallbacks"));
    out.row.Set("previous_targets", old.Text("targets"));
    out.row.Set("previous_fallbacks", old.Text("fallbacks"));
    return t.Write(out.row, &old, NoteOf("alias.rollback", fmt::format("rolled back: {}: {}", LeadsTo(out.row), reason)));
  });
}

absl::StatusOr<Changed> Changes::RemoveAlias(const Actor& actor, const std::string& name, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const Row old, AliasRow(t, name));
    out.row = old;
    out.row.Set("removed", std::string("t"));
    return t.Write(out.row, &old, NoteOf("alias.remove", fmt::format("removed alias {}: {}", name, reason)));
  });
}

namespace {

// Whom the retired model of this name was opened to was not asked about this one. The lists go on narrowing.
absl::Status CloseGrants(Transaction& t, const std::string& model) {
  TG_ASSIGN(const auto rows, t.FindAll(Table::kModelGrant, "model = $1::text AND by_installation", {model}));
  for (const Row& old : rows) {
    Row row = old;
    row.Set("by_installation", base::Value());
    const std::string summary =
        fmt::format("model {} is another from now on: its line on the allow-list of a {} opens it no more", model, old.Text("scope_kind"));
    TG_RETURN_IF_ERROR(t.Write(row, &old, {"grant.close", summary, old.Id("org"), {}, {}}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Changed> Changes::AddModel(const Actor& actor, const Model& wanted) {
  TG_RETURN_IF_ERROR(directory::Validate(wanted));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const std::optional<Row> old, FindRow(t, wanted.name));
    if (old.has_value() && !old->Bool("retired")) {
      out.row = *old;
      const Model there = directory::ModelOf(*old);
      if (SameReplica(there, wanted) && there.restricted == wanted.restricted) return absl::OkStatus();
      return base::AlreadyExists(fmt::format(
          "a model {} is registered with other settings; retire it first (tollgate models retire {}), or choose another name and lead "
          "callers there with an alias",
          wanted.name, wanted.name));
    }
    if (old.has_value()) TG_RETURN_IF_ERROR(CloseGrants(t, wanted.name));
    out.row = old.has_value() ? *old : directory::NewRow(Table::kModel);
    Model model = wanted;
    model.loaded = model.retired = false;
    directory::ToRow(model, out.row);
    return t.Write(out.row, old.has_value() ? &*old : nullptr, NoteOf("model.add", Describe(model)));
  });
}

absl::StatusOr<Changed> Changes::SetModelLoaded(const Actor& actor, const std::string& name, bool loaded) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const Row old, Registered(t, name));
    out.row = old;
    if (old.Bool("loaded") == loaded) return absl::OkStatus();
    out.row.Set("loaded", std::string(loaded ? "t" : "f"));
    const std::string summary = fmt::format("{} model {}", loaded ? "loaded" : "unloaded", name);
    return t.Write(out.row, &old, NoteOf(loaded ? "model.load" : "model.unload", summary));
  });
}

absl::StatusOr<Changed> Changes::RestrictModel(const Actor& actor, const std::string& name, bool restricted) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const Row old, Registered(t, name));
    out.row = old;
    if (old.Bool("restricted") == restricted) return absl::OkStatus();
    out.row.Set("restricted", std::string(restricted ? "t" : "f"));
    const std::string summary = restricted ? fmt::format("restricted model {} to scopes whose allow-list names it", name)
                                           : fmt::format("opened model {} to everybody whom no allow-list keeps from it", name);
    return t.Write(out.row, &old, NoteOf(restricted ? "model.restrict" : "model.open", summary));
  });
}

absl::StatusOr<Changed> Changes::RetireModel(const Actor& actor, const std::string& name, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const Row old, Registered(t, name));
    TG_RETURN_IF_ERROR(NotLedTo(t, name));
    TG_RETURN_IF_ERROR(HasNoAdapters(t, name));
    out.row = old;
    out.row.Set("loaded", std::string("f"));
    out.row.Set("retired", std::string("t"));
    return t.Write(out.row, &old, NoteOf("model.retire", fmt::format("retired model {}: {}", name, reason)));
  });
}

}  // namespace tollgate::admin
