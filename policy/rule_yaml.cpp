// Field by field, so that every refusal can say where and what to write instead. A detector becomes patterns or a keyword list here;
// nothing behind this file knows where they came from.
//
// Tested by tests/policy/rule_yaml_test.cpp.
#include "policy/rule_yaml.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/encoding.h"
#include "base/yaml_documents.h"
#include "policy/bundle.h"
#include "policy/do_yaml.h"
#include "policy/gauge_yaml.h"
#include "policy/json_shape_yaml.h"
#include "policy/list_yaml.h"
#include "policy/pattern_yaml.h"
#include "policy/semantic_yaml.h"
#include "policy/test_yaml.h"
#include "policy/where_yaml.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kSourceBytesMax = 8 << 20;
constexpr std::size_t kSentenceBytesMax = 500;

using Fields = YamlReader::Fields;

bool IsId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string_view::npos;
}

// What a policy and the files that it includes have in common.
struct Shared {
  const Bundle& bundle;
  std::vector<Rule>& rules;
  Faults& faults;              // Of what does not stop the reading.
  std::set<std::string> used;  // Of the bundle's files.
  NamedLists lists;
  Budget& budget;
};

class PolicyReader {
 public:
  PolicyReader(std::string name, Shared& shared) : name_(std::move(name)), yaml_(name_, shared.budget), shared_(shared) {}

