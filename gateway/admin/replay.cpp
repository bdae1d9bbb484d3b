// A prompt is judged as it came, tools and calls with it, under the names that its key has today and at the hour at which it came. Its
// tokens are those on record; of a prompt that was denied none are, and what is not counted counts as too many.
//
// Tested by tests/gateway/admin/replay_test.cpp; measured by tests/bench/replay_bench.cpp.
#include "gateway/admin/replay.h"

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/encoding.h"
#include "gateway/explain/explain.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/tool_prompt.h"

namespace tollgate::admin {
namespace {

// Contents of one page, sealed; once opened they take about as much again.
constexpr std::int64_t kPageBytes = 16 << 20;

v1::RecordPosition At(const audit::Row& row) {
  v1::RecordPosition at;
  at.set_log_id(row.position.log_id);
  at.set_index(row.position.index);
  return at;
}

policy::Subject SubjectOf(const HistoryPage& page, const v1::Record& record) {
  directory::Place place{.org = &page.shard->org, .team = page.team};
  if (const auto id = base::Uuid::FromBytes(record.key_id()); id.ok()) {
    const auto key = page.shard->by_key_id.find(base::KeyId(*id));
    if (key != page.shard->by_key_id.end()) place = page.shard->places[key->second];
  }
  const std::string& model = record.has_deny() ? record.deny().model_requested() : record.request().model();
  std::vector<std::string> parts;  // As Snapshot::PartsOf, for the record knows its adapters.
  if (record.request().adapters_size() > 0) {
    base::AdapterNames names = base::SplitAdapters(model);
    parts.push_back(std::move(names.base));
    for (std::string& adapter : names.adapters) parts.push_back(std::move(adapter));
  }
  policy::Subject out = pipeline::SubjectOf(place, model, std::move(parts), record.wall_us() / 1'000'000);
  const std::int64_t counted = record.has_deny() ? record.deny().counted_tokens() : record.request().counted_tokens();
  if (counted > 0) out.prompt_tokens = counted;
  if (counted == 0 && record.has_request()) out.prompt_tokens = record.request().input_tokens();  // Of the prompt as it was used: near it.
  return out;
}

absl::Status KeepGoing(const HistoryPage& page) { return page.keep_going ? page.keep_going() : absl::OkStatus(); }

// One prompt. An error: no text that rules can judge.
absl::Status Judge(const HistoryPage& page, const Candidate& candidate, const audit::OpenedRow& opened, explain::Tally& tally) {
  const v1::Record& record = opened.row.record;
  const policy::Subject subject = SubjectOf(page, record);
  TG_RETURN_IF_ERROR(explain::MessagesOf(opened.content.prompt()).status());
  v1::ChatRequest asked;
  *asked.mutable_messages() = opened.content.prompt();
  *asked.mutable_tools() = opened.content.tools();
  const std::vector<policy::Message> prompt = pipeline::PolicyPrompt(asked);
  TG_ASSIGN(const policy::Inspection would, candidate.policies->Inspect(subject, prompt));
  for (const policy::Question& question : would.questions) tally.AddNotAsked(question.label());
  explain::Said was;
  if (candidate.against == nullptr) {
    was = explain::SaidBy(record.has_deny() ? record.deny().input_verdict() : record.request().input_verdict());
  } else {
    TG_ASSIGN(const policy::Inspection now, candidate.against->Inspect(subject, prompt));
    was = explain::SaidBy(now.verdict);
  }
  tally.Compare(page.team->name, false, At(opened.row), was, explain::SaidBy(would.verdict));
  return absl::OkStatus();
}

// A shadow's verdict beside what acted, if it is of the policies asked for.
void CompareOne(const HistoryPage& page, const audit::Row& row, bool output, const v1::Verdict& acted, const v1::ShadowVerdict& shadow,
                const std::string& digest, explain::Tally& tally, std::set<std::string>& said) {
  if (shadow.policy_digest().empty()) return;
  const std::string of = base::HexEncode(shadow.policy_digest());
  if (!of.starts_with(digest)) return;
  said.insert(of);
  for (const std::string& question : shadow.verdict().not_scanned()) tally.AddNotAsked(question);
  tally.Compare(page.team->name, output, At(row), explain::SaidBy(acted), explain::SaidBy(shadow.verdict()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const policy::PolicySet>> CompiledSets::Get(const std::vector<policy::PolicySource>& sources) {
  std::string text;
  for (const policy::PolicySource& source : sources)
    text += fmt::format("{} {} {}{}", source.name.size(), source.yaml.size(), source.name, source.yaml);
  const base::Digest key = base::Sha256(text);
  {
    base::Lock lock(mu_);
    for (const auto& [known, set] : sets_) {
      if (known == key) return set;
    }
  }
  TG_ASSIGN(const auto set, policy::PolicySet::Compile(sources));
  base::Lock lock(mu_);
  if (sets_.size() >= kSetsMax) sets_.pop_front();
  sets_.emplace_back(key, set);
  return set;
}

absl::StatusOr<std::string> Replay(audit::Reader& reader, const HistoryPage& page, const Candidate& candidate, explain::Tally& tally) {
  audit::ListFilter filter = page.filter;
  filter.team = page.team->id;
  TG_ASSIGN(audit::OpenedPage opened, reader.OpenPrompts(page.viewer, filter, candidate.reason, kPageBytes));
  for (audit::OpenedRow& row : opened.rows) {
    TG_RETURN_IF_ERROR(KeepGoing(page));
    if (absl::IsNotFound(row.state)) {
      tally.AddErased();
    } else if (!row.state.ok() || !Judge(page, candidate, row, tally).ok()) {
      tally.AddUnreadable();
    }
    row.content.Clear();  // Not kept longer than it is needed.
  }
  return opened.next;
}

absl::StatusOr<std::string> CompareShadows(audit::Reader& reader, const HistoryPage& page, const std::string& digest, explain::Tally& tally,
                                           std::set<std::string>& said) {
  audit::ListFilter filter = page.filter;
  filter.team = page.team->id;
  filter.oldest_first = true;
  filter.kinds = {v1::RECORD_KIND_REQUEST, v1::RECORD_KIND_DENY, v1::RECORD_KIND_FINAL, v1::RECORD_KIND_ABORT};
  TG_ASSIGN(const audit::Page found, reader.List(page.viewer, filter));
  for (const audit::Row& row : found.rows) {
    TG_RETURN_IF_ERROR(KeepGoing(page));
    const v1::Record& record = row.record;
    if (record.has_request())
      CompareOne(page, row, false, record.request().input_verdict(), record.request().shadow(), digest, tally, said);
    if (record.has_deny()) CompareOne(page, row, false, record.deny().input_verdict(), record.deny().shadow(), digest, tally, said);
    if (!record.has_end()) continue;
    const v1::Verdict acted = pipeline::WithoutAsked(record.end().output_verdict(), record.end().guards());  // A shadow asks nobody.
    CompareOne(page, row, true, acted, record.end().shadow_output(), digest, tally, said);
  }
  return found.next;
}

}  // namespace tollgate::admin
