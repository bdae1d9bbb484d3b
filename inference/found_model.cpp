// How it works. A name is a model's, or a model's with adapters behind a colon; the replica of a model's strict answers has the model's
// name and stands beside that of the others.
//
// Tested by tests/inference/load_test.cpp, tests/inference/adapter_pool_test.cpp, tests/inference/strict_test.cpp.
#include "inference/found_model.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/error_detail.h"
#include "inference/fingerprint.h"

namespace tollgate::inference {
namespace {

std::vector<std::string> NamesOf(const AdaptersHeld& adapters) {
  std::vector<std::string> names;
  for (const auto& adapter : adapters) names.push_back(adapter->info.name);
  return names;
}

std::shared_ptr<Replica> ByName(const Replicas& all, std::string_view model, bool strict) {
  const auto is_it = [&](const auto& r) { return r->info().name == model && IsStrict(*r) == strict; };
  const auto found = std::find_if(all.begin(), all.end(), is_it);
  return found == all.end() ? nullptr : *found;
}

}  // namespace

// The name of a model with adapters is the same for the same adapters.
ModelInfo FoundModel::info() const {
  ModelInfo its = replica->info();
  if (adapters.empty()) return its;
  its.base = std::exchange(its.name, base::JoinAdapters(NamesOf(adapters)));
  for (const auto& adapter : adapters) its.adapters.push_back(adapter->info);
  return its;
}

absl::StatusOr<FoundModel> FindModel(const Replicas& all, std::string_view name, const Finding& how) {
  if (auto replica = ByName(all, name, how.strict)) return FoundModel{std::move(replica), {}};
  const base::AdapterNames parts = base::SplitAdapters(name);
  auto replica = parts.adapters.empty() ? nullptr : ByName(all, parts.base, how.strict);
  if (replica == nullptr) return NoSuchModel();
  TG_RETURN_IF_ERROR(parts.Check());
  TG_ASSIGN(AdaptersHeld adapters, replica->Adapters(parts.adapters, how.goes_on));
  return FoundModel{std::move(replica), std::move(adapters)};
}

absl::StatusOr<FoundModel> FindStrict(const Replicas& all, const FoundModel& found, bool goes_on) {
  auto replica = StrictBeside(all, *found.replica);
  if (replica == nullptr) {
    return base::FailedPrecondition(fmt::format("model {} gives no strict answers: register it with strict", found.replica->info().name));
  }
  TG_ASSIGN(AdaptersHeld adapters, replica->Adapters(NamesOf(found.adapters), goes_on));
  return FoundModel{std::move(replica), std::move(adapters)};
}

absl::Status NoSuchModel() {
  base::ErrorDetail detail;
  detail.reason = "MODEL_NOT_FOUND";
  detail.param = "model";
  detail.may_retry = false;
  return base::WithDetail(base::NotFound("no such model is loaded; ask for the list of models"), detail);
}

absl::Status Expect(const FoundModel& found, const std::string& fingerprint) {
  if (fingerprint.empty() || FingerprintOf(found.info()) == fingerprint) return absl::OkStatus();
  return base::WithDetail(base::Unavailable("the model was replaced while the request was looked at; send the request again"),
                          {.reason = "MODEL_CHANGED", .param = "model", .retry_after_ms = 1000});
}

bool IsStrict(const Replica& replica) { return replica.info().strict.has_value(); }

std::shared_ptr<Replica> StrictBeside(const Replicas& all, const Replica& of) { return ByName(all, of.info().name, true); }

void AddStrict(const Replica* strict, ModelInfo& info) {
  if (strict == nullptr) return;
  info.strict = strict->info().strict;
  if (!info.adapters.empty()) return;  // What an adapter takes is told of one copy.
  const ModelInfo beside = strict->infos().front();
  info.memory_bytes += beside.memory_bytes;
  info.device_memory_bytes += beside.device_memory_bytes;
}

}  // namespace tollgate::inference