  // The policy itself.
  absl::Status ReadMain(const std::string& text) {
    TG_RETURN_IF_ERROR(Read(text, false));
    if (!shared_.faults.none()) return absl::OkStatus();
    for (const Bundle::File& file : shared_.bundle.files) {
      if (!shared_.used.contains(file.path))
        return PolicyError(name_, 1, 1, fmt::format("the bundle carries '{}', which nothing includes; remove it", file.path));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Read(const std::string& text, bool included) {
    try {
      return ReadDocument(text, included);
    } catch (const base::TooManyValues& error) {
      return PolicyError(name_, error.mark.line + 1, error.mark.column + 1,
                         fmt::format("a file has at most {} values; put the terms of long lists in files of their own, {{file: PATH}}, or "
                                     "include some of the rules",
                                     Budget::kValuesMax));
    } catch (const YAML::Exception& error) {
      return PolicyError(name_, std::max(error.mark.line, 0) + 1, std::max(error.mark.column, 0) + 1,
                         fmt::format("not well-formed YAML: {}; check indentation, and quote values that hold : or #", error.msg));
    }
  }

  absl::Status ReadDocument(const std::string& text, bool included) {
    const base::YamlDocuments documents = base::ReadYaml(text, Budget::kValuesMax);
    yaml_.ReadFrom(text);
    if (!documents.first.IsDefined()) return PolicyError(name_, 1, 1, "the policy is empty; write version, name and rules");
    if (documents.second)
      return yaml_.Wrong(*documents.second, "a second document begins here, and would not be read; write one, or 'include' it");
    const YAML::Node root = documents.first;
    TG_ASSIGN(Fields top, yaml_.Map(root, "a policy", {"version", "name", "description", "include", "lists", "rules"}));
    for (const char* field : {"version", "name", "rules"}) {
      const bool may_lack = included && std::string_view(field) != "version" && (top.contains("lists") || top.contains("rules"));
      if (!top.contains(field) && !may_lack)
        return yaml_.Wrong(root, fmt::format("'{}' is missing; a policy needs version, name and rules, and what it includes version and "
                                             "lists or rules",
                                             field));
    }
    TG_RETURN_IF_ERROR(yaml_.Int(top["version"], "version", 1, 1).status());
    if (top.contains("name")) TG_RETURN_IF_ERROR(yaml_.Text(top["name"], "name").status());
    if (top.contains("include")) {
      if (included) return yaml_.Wrong(top["include"], "what is included includes nothing itself; write it in the policy's own 'include'");
      TG_RETURN_IF_ERROR(ReadIncludes(top["include"]));
    }
    if (top.contains("lists")) TG_RETURN_IF_ERROR(ReadLists(top["lists"]));
    return top.contains("rules") ? ReadRules(top) : absl::OkStatus();
  }

  absl::Status ReadIncludes(const YAML::Node& node) {
    TG_ASSIGN(const std::vector<std::string> paths, yaml_.Texts(node, "include"));
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const auto file = FileAt(node.IsSequence() ? node[i] : node, paths[i]);
      shared_.faults.Add(file.status());
      if (file.ok()) shared_.faults.Add(PolicyReader(fmt::format("{}/{}", name_, paths[i]), shared_).Read((*file)->text, true));
    }
    return absl::OkStatus();
  }

  // A file that came along, once.
  absl::StatusOr<const Bundle::File*> FileAt(const YAML::Node& node, const std::string& path) {
    if (!IsBundlePath(path))
      return yaml_.Wrong(node,
                         "a file is named by a path below the policy's folder, of letters, digits and . _ - /, as in lists/rivals.txt");
    const Bundle::File* file = shared_.bundle.Find(path);
    if (file == nullptr)
      return yaml_.Wrong(
          node, fmt::format("the file '{}' did not come along; put it beside the policy, and let `tollgate policy` read both", path));
    if (!shared_.used.insert(path).second) return yaml_.Wrong(node, fmt::format("'{}' is included a second time; once is enough", path));
    return file;
  }

  absl::Status ReadRules(Fields& top) {
    if (!top["rules"].IsSequence()) return yaml_.Wrong(top["rules"], "'rules' is a list; begin each rule with '- id: …'");
    Budget& budget = shared_.budget;
    for (const auto& node : top["rules"]) {
      TG_RETURN_IF_ERROR(budget.KeepGoing());
      Rule rule, exception;
      const absl::Status read = ReadRule(node, rule, exception);
      shared_.faults.Add(read);
      if (budget.over()) return absl::OkStatus();  // Why is told.
      if (!read.ok()) continue;
      TG_RETURN_IF_ERROR(yaml_.Taken(node, budget.TakeRules(exception.exception ? 2 : 1)));
      shared_.rules.push_back(std::move(rule));
      if (exception.exception) shared_.rules.push_back(std::move(exception));
    }
    return absl::OkStatus();
  }

  absl::Status ReadLists(const YAML::Node& node) {
    if (!node.IsMap()) return yaml_.Wrong(node, "'lists' is a mapping of names to lists of keywords, as in rivals: [globex, initech]");
    for (const auto& entry : node) {
      TG_ASSIGN(const std::string name, yaml_.Text(entry.first, "lists"));
      if (!IsId(name)) return yaml_.Wrong(entry.first, "a list's name is 1 to 64 of a-z, 0-9, '.', '_' and '-', as in rivals");
      std::vector<std::string> words;
      shared_.faults.Add(entry.second.IsMap() ? ReadListFile(entry.second, words) : ReadKeywords(yaml_, entry.second, false, words));
      if (!shared_.lists.emplace(name, std::move(words)).second)
        return yaml_.Wrong(entry.first, fmt::format("a second list '{}'; merge them", name));
    }
    return absl::OkStatus();
  }

  absl::Status ReadListFile(const YAML::Node& node, std::vector<std::string>& words) {
    TG_ASSIGN(Fields fields, yaml_.Map(node, "a list's file", {"file"}));
    if (!fields.contains("file")) return yaml_.Wrong(node, "a list is a list of keywords, or {file: PATH}");
    TG_ASSIGN(const std::string path, yaml_.Text(fields["file"], "file"));
    TG_ASSIGN(const Bundle::File* file, FileAt(fields["file"], path));
    return ReadTerms(fmt::format("{}/{}", name_, path), file->text, words);
  }

  absl::Status ReadRule(const YAML::Node& node, Rule& rule, Rule& exception) {
    TG_ASSIGN(Fields fields, yaml_.Map(node, "a rule",
                                       {"id", "where", "detect", "unless", "do", "because", "cap", "severity", "replacement", "keep_last",
                                        "salt", "label", "retry", "tests"}));
    for (const char* field : {"id", "detect", "do"}) {
      if (!fields.contains(field)) return yaml_.Wrong(node, fmt::format("'{}' is missing; a rule needs id, detect and do", field));
    }
    rule.policy = name_;
    rule.line = node.Mark().line + 1;
    rule.column = node.Mark().column + 1;
    TG_ASSIGN(rule.id, yaml_.Text(fields["id"], "id"));
    if (!IsId(rule.id)) return yaml_.Wrong(fields["id"], "'id' is 1 to 64 of a-z, 0-9, '.', '_' and '-', as in pii.card");
    TG_RETURN_IF_ERROR(ReadDo(yaml_, fields, rule));
    TG_RETURN_IF_ERROR(ReadWords(fields, rule));
    if (fields.contains("where")) TG_RETURN_IF_ERROR(ReadWhere(yaml_, fields["where"], rule));
    TG_RETURN_IF_ERROR(CheckDoWhere(yaml_, fields, rule));
    says_direction_ = fields.contains("where") && fields["where"]["direction"].IsDefined();
    std::int64_t cap = 0;
    if (fields.contains("cap")) {
      TG_ASSIGN(cap, yaml_.Int(fields["cap"], "cap", 16, Pattern::kWidthMax / 2));
    }
    TG_RETURN_IF_ERROR(ReadDetect(fields["detect"], cap, rule));
    SummariseWhere(rule);
    if (cap > 0 && rule.patterns.empty()) return yaml_.Wrong(fields["cap"], "'cap' is for an unbounded regex; remove it");
    if (fields.contains("unless") && !rule.gauges.empty())
      return yaml_.Wrong(fields["unless"],
                         "'unless' exempts what has a place in the text, and this rule judges the whole prompt; remove it");
    if (rule.ask && rule.ask->shape != nullptr && fields.contains("unless"))
      return yaml_.Wrong(fields["unless"],
                         "'unless' exempts what has a place in the text, and this rule judges the whole reply; remove it");
    for (const char* field : {"unless", "tests"}) {
      if (rule.ask && rule.ask->shape == nullptr && fields.contains(field))
        return yaml_.Wrong(fields[field], fmt::format("'{}' says nothing for {} {}, which is not run here; remove it", field,
                                                      rule.ask->guard ? "a" : "an", rule.ask->whom()));
    }
    if (fields.contains("retry")) TG_RETURN_IF_ERROR(ReadRetry(yaml_, fields["retry"], rule));
    if (fields.contains("unless")) TG_RETURN_IF_ERROR(ReadUnless(fields["unless"], rule, exception));
    return fields.contains("tests") ? ReadTests(yaml_, fields["tests"], rule) : absl::OkStatus();
  }

  // What it finds is exempt from this rule alone.
  absl::Status ReadUnless(const YAML::Node& node, Rule& rule, Rule& exception) {
    if (rule.action == Action::kAllow) return yaml_.Wrong(node, "'unless' is for rules that act; narrow what this one allows instead");
    exception.policy = rule.policy;
    exception.line = node.Mark().line + 1;
    exception.column = node.Mark().column + 1;
    exception.id = rule.id;
    exception.action = Action::kAllow;
    exception.exception = true;
    exception.scope = rule.scope;
    exception.sight = rule.sight;
    exception.input = rule.input;
    exception.output = rule.output;
    TG_RETURN_IF_ERROR(ReadDetect(node, 0, exception));
    rule.detect += ", unless " + exception.detect;
    return absl::OkStatus();
  }

  absl::Status ReadWords(Fields& fields, Rule& rule) {
    rule.because = fmt::format("Your organisation's policy (rule {}) applies to this text.", rule.id);
    if (fields.contains("because")) {
      TG_ASSIGN(rule.because, yaml_.Text(fields["because"], "because"));
      if (rule.because.empty() || rule.because.size() > kSentenceBytesMax)
        return yaml_.Wrong(fields["because"], "'because' is a sentence of at most 500 bytes");
    }
    rule.severity = "medium";
    if (fields.contains("severity")) {
      TG_RETURN_IF_ERROR(yaml_.OneOf(fields["severity"], "severity", {"info", "low", "medium", "high", "critical"}).status());
      rule.severity = fields["severity"].Scalar();
    }
    return absl::OkStatus();
  }

  absl::Status ReadDetect(const YAML::Node& node, std::int64_t cap, Rule& rule) {
    TG_ASSIGN(Fields fields,
              yaml_.Map(node, "'detect'", {"regex",        "keywords", "list",     "personal_data", "secrets",     "unicode",    "hosts",
                                           "hosts_except", "external", "guard",    "topic",         "not_json",    "length",     "shape",
                                           "code",         "language", "request",  "whole_word",    "ignore_case", "as_written", "decode",
                                           "at",           "stream",   "on_error", "least_score"}));
    std::vector<std::string> kinds;
    for (const char* kind : {"regex", "keywords", "list", "personal_data", "secrets", "unicode", "hosts", "hosts_except", "external",
                             "guard", "topic", "not_json", "length", "shape", "code", "language", "request"}) {
      if (fields.contains(kind)) kinds.emplace_back(kind);
    }
    if (kinds.size() != 1)
      return yaml_.Wrong(node,
                         "'detect' has exactly one of regex, keywords, list, personal_data, secrets, unicode, hosts, hosts_except, "
                         "external, guard, topic, not_json, length, shape, code, language and request; write one rule for each");
    const std::string& kind = kinds[0];
    const bool words = kind == "keywords" || kind == "list", asks = kind == "external" || kind == "guard" || kind == "topic";
    const bool of_reply = kind == "not_json" || ((kind == "code" || kind == "language") && JudgesReplies(rule));
    for (const char* field : kSemanticFields) {
      const bool its = asks || (of_reply && std::string_view(field) == "stream");
      if (!its && fields.contains(field))
        return yaml_.Wrong(fields[field], fmt::format("'{}' is for external detectors, guard models and topics; remove it", field));
    }
    if (fields.contains("whole_word")) {
      if (!words) return yaml_.Wrong(fields["whole_word"], "'whole_word' is for keywords; in a regex write \\b");
      TG_ASSIGN(rule.whole_word, yaml_.Bool(fields["whole_word"], "whole_word"));
    }
    rule.ignore_case = words;
    if (fields.contains("ignore_case")) {
      if (!words && kind != "regex") return yaml_.Wrong(fields["ignore_case"], "'ignore_case' is for keywords and regex; remove it");
      TG_ASSIGN(rule.ignore_case, yaml_.Bool(fields["ignore_case"], "ignore_case"));
    }
    if (IsGaugeKind(kind)) return ReadWhole(node, fields, kind, rule);
    TG_RETURN_IF_ERROR(ReadForms(fields, kind, rule));
    if (asks) return ReadSemantic(yaml_, node, fields, rule);
    if (kind == "not_json") return ReadJsonShape(yaml_, node, fields, rule);
    if (cap > 0 && kind != "regex") return yaml_.Wrong(node, "'cap' is for an unbounded regex; remove it");
    if (words) {
      TG_RETURN_IF_ERROR(kind == "list" ? ReadListed(yaml_, fields[kind], shared_.lists, rule.keywords)
                                        : ReadKeywords(yaml_, fields[kind], !rule.whole_word, rule.keywords));
      if (kind != "list") TG_RETURN_IF_ERROR(TakeWords(yaml_, fields[kind], rule.keywords));
      rule.detect = fmt::format("{} keyword{}", rule.keywords.size(), rule.keywords.size() == 1 ? "" : "s");
      return absl::OkStatus();
    }
    if (kind.starts_with("hosts") && fields[kind].IsMap()) return ReadListedHosts(fields[kind], kind, rule);
    return ReadPatterns(yaml_, fields[kind], kind, cap, rule);
  }

  // Of what is not about a place in the text: replies wait for it, so it judges them only where its rule says that it does.
  bool JudgesReplies(const Rule& rule) const { return rule.output && (!rule.input || says_direction_); }

  // What is not about a place in the text: of prompts, of replies, or of both.
  absl::Status ReadWhole(const YAML::Node& node, Fields& fields, const std::string& kind, Rule& rule) {
    for (const char* field : {"as_written", "decode"}) {
      if (fields.contains(field)) return yaml_.Wrong(fields[field], fmt::format("'{}' says nothing for {}; remove it", field, kind));
    }
    if (rule.exception)
      return yaml_.Wrong(fields[kind], fmt::format("'unless' needs what has a place in the text, which {} has not", kind));
    const bool code = kind == "code";
    if (!rule.input && (!rule.output || (!code && kind != "language")))
      return yaml_.Wrong(fields[kind], fmt::format("'{}' judges prompts; leave 'direction' out", kind));
    rule.output = JudgesReplies(rule) && (code || kind == "language");
    TG_RETURN_IF_ERROR(ReadGauges(yaml_, fields[kind], kind, rule));
    if (!rule.output) return absl::OkStatus();
    const auto shape = std::make_shared<const ReplyGauge>(code ? "code" : "language", rule.gauges.front());
    if (!rule.input) rule.gauges.clear();
    return JudgeReplies(yaml_, node, fields, code ? "lines" : "letters", shape, rule);
  }

  // In which forms of the text the detector looks.
  absl::Status ReadForms(Fields& fields, const std::string& kind, Rule& rule) {
    const bool always =
        kind == "unicode" || kind == "hosts_except" || kind == "external" || kind == "guard" || kind == "topic" || kind == "not_json";
    for (const char* field : {"as_written", "decode"}) {
      if (always && fields.contains(field))
        return yaml_.Wrong(fields[field], fmt::format("'{}' says nothing for {}, which reads text as it is; remove it", field, kind));
    }
    rule.as_written = always;
    if (fields.contains("as_written")) {
      TG_ASSIGN(rule.as_written, yaml_.Bool(fields["as_written"], "as_written"));
    }
    if (rule.as_written) rule.decode = Rule::Decode::kNever;
    if (!fields.contains("decode")) return absl::OkStatus();
    TG_ASSIGN(const std::size_t decode, yaml_.OneOf(fields["decode"], "decode", {"input", "both", "never"}));
    if (rule.as_written && decode != 2) return yaml_.Wrong(fields["decode"], "'as_written' excludes what is encoded; remove one of them");
    rule.decode = static_cast<Rule::Decode>(decode);
    return absl::OkStatus();
  }

  absl::Status ReadListedHosts(const YAML::Node& node, const std::string& kind, Rule& rule) {
    TG_ASSIGN(Fields fields, yaml_.Map(node, kind, {"list"}));
    if (!fields.contains("list")) return yaml_.Wrong(node, fmt::format("'{}' is a list of hosts, or {{list: NAME}}", kind));
    TG_ASSIGN(const std::vector<std::string> names, yaml_.Texts(fields["list"], "list"));
    std::vector<std::string> hosts;
    TG_RETURN_IF_ERROR(ReadListed(yaml_, fields["list"], shared_.lists, hosts));
    return ReadHosts(yaml_, node, kind, hosts, fmt::format("{}: list {}", kind, fmt::join(names, ", ")), rule);
  }

  const std::string name_;  // What errors call the file.
  YamlReader yaml_;
  Shared& shared_;
  bool says_direction_ = false;  // The rule that is being read.
};

}  // namespace

