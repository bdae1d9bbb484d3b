// Compiling reads every source into rules, arranges them in two programs (input and output; a rule may be in both), and then runs the
// tests that the sources carry on the finished set, exactly as requests will meet it.
//
// A prompt is judged text by text: every message's name, and the text that its parts make together, with the texts beside it of the same
// author (message_runs.h); a tool's result in both its readings (readings.h). An edit that stays inside one part is made there; one that
// runs over parts leaves the message with a single part, for no way of cutting the placeholder would be right.
//
// Tested by tests/policy/policy_set_test.cpp and tests/policy/rule_yaml_test.cpp.
#include "policy/policy_set.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/encoding.h"
#include "policy/disguise.h"
#include "policy/effort.h"
#include "policy/encoded_runs.h"
#include "policy/faults.h"
#include "policy/json_parts.h"
#include "policy/message_runs.h"
#include "policy/output_filter.h"
#include "policy/policy_tests.h"
#include "policy/program.h"
#include "policy/questions.h"
#include "policy/readings.h"
#include "policy/resolver.h"
#include "policy/rule_yaml.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kTextBytesMax = std::size_t{1} << 30;

base::Digest DigestOf(std::span<const PolicySource> sources) {
  std::string all;
  for (const PolicySource& source : sources)
    all += fmt::format("{}:{}{}:{}", source.name.size(), source.name, source.yaml.size(), source.yaml);
  return base::Sha256(all);
}

// The message's parts with the edits of its joined text made.
void EditParts(const std::string& text, std::span<const TextEdit> edits, Message& message) {
  std::vector<std::string> parts;
  std::int64_t begin = 0;
  std::size_t next = 0;
  for (const std::string& part : message.parts) {
    const std::int64_t end = begin + static_cast<std::int64_t>(part.size());
    std::vector<TextEdit> own;
    for (; next < edits.size() && edits[next].begin < end; ++next) {
      if (edits[next].end > end) {
        message.parts = {ApplyTextEdits(text, edits)};
        return;
      }
      own.push_back({edits[next].begin - begin, edits[next].end - begin, edits[next].text});
    }
    parts.push_back(own.empty() ? part : ApplyTextEdits(part, own));
    begin = end;
  }
  message.parts = std::move(parts);
}

// What a rule takes out of one reading of a tool's result is in neither of `out`'s. `edits`: of each message of `prompt`.
absl::Status EditBothReadings(std::span<const Message> prompt, std::span<const std::vector<TextEdit>> edits, std::vector<Message>& out) {
  TG_ASSIGN(const std::vector<ReadTwice> all, ReadTwiceIn(prompt));
  for (const auto& [written, read] : all) {
    if (edits[written].empty() && edits[read].empty()) continue;
    const std::string text = TextOf(prompt[written]);
    out[written].parts = prompt[written].parts;
    EditParts(text, EditsOfBoth(text, edits[written], edits[read]), out[written]);
    out[read].parts.clear();
    AddJson(TextOf(out[written]), out[read].parts);
  }
  return absl::OkStatus();
}

// What rules add to the system prompt stands at its end, each in a paragraph of its own; without one it is the system prompt. What
// describes tools is none.
void AppendSystem(Inspection& inspection) {
  for (const RuleOutcome& rule : inspection.verdict.rules) {
    if (rule.effect.kind != Effect::Kind::kAppendSystem) continue;
    std::vector<Message>& prompt = inspection.prompt;
    const auto system = std::find_if(prompt.rbegin(), prompt.rend(),
                                     [](const Message& message) { return message.role == Role::kSystem && !message.aside; });
    if (system == prompt.rend()) {
      prompt.insert(prompt.begin(), Message{Role::kSystem, "", {rule.effect.text}});
      inspection.put_before = 1;
    } else {
      const bool empty = std::all_of(system->parts.begin(), system->parts.end(), [](const std::string& part) { return part.empty(); });
      system->parts.push_back((empty ? "" : "\n\n") + rule.effect.text);
    }
    inspection.changed = true;
  }
}

