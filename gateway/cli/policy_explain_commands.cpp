// policy explain and policy lint: about a file they need no server; without one they ask the server about the policies in force. Either way
// one reply, printed by the same lines.
//
// Tested by tests/gateway/cli/policy_explain_test.cpp.
#include <array>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/policy_text.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/explain/explain.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Policy;

constexpr std::size_t kShownCharacters = 40;

struct ExplainOptions {
  std::string file, input, output, role = "user", part, tool, end_user, model;
  ScopeOptions scope;
  bool all = false;
};

struct LintOptions {
  std::string file;
  bool strict = false, costs = true;
};

std::string NameOf(const std::string& file) { return file == "-" ? "policy" : StemOf(file); }

// The file as the one policy that there is; named as `put` would name it.
std::optional<policy::PolicySource> ReadSource(Context& context, const std::string& file) {
  auto yaml = ReadPolicyText(context, file);
  if (!yaml) return std::nullopt;
  return policy::PolicySource{NameOf(file), *std::move(yaml)};
}

// "@FILE" is what the file holds.
std::optional<std::string> TextOf(Context& context, const std::string& given) {
  if (!given.starts_with('@')) return given;
  return ReadText(context, given.substr(1));
}

v1::Role RoleOf(const std::string& name) {
  return name == "system" ? v1::ROLE_SYSTEM : name == "assistant" ? v1::ROLE_ASSISTANT : name == "tool" ? v1::ROLE_TOOL : v1::ROLE_USER;
}

// A span of the text on one line, cut to what a table has room for.
std::string Shown(const std::string& text, std::int64_t begin, std::int64_t end) {
  if (begin < 0 || end < begin || end > static_cast<std::int64_t>(text.size())) return "";
  std::string out;
  std::size_t characters = 0;
  for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if ((byte & 0xC0) != 0x80 && ++characters > kShownCharacters) return out + "…";
    out += byte < 0x20 || byte == 0x7F ? ' ' : text[at];
  }
  return out;
}

// "4.2 bits a character (3.0 count)"; nothing where nothing is measured.
std::string Shown(const v1::ExplainedScore& score) {
  const int digits = score.value() == std::floor(score.value()) && score.least() == std::floor(score.least()) ? 0 : 1;
  return score.unit().empty() ? "" : fmt::format("{:.{}f} {} ({:.{}f} count)", score.value(), digits, score.unit(), score.least(), digits);
}

// "; it took 12 ms, read 40 and wrote 3 tokens", of a rule that asked somebody.
std::string CostWords(const v1::ExplainedRule& rule) {
  if (!rule.has_answer()) return "";
  const v1::ExplainedAnswer& answer = rule.answer();
  std::string out = fmt::format("; it took {:.0f} ms", answer.ms());
  if (answer.input_tokens() > 0 || answer.output_tokens() > 0)
    out += fmt::format(", read {} and wrote {} tokens", answer.input_tokens(), answer.output_tokens());
  return out;
}

void PrintExplanation(Context& context, const v1::ExplainPolicyRequest& request, const v1::ExplainPolicyReply& reply, bool all) {
  context.Print(fmt::format("{}: {}\n", request.output() ? "output" : "input", PolicyWords(reply.outcome())));
  if (request.output() || reply.outcome().action() != "block") context.Print(Indented(reply.text_used(), "  becomes: "));
  const std::string& judged = reply.text_judged().empty() ? request.text() : reply.text_judged();
  Table spans({"at", "rule", "severity", "found by", "found", "score", "what became of it", "because it counts"});
  for (const v1::ExplainedSpan& span : reply.spans()) {
    spans.Add({fmt::format("{}:{}", span.line(), span.column()), span.rule_id(), span.severity(), span.detector(),
               Shown(judged, span.begin(), span.end()), Shown(span.score()), span.became(),
               fmt::format("{}", fmt::join(span.evidence(), "; "))});
  }
  context.Print("\n" + spans.Text("no rule found anything"));
  Table rules({"rule", "state", "> us", "score", "why"});
  int elsewhere = 0;
  for (const v1::ExplainedRule& rule : reply.rules()) {
    if (rule.state() == "not here" && !all) {
      ++elsewhere;
      continue;
    }
    rules.Add({rule.rule_id(), rule.state(), fmt::format("{:.1f}", rule.micros()), Shown(rule.score()), rule.why() + CostWords(rule)});
  }
  context.Print("\n" + rules.Text("no rule acts here"));
  if (elsewhere > 0) context.Print(fmt::format("{} more act elsewhere: --all tells why\n", elsewhere));
  context.Print(fmt::format("\nwhole judgement {:.1f} us, of that {:.1f} us the pass that all rules share; policies {}\n", reply.micros(),
                            reply.shared_micros(), reply.policy_digest().substr(0, 12)));
}

