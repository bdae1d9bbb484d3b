// A fallback is taken before the request is on record where that shows in time, so that its one REQUEST record says what was asked for and
// what was used, and policy, price and quota are those of the model that is used from the start. What fails later is gone on with by
// another request (fallback.h). Tested by tests/gateway/pipeline/route_test.cpp.
#include "gateway/pipeline/route.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/shard.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {
namespace {

using directory::Alias;
using directory::AliasTarget;

std::vector<AliasTarget> Usable(const identity::Principal& principal, const Alias& alias) {
  std::vector<AliasTarget> targets;
  for (const AliasTarget& target : alias.targets) {
    if (principal.snapshot->MayUse(principal.place, target.model)) targets.push_back(target);
  }
  return targets;
}

// Which adapters act, by name and the beginning of their digests: "legal@0123456789ab tone@…".
std::string Adapters(const inference::ModelInfo& model) {
  std::string text;
  for (const inference::AdapterInfo& adapter : model.adapters) {
    text += fmt::format("{}{}@{}", text.empty() ? "" : " ", adapter.name.substr(adapter.name.rfind(':') + 1),
                        base::HexEncode(base::View(adapter.sha256)).substr(0, 12));
  }
  return text;
}

// A route to a model, told with its adapters; alone it is not told.
Route Made(inference::ModelInfo model, std::string told) {
  if (!model.adapters.empty()) told = fmt::format("{}; adapters={}", told.empty() ? "model=" + model.name : told, Adapters(model));
  return {std::move(model), std::move(told)};
}

// The model is not there: another may take its place. Whatever else is wrong is told.
bool IsAway(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return detail && (detail->reason == "MODEL_NOT_LOADED" || detail->reason == "MODEL_NOT_FOUND");
}

std::string ShareOf(const std::vector<AliasTarget>& targets, const AliasTarget& chosen) {
  const auto add = [](std::int64_t sum, const AliasTarget& target) { return sum + target.weight; };
  return fmt::format("share={}/{}", chosen.weight, std::accumulate(targets.begin(), targets.end(), std::int64_t{0}, add));
}

}  // namespace

absl::StatusOr<Route> RouteOf(const Collaborators& with, const identity::Principal& principal, const std::string& asked,
                              const base::RequestId& request, int sequences) {
  const Alias* alias = principal.snapshot->FindAlias(asked);
  if (alias == nullptr) {
    TG_ASSIGN(inference::ModelInfo model, Resolve(with, principal, asked));
    return Made(std::move(model), {});
  }
  const std::vector<AliasTarget> targets = Usable(principal, *alias);
  if (targets.empty()) {
    return base::WithDetail(base::PermissionDenied(fmt::format(
                                "this key may use none of the models that {} leads to; ask an administrator to grant one", alias->name)),
                            {.reason = "MODEL_NOT_GRANTED", .param = "model", .may_retry = false});
  }
  const AliasTarget& chosen = directory::Choose(targets, request);
  auto model = Resolve(with, principal, chosen.model);
  if (!model.ok() && !IsAway(model.status())) return model.status();
  const Fallbacks all{.alias = alias->name, .models = alias->fallbacks};
  if (!model.ok() || (!all.models.empty() && !with.pool->Takes(chosen.model, principal.place.team->id, sequences))) {
    Fallbacks left = all;
    left.tried.push_back(chosen.model);
    std::string why;
    std::optional<Route> other = NextRoute(with, principal, left, nullptr, sequences, why);
    if (other) return *std::move(other);
  }
  TG_RETURN_IF_ERROR(model.status());
  const std::string told = fmt::format("alias={}; model={}; {}", alias->name, chosen.model, ShareOf(targets, chosen));
  Route route = Made(*std::move(model), told);  // Of a full one: it says when to try again.
  route.fallbacks = all;
  return route;
}

std::optional<Route> NextRoute(const Collaborators& with, const identity::Principal& principal, const Fallbacks& left,
                               const std::function<absl::Status(const inference::ModelInfo&)>& fits, int sequences, std::string& why) {
  for (std::size_t i = left.next; i < left.models.size(); ++i) {
    const std::string& name = left.models[i];
    if (std::find(left.tried.begin(), left.tried.end(), name) != left.tried.end()) continue;
    auto model = Resolve(with, principal, name);
    absl::Status can = model.status();
    if (can.ok()) can = principal.snapshot->PriceOf(name, with.clock->Wall()).status();
    if (can.ok() && fits != nullptr) can = fits(*model);
    if (can.ok() && !with.pool->Takes(name, principal.place.team->id, sequences))
      can = base::Unavailable("its queue has no room for this team now, or its process is being started again");
    if (!can.ok()) {
      const auto detail = base::DetailOf(can);
      // Models that a key may not use are nobody's to know.
      const bool hidden = detail && detail->reason == "MODEL_NOT_GRANTED";
      why += why.empty() ? "" : "; ";
      why += hidden ? fmt::format("fallback {}: this key may not use it", i + 1) : fmt::format("{}: {}", name, base::Message(can));
      continue;
    }
    Route route = Made(*std::move(model), fmt::format("alias={}; model={}; fallback={}", left.alias, name, i + 1));
    route.fallbacks = left;
    route.fallbacks.next = i + 1;
    return route;
  }
  return std::nullopt;
}

absl::StatusOr<Route> RouteByRule(const Collaborators& with, const identity::Principal& principal, const policy::RuleOutcome& rule,
                                  const std::function<absl::Status(const inference::ModelInfo&)>& fits, const base::RequestId& request,
                                  int sequences) {
  const std::string& target = rule.effect.text;
  const auto about = [&](const absl::Status& status) {
    return base::Annotate(status, fmt::format("policy rule {} sends this request to {}", rule.rule_id, target));
  };
  auto route = RouteOf(with, principal, target, request, sequences);
  if (!route.ok()) return about(route.status());
  TG_RETURN_IF_ERROR(about(fits(route->model)));
  TG_RETURN_IF_ERROR(about(principal.snapshot->PriceOf(route->model.name, with.clock->Wall()).status()));
  const std::string told = fmt::format("rule={}; model={}", rule.rule_id, route->model.name);
  return Made(std::move(route->model), told);
}

std::string ServesOf(const inference::ModelInfo& model) { return model.embeds() ? "embeddings" : model.reranks() ? "rerank" : "chat"; }

void AddAliases(const Collaborators& with, const identity::Principal& principal, tollgate::v1::ListModelsReply& reply) {
  for (const auto& [name, alias] : principal.snapshot->installation().aliases) {
    std::optional<std::int64_t> context_tokens;  // What every target gives: a caller cannot know which one it will be.
    std::string serves;
    for (const AliasTarget& target : Usable(principal, alias)) {
      const auto info = with.pool->Find(target.model);
      if (!info.ok() || !Offers(with, *principal.snapshot, target.model)) continue;
      serves = !context_tokens || serves == ServesOf(*info) ? ServesOf(*info) : "";
      context_tokens = std::min(context_tokens.value_or(info->context_tokens), info->context_tokens);
    }
    if (!context_tokens.has_value()) continue;
    auto* models = reply.mutable_models();
    const auto same = std::find_if(models->begin(), models->end(), [&name = name](const auto& m) { return m.name() == name; });
    tollgate::v1::Model* out = same == models->end() ? models->Add() : &*same;
    out->clear_sha256();
    out->clear_licence();
    out->set_name(name);
    out->set_context_tokens(*context_tokens);
    out->set_serves(serves);
    out->clear_dimensions();
  }
}

}  // namespace tollgate::pipeline
