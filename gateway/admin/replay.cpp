// A prompt is judged as it came, tools and calls with it, under the names that its key has today and at the hour at which it came. Its
// tokens are those on record; of a prompt that was denied none are, and what is not counted counts as too many.
//
// A reply is judged as its model wrote it (recorded_reply.h), whole, for how it was cut changes no verdict (P7). One that a rule ended is
// judged as if it had ended there by itself; of one that broke off, what could yet have become a match had it gone on is none, as it was
// then.
//
// Tested by tests/gateway/admin/replay_test.cpp and compiled_sets_test.cpp; measured by tests/bench/replay_bench.cpp.
#include "gateway/admin/replay.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/encoding.h"
#include "gateway/explain/explain.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/recorded_reply.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/tool_prompt.h"
#include "policy/json_parts.h"

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

// The model as of which a prompt was judged, and its parts as Snapshot::PartsOf, for the record knows its adapters.
struct JudgedAs {
  std::string model;
  std::vector<std::string> parts;
};

JudgedAs PartedOf(const std::string& model) {
  base::AdapterNames names = base::SplitAdapters(model);
  JudgedAs out{model, {std::move(names.base)}};
  for (std::string& adapter : names.adapters) out.parts.push_back(std::move(adapter));
  return out;
}

// A DENY from before it named its model has only what the caller asked for: that was the model, unless it is an alias's name, a rule sent
// the prompt elsewhere, or it went on for another request.
std::optional<JudgedAs> ModelOf(const HistoryPage& page, const v1::Record& record) {
  const v1::DenyBody& deny = record.deny();
  const std::string& model = record.has_deny() ? deny.model() : record.request().model();
  if ((record.has_deny() ? deny.adapters_size() : record.request().adapters_size()) > 0) return PartedOf(model);
  if (!record.has_deny() || !model.empty()) return JudgedAs{model, {}};
  const auto sent = [](const v1::RuleOutcome& rule) { return rule.effect().starts_with(policy::EffectName(policy::Effect::Kind::kRoute)); };
  const auto& rules = deny.input_verdict().rules();
  if (!deny.continues().empty() || std::any_of(rules.begin(), rules.end(), sent)) return std::nullopt;
  if (!page.parts_of) return JudgedAs{deny.model_requested(), {}};
  auto parts = page.parts_of(deny.model_requested());
  if (!parts) return std::nullopt;
  JudgedAs out{deny.model_requested(), *std::move(parts)};
  if (out.parts.size() > 1) out.model = base::JoinAdapters({out.parts.begin() + 1, out.parts.end()});
  return out;
}

policy::Subject SubjectOf(const HistoryPage& page, const v1::Record& record, JudgedAs as) {
  directory::Place place{.org = &page.shard->org, .team = page.team};
  if (const auto id = base::Uuid::FromBytes(record.key_id()); id.ok()) {
    const auto key = page.shard->by_key_id.find(base::KeyId(*id));
    if (key != page.shard->by_key_id.end()) place = page.shard->places[key->second];
  }
  policy::Subject out = pipeline::SubjectOf(place, std::move(as.model), std::move(as.parts), record.wall_us() / 1'000'000);
  const std::int64_t counted = record.has_deny() ? record.deny().counted_tokens() : record.request().counted_tokens();
  if (counted > 0) out.prompt_tokens = counted;
  if (counted == 0 && record.has_request()) out.prompt_tokens = record.request().input_tokens();  // Of the prompt as it was used: near it.
  return out;
}

absl::Status KeepGoing(const HistoryPage& page) { return page.keep_going ? page.keep_going() : absl::OkStatus(); }

// One prompt. An error: no text that rules can judge.
absl::Status Judge(const HistoryPage& page, const Candidate& candidate, const audit::OpenedRow& opened, explain::Tally& tally) {
  const v1::Record& record = opened.row.record;
  std::optional<JudgedAs> as = ModelOf(page, record);
  if (!as) {
    tally.AddModelUnknown();
    return absl::OkStatus();
  }
  const policy::Subject subject = SubjectOf(page, record, *std::move(as));
  TG_RETURN_IF_ERROR(explain::CheckRoles(opened.content.prompt()));
  v1::ChatRequest asked;
  *asked.mutable_messages() = opened.content.prompt();
  *asked.mutable_tools() = opened.content.tools();
  // A schema is JSON, which no grammar is.
  if (const std::string& schema = opened.content.output_schema(); !schema.empty() && policy::CutJson(schema))
    asked.mutable_output_form()->set_json_schema(schema);
  const std::vector<policy::Message> prompt = pipeline::PolicyPrompt(asked);
  TG_ASSIGN(const policy::Inspection would, candidate.policies->Inspect(subject, prompt, page.keep_going));
  for (const policy::Question& question : would.questions) tally.AddNotAsked(question.label());
  explain::Said was;
  if (candidate.against == nullptr) {
    was = explain::SaidBy(record.has_deny() ? record.deny().input_verdict() : record.request().input_verdict());
  } else {
    TG_ASSIGN(const policy::Inspection now, candidate.against->Inspect(subject, prompt, page.keep_going));
    was = explain::SaidBy(now.verdict);
  }
  tally.Compare(page.team->name, false, At(opened.row), was, explain::SaidBy(would.verdict));
  return absl::OkStatus();
}