class CompiledPolicies final : public PolicySet, public std::enable_shared_from_this<CompiledPolicies> {
 public:
  static absl::StatusOr<std::shared_ptr<const CompiledPolicies>> Make(std::span<const PolicySource> sources, RunTests tests,
                                                                      const KeepGoing& keep_going) {
    Budget budget(keep_going);
    auto out = std::make_shared<CompiledPolicies>();
    out->digest_ = DigestOf(sources);
    std::set<std::string> ids;
    Faults faults;
    for (const PolicySource& source : sources) {
      const std::size_t first = out->rules_.size();
      ReadPolicy(source, out->rules_, faults, budget);
      TG_RETURN_IF_ERROR(budget.cancelled());
      for (std::size_t i = first; i < out->rules_.size(); ++i) {
        const Rule& rule = out->rules_[i];
        if (!rule.exception && !ids.insert(rule.id).second) {
          faults.Add(PolicyError(source.name, rule.line, rule.column,
                                 fmt::format("a second rule with id '{}'; ids are unique over all policies in force together", rule.id)));
        }
      }
    }
    TG_RETURN_IF_ERROR(faults.ToStatus());
    for (const Rule& rule : out->rules_) {
      if (!rule.exception) out->because_[rule.id] = rule.because;
      if (rule.retries > 0) out->retries_[rule.id] = rule.retries;
      out->tools_.insert(rule.sight.tools.begin(), rule.sight.tools.end());
    }
    KeywordIndexes indexes;
    TG_ASSIGN(out->input_, Program::Build(out->rules_, false, budget, indexes));
    TG_ASSIGN(out->output_, Program::Build(out->rules_, true, budget, indexes));
    if (tests == RunTests::kYes) TG_RETURN_IF_ERROR(RunRuleTests(*out, out->rules_, {.keep_going = keep_going}));
    return std::shared_ptr<const CompiledPolicies>(std::move(out));
  }

  absl::StatusOr<Inspection> Inspect(const Subject& subject, std::span<const Message> prompt, const KeepGoing& keep_going) const override {
    Inspection out;
    Effort effort(keep_going);
    std::size_t edited = 0;
    out.prompt.assign(prompt.begin(), prompt.end());
    Tally tally(rules_);
    auto pseudonyms = std::make_shared<Pseudonyms>(subject.pseudonym_key);
    // By what rules tell apart: of a result, whether its tool is known; of tools, those that some rule names.
    std::map<std::tuple<Role, Part, bool, std::string>, std::unique_ptr<Program::Selection>> selections;
    std::vector<std::vector<TextEdit>> edits(prompt.size());
    bool blocked = false;
    for (const std::vector<std::size_t>& run : RunsOf(prompt)) {
      const Message& first = prompt[run[0]];
      const auto& [part, tool] = first.channel;
      auto& selection = selections[{first.role, part, tool.empty(), tools_.contains(tool) ? tool : ""}];
      if (selection == nullptr) selection = std::make_unique<Program::Selection>(input_->Select(subject, first.role, first.channel));
      TG_ASSIGN(Judged judged, JudgeRun(out.prompt, run, *selection, tally, *pseudonyms, effort));
      blocked = blocked || judged.blocked;
      out.changed = out.changed || judged.changed;
      for (std::size_t i = 0; i < run.size(); ++i) {
        edited += judged.edits[i].size();
        edits[run[i]] = std::move(judged.edits[i]);
      }
      if (!effort.Hold(edited)) return effort.status();
    }
    if (out.changed) TG_RETURN_IF_ERROR(EditBothReadings(prompt, edits, out.prompt));
    blocked = JudgeWhole(subject, prompt, tally) || blocked;
    out.verdict = tally.ToVerdict();
    if (!blocked) AppendSystem(out);
    if (!blocked) out.questions = QuestionsOfPrompt(rules_, subject, prompt);
    if (blocked) {
      out.changed = false;
      out.prompt.assign(prompt.begin(), prompt.end());
    } else if (!pseudonyms->all().empty()) {
      out.pseudonyms = std::move(pseudonyms);
    }
    return out;
  }