void Explain(Context& context, const ExplainOptions& options) {
  if (options.input.empty() == options.output.empty())
    return context.Fail(kUsage, "which text? give --input TEXT or --output TEXT, @FILE for a file");
  v1::ExplainPolicyRequest request;
  const auto scope = context.Take(options.scope.Read(options.file.empty() ? OrgOf(context.globals) : context.globals.org));
  const auto text = TextOf(context, options.input.empty() ? options.output : options.input);
  if (!scope || !text) return;
  request.set_org(scope->org());
  request.set_text(*text);
  request.set_output(!options.output.empty());
  request.set_role(RoleOf(options.role));
  request.set_team(scope->team());
  request.set_project(scope->project());
  request.set_key(scope->key());
  request.set_model(options.model);
  request.set_part(options.part);
  request.set_tool(options.tool);
  request.set_end_user(options.end_user);
  std::optional<v1::ExplainPolicyReply> reply;
  if (options.file.empty()) {
    reply = Look<Policy>(context, Listener::kAdmin, &Policy::Stub::Explain, request);
  } else if (const auto source = ReadSource(context, options.file)) {
    const std::int64_t now_s = base::ToMicros(context.clock.Wall()) / 1'000'000;
    policy::Subject subject{scope->org(), scope->team(), scope->project(), scope->key(), options.model, now_s};
    subject.end_user = options.end_user;
    reply = TakePolicy(context, explain::Explain({&*source, 1}, subject, request), source->name, options.file);
  }
  if (!reply) return;
  if (reply->outcome().action() == "block") context.exit_code = kRefused;
  if (context.globals.json) return context.PrintJson(*reply);
  PrintExplanation(context, request, *reply, options.all);
}

void PrintCosts(Context& context, const v1::LintPolicyReply& reply) {
  Table costs({"rule", "> us a KB", "slowest on", "> held, mean", "> held, most", "> could hold"});
  for (const v1::RuleCost& cost : reply.costs()) {
    costs.Add({cost.rule_id(), fmt::format("{:.2f}", cost.us_per_kb()), cost.slowest_text(),
               cost.output() ? fmt::format("{:.1f}", cost.hold_mean_bytes()) : "-",
               cost.output() ? std::to_string(cost.hold_max_bytes()) : "-", cost.output() ? std::to_string(cost.hold_bound_bytes()) : "-"});
  }
  context.Print(costs.Text("no rules"));
  context.Print(fmt::format("all together {:.1f} us a KB of the slowest text; held: bytes of a streamed reply\n\n", reply.us_per_kb()));
}