// What policies say of a reply.
struct ReplyVerdict {
  v1::Verdict verdict;
  google::protobuf::RepeatedPtrField<v1::GuardOutcome> open;  // Rules of which it is not known what they would say.
};

// A text that is not there as a whole, or not as it was written: what the span rules say, and those rules about the whole that know
// already. Whether a span rule ended it.
absl::StatusOr<bool> JudgePart(const policy::PolicySet& policies, const policy::Subject& subject, const pipeline::RecordedText& text,
                               bool goes_on, const policy::KeepGoing& keep_going, std::vector<policy::Question>& questions,
                               policy::Verdict& verdict) {
  const std::unique_ptr<policy::StreamFilter> filter = policies.OpenOutput(subject, text.channel, keep_going);
  const bool call = text.channel.part == policy::Part::kToolCall;
  TG_ASSIGN(std::string left, filter->Push(text.text));
  if (!goes_on || call) {
    TG_ASSIGN(const std::string rest, filter->Finish());
    left += rest;
  }
  verdict = filter->verdict();
  if (goes_on || call || filter->blocked() || left.empty()) return filter->blocked();
  for (auto question = questions.begin(); question != questions.end();) {
    if (question->shape == nullptr || question->shape->MayBecome(left)) {
      ++question;
      continue;
    }
    const policy::Answer answer{.id = question->id, .hit = true};
    TG_ASSIGN(verdict, policies.Decide(verdict, {&*question, 1}, {&answer, 1}));
    question = questions.erase(question);
  }
  return false;
}

absl::StatusOr<ReplyVerdict> JudgeReply(const policy::PolicySet& policies, const policy::Subject& subject,
                                        const pipeline::RecordedReply& reply, const policy::KeepGoing& keep_going, explain::Tally& tally) {
  using End = pipeline::RecordedChoice::End;
  ReplyVerdict out;
  out.verdict = pipeline::ToProto(policy::Verdict());
  for (const pipeline::RecordedChoice& choice : reply.choices) {
    bool ended = false;  // By a rule: what the model wrote after it would not have been written.
    for (const pipeline::RecordedText& text : choice.texts) {
      if (ended) break;
      std::vector<policy::Question> open = policies.QuestionsOfOutput(subject, text.channel);
      policy::Verdict verdict;
      const bool whole = choice.end == End::kWhole || text.channel.part == policy::Part::kToolCall;  // Calls are, or are none.
      if (whole && !text.decoded) {
        TG_ASSIGN(policy::Filtered filtered, policies.FilterWhole(subject, text.text, text.channel, keep_going));
        ended = filtered.blocked && !filtered.withheld;
        verdict = std::move(filtered.verdict);
        std::erase_if(open, [](const policy::Question& question) { return question.shape != nullptr; });
      } else {
        TG_ASSIGN(ended, JudgePart(policies, subject, text, choice.end == End::kBrokenOff, keep_going, open, verdict));
      }
      pipeline::MergeVerdict(pipeline::ToProto(verdict), choice.index, text.field, out.verdict);
      for (const policy::Question& question : open) {
        tally.AddNotAsked(question.label());
        out.open.Add()->set_rule_id(question.rule_id);
      }
    }
  }
  return out;
}