  absl::StatusOr<Verdict> Decide(const Verdict& so_far, std::span<const Question> questions,
                                 std::span<const Answer> answers) const override {
    return policy::Decide(rules_, so_far, questions, answers);
  }

  std::vector<Question> QuestionsOfOutput(const Subject& subject, const Channel& channel) const override {
    return policy::QuestionsOfOutput(rules_, subject, channel);
  }

  std::unique_ptr<StreamFilter> OpenOutput(const Subject& subject, const Channel& channel, KeepGoing keep_going) const override {
    return MakeOutputFilter(shared_from_this(), *output_, subject, channel, std::move(keep_going));
  }

  absl::StatusOr<Filtered> FilterWhole(const Subject& subject, std::string_view reply, const Channel& channel,
                                       const KeepGoing& keep_going) const override {
    if (reply.size() > kTextBytesMax) return base::InvalidArgument("the reply is longer than 1 GiB; filter it as a stream");
    TG_ASSIGN(Filtered out, channel.part == Part::kToolCall ? FilterCall(subject, reply, channel, keep_going)
                                                            : FilterComplete(*output_, subject, channel, reply, keep_going));
    if (!out.blocked) JudgeShapes(rules_, subject, channel, out);
    return out;
  }

  bool needs_prompt_tokens() const override {
    return std::any_of(rules_.begin(), rules_.end(), [](const Rule& rule) {
      return std::any_of(rule.gauges.begin(), rule.gauges.end(), [](const Gauge& g) { return g.measure == Gauge::Measure::kTokens; });
    });
  }

  const std::map<std::string, int, std::less<>>& retries() const override { return retries_; }

  const base::Digest& digest() const override { return digest_; }

  std::string_view Because(std::string_view rule_id) const override {
    const auto found = because_.find(rule_id);
    return found == because_.end() ? std::string_view() : found->second;
  }

  std::vector<RuleDescription> Describe() const override {
    std::vector<RuleDescription> out;
    for (const Rule& rule : rules_) {
      if (rule.exception) continue;
      RuleDescription row{
          rule.policy, rule.id, rule.where, rule.detect, rule.because, rule.severity, rule.action, static_cast<int>(rule.tests.size()), 0};
      row.models = rule.scope.models;
      if (rule.output) {
        for (const auto& pattern : rule.patterns) row.hold_bytes_max = std::max(row.hold_bytes_max, pattern->hold_max());
        for (const std::string& word : rule.keywords) row.hold_bytes_max = std::max(row.hold_bytes_max, KeywordIndex::HoldMax(word));
        if (rule.decode == Rule::Decode::kBoth) row.hold_bytes_max = std::max(row.hold_bytes_max, WordCutter::kWordBytesMax);
      }
      out.push_back(std::move(row));
    }
    return out;
  }

 private:
  // A call leaves whole or, where its arguments are blocked, not at all.
  absl::StatusOr<Filtered> FilterCall(const Subject& subject, std::string_view arguments, const Channel& channel,
                                      const KeepGoing& keep_going) const {
    const std::unique_ptr<StreamFilter> filter = OpenOutput(subject, channel, keep_going);
    Filtered out;
    TG_ASSIGN(out.text, FilterJson(arguments, *filter));
    out.blocked = filter->blocked();
    if (out.blocked) out.text.clear();
    out.verdict = filter->verdict();
    out.raw = filter->raw();
    return out;
  }

  struct Judged {
    bool changed = false, blocked = false;
    std::vector<std::vector<TextEdit>> edits = {};  // Of each text.
  };