void Lint(Context& context, const LintOptions& options) {
  std::optional<v1::LintPolicyReply> reply;
  if (options.file.empty()) {
    v1::LintPolicyRequest request;
    request.set_org(OrgOf(context.globals));
    reply = Look<Policy>(context, Listener::kAdmin, &Policy::Stub::Lint, request);
  } else if (const auto source = ReadSource(context, options.file)) {
    reply = TakePolicy(context, explain::Lint({&*source, 1}, {}), source->name, options.file);
  }
  if (!reply) return;
  std::array<int, 3> counts{};  // Errors, warnings, notes.
  for (const v1::LintRemark& remark : reply->remarks()) ++counts[remark.level() == "error" ? 0 : remark.level() == "warning" ? 1 : 2];
  if (counts[0] > 0 || (options.strict && counts[1] > 0)) context.exit_code = kRefused;
  if (context.globals.json) return context.PrintJson(*reply);
  if (options.costs) PrintCosts(context, *reply);
  for (const v1::LintRemark& remark : reply->remarks()) {
    const std::string where = options.file.empty() ? remark.policy() : PathOf(remark.policy(), NameOf(options.file), options.file);
    context.Print(fmt::format("{}:{}:{}: {}: {}: rule {}: {}\n", where, remark.line(), remark.column(), remark.level(), remark.check(),
                              remark.rule_id(), remark.message()));
  }
  const auto many = [](int n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); };
  context.Print(fmt::format("{}, {}, {}\n", many(counts[0], "error"), many(counts[1], "warning"), many(counts[2], "note")));
}

}  // namespace

void AddPolicyExplainCommands(CLI::App& group, Context& context) {
  auto* explain = group.add_subcommand("explain", "Tell what every rule did to one text and why, or why not, and what it cost");
  const auto o = std::make_shared<ExplainOptions>();
  explain->add_option("FILE", o->file, "YAML file, or - for standard input, and no server is asked; else the policies in force");
  explain->add_option("--input", o->input, "A prompt's message; @FILE for what a file holds");
  explain->add_option("--output", o->output, "A reply; @FILE for what a file holds");
  explain->add_option("--role", o->role, "Who wrote the message")
      ->capture_default_str()
      ->check(CLI::IsMember({"system", "user", "assistant", "tool"}));
  explain->add_option("--part", o->part, "What the text is; if not given, a message's text")
      ->check(CLI::IsMember({"text", "reasoning", "tool_definitions", "tool_calls", "tool_results"}));
  explain->add_option("--tool", o->tool, "The tool that it defines, calls or answers for");
  explain->add_option("--end-user", o->end_user, "The end user that it is taken to come from");
  o->scope.AddTo(*explain, "that the text is taken to come from");
  explain->add_option("--model", o->model, "The model that it is taken to go to");
  explain->add_flag("--all", o->all, "Tell of the rules that act elsewhere too");
  explain->callback([&context, o] { Explain(context, *o); });
  Teach(*explain,
        "Each span with its line and column, what found it, its score, what became of it and why it counts; then each rule with\n"
        "what it took in microseconds and, where it found nothing, what was missing: a check digit, a word beside it, the right team.\n"
        "With FILE no server is asked, and nothing is stored or recorded. Without it, where rules in force ask others (guard, topic,\n"
        "external), they are asked about the text, and it is sealed in a record first. Exit code 1 if the text is blocked.",
        {"tollgate policy explain --input \"my card is 4111 1111 1111 1112\"",
         "tollgate policy explain acme.yaml --output @reply.txt --team support",
         "tollgate policy explain acme.yaml --input @mail.txt --role tool --tool read_mail --all"});

  auto* lint = group.add_subcommand("lint", "Find rules that never act, act on everything, leak, hold replies or are slow; measure each");
  const auto l = std::make_shared<LintOptions>();
  lint->add_option("FILE", l->file, "YAML file, or - for standard input, and no server is asked; else the policies in force");
  lint->add_flag("--strict", l->strict, "Exit code 1 for warnings too");
  lint->add_flag("!--no-costs", l->costs, "Leave the table of costs out");
  lint->callback([&context, l] { Lint(context, *l); });
  Teach(*lint,
        "error: a rule does not do what it says; warning: it does, and probably not what was meant; note: could be better.\n"
        "Without a file, all policies in force are looked at together, and the names in `where` are compared with the directory.\n"
        "docs/policy.md tells what each check looks for. Exit code 1 if there is an error.",
        {"tollgate policy lint acme.yaml", "tollgate policy lint", "tollgate policy lint acme.yaml --strict --no-costs"});
}

}  // namespace tollgate::cli