// The reply that a record ended, if there was one. An error: no text that rules can judge.
absl::Status JudgeEnd(const HistoryPage& page, const Candidate& candidate, const audit::OpenedRow& opened, explain::Tally& tally) {
  const v1::EndBody& end = opened.row.record.end();
  const v1::Record& first = opened.before.front().row.record;
  const v1::RecordPosition at = At(opened.row);
  if (!end.has_output_verdict()) {
    // Nothing was made, or nobody lived to say what rules did to it.
    if (opened.before.size() > 1) tally.AddGap("no_verdict", at);
    return absl::OkStatus();
  }
  if (!first.request().operation().empty()) {
    tally.AddGap("documents", at);
    return absl::OkStatus();
  }
  std::vector<const v1::SealedContent*> contents;
  for (std::size_t i = 1; i < opened.before.size(); ++i) contents.push_back(&opened.before[i].content);
  contents.push_back(&opened.content);
  const pipeline::RecordedReply reply = pipeline::RecordedReplyOf(end, contents);
  const bool wrote = std::any_of(reply.choices.begin(), reply.choices.end(), [](const auto& choice) { return !choice.texts.empty(); });
  if (!wrote && end.output_verdict().rules().empty() && reply.gaps.empty()) return absl::OkStatus();
  std::optional<JudgedAs> as = ModelOf(page, first);  // Of a REQUEST, which has it.
  const policy::Subject subject = SubjectOf(page, first, as ? *std::move(as) : JudgedAs());
  TG_ASSIGN(ReplyVerdict would, JudgeReply(*candidate.policies, subject, reply, page.keep_going, tally));
  v1::Verdict was = end.output_verdict();
  if (candidate.against != nullptr) {
    TG_ASSIGN(ReplyVerdict now, JudgeReply(*candidate.against, subject, reply, page.keep_going, tally));
    was = std::move(now.verdict);
    would.open.MergeFrom(now.open);
  }
  for (const std::string& why : reply.gaps) tally.AddGap(why, at);
  tally.Compare(page.team->name, true, at, explain::SaidBy(pipeline::WithoutAsked(was, would.open)),
                explain::SaidBy(pipeline::WithoutAsked(would.verdict, would.open)));
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

absl::StatusOr<std::shared_ptr<const policy::PolicySet>> CompiledSets::Get(const std::vector<policy::PolicySource>& sources,
                                                                           policy::RunTests tests, base::MonoTime now,
                                                                           const std::function<absl::Status()>& keep_going) {
  std::string text = tests == policy::RunTests::kYes ? "tested " : "";
  for (const policy::PolicySource& source : sources)
    text += fmt::format("{} {} {}{}", source.name.size(), source.yaml.size(), source.name, source.yaml);
  const base::Digest key = base::Sha256(text);
  {
    base::Lock lock(mu_);
    const auto known = std::find_if(sets_.begin(), sets_.end(), [&](const Kept& kept) { return kept.key == key; });
    if (known != sets_.end()) {
      Kept its = std::move(*known);
      its.asked = now;
      sets_.erase(known);
      return sets_.emplace_back(std::move(its)).set;
    }
  }
  TG_ASSIGN(const auto set, policy::PolicySet::Compile(sources, tests, keep_going));
  base::Lock lock(mu_);
  if (sets_.size() >= kSetsMax) sets_.pop_front();
  sets_.push_back({key, set, now});
  return set;
}

void CompiledSets::Forget(base::MonoTime now) {
  std::deque<Kept> old;  // Freed without the lock.
  base::Lock lock(mu_);
  while (!sets_.empty() && now - sets_.front().asked >= kKept) {
    old.push_back(std::move(sets_.front()));
    sets_.pop_front();
  }
}

std::size_t CompiledSets::size() {
  base::Lock lock(mu_);
  return sets_.size();
}

absl::StatusOr<std::string> Replay(audit::Reader& reader, const HistoryPage& page, const Candidate& candidate, explain::Tally& tally) {
  audit::ListFilter filter = page.filter;
  filter.team = page.team->id;
  TG_ASSIGN(audit::OpenedPage opened, reader.OpenHistory(page.viewer, filter, candidate.reason, kPageBytes));
  for (audit::OpenedRow& row : opened.rows) {
    TG_RETURN_IF_ERROR(KeepGoing(page));
    const bool reply = audit::EndsRequest(row.row.record.kind());
    const bool erased = absl::IsNotFound(row.state);
    const bool judged = row.state.ok() && (reply ? JudgeEnd : Judge)(page, candidate, row, tally).ok();
    if (!judged) TG_RETURN_IF_ERROR(KeepGoing(page));  // Not the record's fault.
    if (!judged && reply) tally.AddGap(erased ? "erased" : "unreadable", At(row.row));
    if (!judged && !reply && erased) tally.AddErased();
    if (!judged && !reply && !erased) tally.AddUnreadable();
    row = audit::OpenedRow();  // Not kept longer than it is needed.
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