  // Rules that look at the prompt as a whole. Whether one blocks.
  bool JudgeWhole(const Subject& subject, std::span<const Message> prompt, Tally& tally) const {
    PromptMeasure measure(subject, prompt);
    bool blocked = false;
    for (std::uint32_t index = 0; index < rules_.size(); ++index) {
      const Rule& rule = rules_[index];
      if (rule.gauges.empty() || !rule.scope.Covers(subject)) continue;
      const auto over = measure.FirstOver(rule.gauges, rule.sight);
      if (!over) continue;
      tally.Add(index, {}, over->score());
      blocked = blocked || rule.action == Action::kBlock;
    }
    return blocked;
  }

  // Judges the names and the texts of messages of one author, and edits them.
  absl::StatusOr<Judged> JudgeRun(std::span<Message> prompt, std::span<const std::size_t> run, const Program::Selection& selection,
                                  Tally& tally, Pseudonyms& pseudonyms, Effort& effort) const {
    Judged out;
    std::vector<std::string> texts(run.size());
    std::vector<TextPlace> places;
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < run.size(); ++i) {
      Message& message = prompt[run[i]];
      const TextPlace name{static_cast<std::uint32_t>(run[i]), "name"};
      for (const std::string& part : message.parts) texts[i] += part;
      TextPlace text{name.message, "text", bytes, bytes + static_cast<std::int64_t>(texts[i].size())};
      bytes = text.end;
      TG_RETURN_IF_ERROR(CheckText(message.name, name));
      TG_RETURN_IF_ERROR(CheckText(texts[i], text));
      places.push_back(text);
      TG_ASSIGN(const auto edits, Judge({&message.name, 1}, {name}, selection, tally, pseudonyms, out, effort));
      if (!edits[0].empty()) message.name = ApplyTextEdits(message.name, edits[0]);
    }
    TG_ASSIGN(out.edits, Judge(texts, std::move(places), selection, tally, pseudonyms, out, effort));
    for (std::size_t i = 0; i < run.size(); ++i) {
      if (!out.edits[i].empty()) EditParts(texts[i], out.edits[i], prompt[run[i]]);
    }
    return out;
  }

  static absl::Status CheckText(const std::string& text, const TextPlace& place) {
    if (text.size() <= kTextBytesMax && base::IsValidUtf8(text)) return absl::OkStatus();
    const char* what = text.size() > kTextBytesMax ? "longer than 1 GiB; shorten it" : "not valid UTF-8; send UTF-8 text";
    return base::InvalidArgument(fmt::format("the {} of message {} is {}", place.field, place.message, what));
  }

  // The edits of each text.
  absl::StatusOr<std::vector<std::vector<TextEdit>>> Judge(std::span<const std::string> texts, std::vector<TextPlace> places,
                                                           const Program::Selection& selection, Tally& tally, Pseudonyms& pseudonyms,
                                                           Judged& judged, Effort& effort) const {
    if (selection.empty()) return std::vector<std::vector<TextEdit>>(texts.size());
    Resolver resolver(*input_, tally, /*stop_at_block=*/false, std::move(places));
    const std::vector<Hit> hits = FindInRun(*input_, texts, selection, &effort);
    if (!effort.Hold(hits.size())) return effort.status();
    resolver.Judge(hits);
    judged.changed = judged.changed || !resolver.edits().empty();
    judged.blocked = judged.blocked || resolver.blocked();
    if (resolver.edits().empty()) return std::vector<std::vector<TextEdit>>(texts.size());
    return EditsByText(*input_, texts, resolver.edits(), pseudonyms);
  }

  std::vector<Rule> rules_;
  std::set<std::string> tools_;  // That rules name: all others are alike.
  std::unique_ptr<const Program> input_, output_;
  std::map<std::string, int, std::less<>> retries_;
  std::map<std::string_view, std::string_view> because_;  // Of rules_, by id.
  base::Digest digest_{};
};

}  // namespace

absl::StatusOr<std::shared_ptr<const PolicySet>> PolicySet::Compile(std::span<const PolicySource> sources, RunTests tests,
                                                                    const KeepGoing& keep_going) {
  TG_ASSIGN(auto out, CompiledPolicies::Make(sources, tests, keep_going));
  return std::shared_ptr<const PolicySet>(std::move(out));
}

}  // namespace tollgate::policy