absl::Status PolicyError(const std::string& name, int line, int column, std::string_view what) {
  return base::InvalidArgument(fmt::format("{}:{}:{}: {}", name, line, column, what));
}

absl::Status ReadPolicy(const PolicySource& source, std::vector<Rule>& rules) {
  Budget budget;
  return ReadPolicies({&source, 1}, rules, budget);
}

absl::Status ReadPolicies(std::span<const PolicySource> sources, std::vector<Rule>& rules, Budget& budget) {
  Faults faults;
  for (const PolicySource& source : sources) ReadPolicy(source, rules, faults, budget);
  TG_RETURN_IF_ERROR(budget.cancelled());
  return faults.ToStatus();
}

void ReadPolicy(const PolicySource& source, std::vector<Rule>& rules, Faults& faults, Budget& budget) {
  if (!budget.KeepGoing().ok() || budget.over()) return;
  if (source.yaml.size() > kSourceBytesMax) return faults.Add(PolicyError(source.name, 1, 1, "a policy file is at most 8 MiB; split it"));
  const auto bundle = ReadBundle(source.name, source.yaml);
  if (!bundle.ok()) return faults.Add(bundle.status());
  Shared shared{*bundle, rules, faults, {}, {}, budget};
  faults.Add(PolicyReader(source.name, shared).ReadMain(bundle->policy));
}

}  // namespace tollgate::policy
