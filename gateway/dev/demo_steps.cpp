// The model is a small one and says what it likes, so no step depends on its words but the one that shows redaction going out: there it is
// taught by examples to repeat a sentence, greedily, and a few sentences are tried in turn. The scripted engine repeats by itself.
//
// The quota counts calendar minutes: a run that starts late in one, or finds it used, waits for the next and says so.
//
// Tested by tests/gateway/dev/demo_test.cpp (the sentences under the sample policy) and tests/e2e (the whole).
#include "gateway/dev/demo_steps.h"

#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "audit/record.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/table.h"
#include "gateway/cli/words.h"
#include "gateway/dev/company.h"

namespace tollgate::dev {
namespace {
constexpr int kSteps = 7;

absl::Status Expect(bool good, const std::string& what) { return good ? absl::OkStatus() : base::Internal("expected " + what); }

void Add(v1::ChatRequest& request, v1::Role role, const std::string& text) {
  v1::ChatMessage& message = *request.add_messages();
  message.set_role(role);
  message.add_parts(text);
}

v1::ChatRequest Prompt(const std::string& text, int max_tokens) {
  v1::ChatRequest request;
  Add(request, v1::ROLE_USER, text);
  request.set_max_tokens(max_tokens);
  request.mutable_sampling()->set_temperature(0);
  return request;
}

v1::ChatRequest RepeatAfterMe(const std::string& sentence) {
  v1::ChatRequest request;
  Add(request, v1::ROLE_SYSTEM, "You repeat what the user says, word for word.");
  for (const char* example : {"The train leaves at 9.", "Tom lives at 12 Elm Street, phone 020 7946 0018.",
                              "Order 7781 2290 1145 is for bob at shop dot example."}) {
    Add(request, v1::ROLE_USER, example);
    Add(request, v1::ROLE_ASSISTANT, example);
  }
  Add(request, v1::ROLE_USER, sentence);
  request.set_max_tokens(60);
  request.mutable_sampling()->set_temperature(0);
  return request;
}

std::string Joined(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages) {
  std::string text;
  for (const auto& message : messages) {
    for (const std::string& part : message.parts()) text += part;
  }
  return text;
}

bool Holds(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

std::int64_t SecondOfMinute() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() % 60;
}

std::int64_t TokensOf(const v1::TokenCounts& tokens) { return tokens.input() + tokens.output(); }
}  // namespace

std::vector<std::string> SentencesToRepeat() {
  return {"Card 6011 0009 9013 9424 belongs to ann@acme.example.", "Card 5105 1051 0510 5100 belongs to ann@acme.example.",
          "Card 4242 4242 4242 4242 belongs to ann@acme.example.", "Card 6011 1111 1111 1117 belongs to tom@acme.example.",
          "Card 3782 822463 10005 belongs to ann@acme.example."};
}

int Demo::Run() {
  struct Step {
    const char* title;
    absl::Status (Demo::*run)();
  };
  const Step steps[kSteps] = {{"an allowed prompt, streamed", &Demo::Allowed},
                              {"personal data going in is hidden from the model", &Demo::RedactedIn},
                              {"personal data coming out is hidden from the client", &Demo::RedactedOut},
                              {"a prompt that policy blocks", &Demo::Blocked},
                              {"a quota ends a stream at its very last token", &Demo::QuotaEnds},
                              {"all of it is on record", &Demo::OnRecord},
                              {"the bill by team", &Demo::Bill}};
  int failed = 0;
  if (const absl::Status before = Tokens(used_before_); !before.ok()) {
    out_ << "FAILED: " << base::Message(before) << "\n";
    return 1;
  }
  for (int i = 0; i < kSteps; ++i) {
    out_ << fmt::format("\nStep {} of {}: {}\n", i + 1, kSteps, steps[i].title) << std::flush;
    const absl::Status status = (this->*steps[i].run)();
    out_ << (status.ok() ? "  ok\n" : "  FAILED: " + base::Message(status) + "\n") << std::flush;
    failed += status.ok() ? 0 : 1;
  }
  out_ << (failed == 0 ? "\nEvery step did what it says.\n" : fmt::format("\n{} of {} steps failed.\n", failed, kSteps));
  if (failed > 0) TellLeftovers();
  return failed;
}

// What somebody tried out and left may be why.
void Demo::TellLeftovers() {
  const auto now = client_.Look();
  if (!now.ok()) return;
  const std::vector<Leftover> leftovers = FindLeftovers(*now);
  if (leftovers.empty()) return;
  out_ << "\nThis is not as the sample company came, and may be why. Each line takes one thing back:\n";
  for (const Leftover& leftover : leftovers) out_ << fmt::format("\n# {}\n{} {}\n", leftover.what, program_, leftover.command);
}

absl::StatusOr<Answer> Demo::Ask(const std::string& key, const v1::ChatRequest& request, const std::string& shown) {
  out_ << fmt::format("  {} asks: {}\n", key, shown) << std::flush;
  bool first = true;
  TG_ASSIGN(Answer answer, client_.Ask(key, request, [&](const std::string& text) {
    if (first) out_ << "  " << client_.model() << " answers: ";
    first = false;
    out_ << text << std::flush;
  }));
  if (!first) out_ << "\n";
  if (answer.refused) {
    out_ << fmt::format("  refused: {} ({}): {}\n", answer.code, answer.reason, answer.message);
  } else {
    const auto& tokens = answer.end.usage();
    out_ << fmt::format("  [{} pieces, {} tokens in, {} out, last record {}]\n", answer.pieces, tokens.input(), tokens.output(),
                        cli::ShowPosition(answer.end.record()));
  }
  used_[key == "trial" || key == "helpdesk" ? "support" : "search"] += TokensOf(answer.end.usage());
  answers_.push_back(answer);
  return answer;
}

absl::Status Demo::Allowed() {
  TG_ASSIGN(const Answer answer, Ask("web", Prompt("Why is the sky blue?", 60), "Why is the sky blue?"));
  TG_RETURN_IF_ERROR(Expect(!answer.refused && !answer.text.empty(), "an answer"));
  TG_RETURN_IF_ERROR(Expect(answer.end.input_policy().action() == "allow", "the prompt to be allowed"));
  return Expect(answer.end.usage().output() > 0 && answer.end.record().index() > 0, "tokens and a record");
}

absl::Status Demo::RedactedIn() {
  TG_ASSIGN(const Answer answer, Ask("web", Prompt(kPersonalPrompt, 40), kPersonalPrompt));
  TG_RETURN_IF_ERROR(Expect(!answer.refused, "an answer"));
  TG_RETURN_IF_ERROR(Expect(answer.end.input_policy().action() == "redact" && answer.end.input_policy().redactions() == 2,
                            "two redactions in the prompt"));
  TG_ASSIGN(const v1::ShowRecordReply story, client_.Story(answer.request_id, true));
  for (const auto& stored : story.records()) {
    if (stored.record().kind() != v1::RECORD_KIND_REQUEST) continue;
    const std::string used = Joined(stored.content().prompt_used());
    out_ << fmt::format("  the model got: {}\n  (sealed in record {}; that this was read is a record too)\n", used,
                        cli::ShowPosition(stored.position()));
    TG_RETURN_IF_ERROR(Expect(!Holds(used, "4111") && !Holds(used, "ann@"), "neither card nor e-mail to reach the model"));
    return Expect(Holds(used, "[CARD]") && Holds(used, "[EMAIL]"), "placeholders in their place");
  }
  return Expect(false, "a record of the request");
}

absl::Status Demo::RedactedOut() {
  out_ << "  The nightly jobs may read personal data, but never send it on. The model is asked to repeat a sentence.\n";
  for (const std::string& sentence : SentencesToRepeat()) {
    TG_ASSIGN(const Answer answer, Ask("batch", RepeatAfterMe(sentence), sentence));
    TG_RETURN_IF_ERROR(Expect(!answer.refused, "an answer"));
    TG_RETURN_IF_ERROR(Expect(answer.end.input_policy().redactions() == 0, "the prompt to pass as it is"));
    const std::string card = sentence.substr(5, sentence.find(" belongs") - 5);
    TG_RETURN_IF_ERROR(Expect(!Holds(answer.text, card) && !Holds(answer.text, "@acme.example"), "neither card nor e-mail to come out"));
    const bool both = Holds(answer.text, "[CARD]") && Holds(answer.text, "[EMAIL]");
    if (both) return Expect(answer.end.output_policy().action() == "redact", "the output's verdict to be redact");
    out_ << "  The model did not repeat it all; another sentence.\n";
  }
  return Expect(false, "the model to repeat one of the sentences");
}

absl::Status Demo::Blocked() {
  TG_ASSIGN(const Answer answer, Ask("web", Prompt(kBlockedPrompt, 20), kBlockedPrompt));
  TG_RETURN_IF_ERROR(
      Expect(answer.refused && answer.code == "PERMISSION_DENIED" && answer.reason == "POLICY_BLOCKED", "a refusal by policy"));
  return Expect(!answer.request_id.empty() && answer.text.empty(), "not one token");
}

absl::Status Demo::QuotaEnds() {
  const bool scripted = client_.model() == "scripted";
  const std::string prompt = scripted ? "!tokens 500" : "Tell me a long story about a lighthouse.";
  out_ << fmt::format("  The trial project may use {} tokens a minute, prompt and answer together.\n", kTrialTokensPerMinute);
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (const std::int64_t second = SecondOfMinute(); second > 40 || attempt > 0) {
      out_ << fmt::format("  waiting {} s for a fresh minute\n", 61 - second) << std::flush;
      std::this_thread::sleep_for(std::chrono::seconds(61 - second));
    }
    TG_ASSIGN(const Answer answer, Ask("trial", Prompt(prompt, 0), prompt));
    if (answer.refused && answer.code == "RESOURCE_EXHAUSTED") continue;  // Somebody used the minute up.
    TG_RETURN_IF_ERROR(Expect(!answer.refused, "an answer"));
    const std::int64_t total = TokensOf(answer.end.usage());
    TG_RETURN_IF_ERROR(Expect(total <= kTrialTokensPerMinute, fmt::format("at most {} tokens, not {}", kTrialTokensPerMinute, total)));
    if (total < kTrialTokensPerMinute) continue;  // Part of the minute was used before.
    out_ << fmt::format("  {} in + {} out = {} tokens; ended by: {}\n", answer.end.usage().input(), answer.end.usage().output(), total,
                        answer.end.quota_reached());
    return Expect(!answer.end.quota_reached().empty() && answer.end.finish_reason() == v1::FINISH_REASON_LENGTH, "the quota to be named");
  }
  return Expect(false, "a fresh minute of the trial project's quota");
}

absl::Status Demo::OnRecord() {
  cli::Table table({"request", "records", "policy and end"});
  for (const Answer& answer : answers_) {
    if (answer.request_id.empty()) return Expect(false, "an id for every request");
    TG_ASSIGN(const v1::ShowRecordReply story, client_.Story(answer.request_id, false));
    std::string kinds;
    std::string last;
    int requests = 0;
    int terminals = 0;
    for (const auto& stored : story.records()) {
      const v1::RecordKind kind = stored.record().kind();
      requests += kind == v1::RECORD_KIND_REQUEST ? 1 : 0;
      const bool terminal = audit::IsTerminal(kind);
      terminals += terminal ? 1 : 0;
      if (terminal) last = cli::Summary(stored.record());
      if (kind == v1::RECORD_KIND_REQUEST) kinds = "request, " + kinds;
      if (kind == v1::RECORD_KIND_SEGMENT && !Holds(kinds, "segments")) kinds += "segments, ";
      if (terminal) kinds += cli::KindWord(kind);
    }
    table.Add({answer.request_id.substr(0, 13) + "…", kinds, last});
    const bool counted =
        terminals == 0 && answer.refused && answer.code == "RESOURCE_EXHAUSTED";  // A refusal by quota may be a counted record.
    if (!counted)
      TG_RETURN_IF_ERROR(Expect(terminals == 1, fmt::format("one terminal record of {}, not {}", answer.request_id, terminals)));
    if (!answer.refused) TG_RETURN_IF_ERROR(Expect(requests == 1, fmt::format("one request record of {}", answer.request_id)));
    if (answer.reason == "POLICY_BLOCKED") TG_RETURN_IF_ERROR(Expect(requests == 0, "nothing to have been routed"));
  }
  out_ << table.Text("nothing");
  TG_ASSIGN(const v1::VerifyLogReply verified, client_.Verify());
  for (const auto& log : verified.logs())
    out_ << fmt::format("  log {}: {} records, {}\n", log.log_id(), log.size(), log.problem().empty() ? "verified" : log.problem());
  return Expect(verified.ok(), "every record to be as it was written");
}

absl::Status Demo::Tokens(std::map<std::string, std::int64_t>& by_team) {
  TG_ASSIGN(const v1::UsageReportReply bill, client_.BillByTeam());
  for (const auto& line : bill.lines()) by_team[line.name()] += TokensOf(line.tokens());
  return absl::OkStatus();
}

absl::Status Demo::Bill() {
  TG_ASSIGN(const v1::UsageReportReply bill, client_.BillByTeam());
  cli::Table table({"team", "> requests", "> input tokens", "> output tokens", "> amount", "currency"});
  std::map<std::string, std::int64_t> after;
  for (const auto& line : bill.lines()) {
    after[line.name()] += TokensOf(line.tokens());
    table.Add({line.name(), cli::ShowCount(line.requests()), cli::ShowCount(line.tokens().input()), cli::ShowCount(line.tokens().output()),
               line.amount(), line.currency()});
  }
  out_ << table.Text("nothing was used");
  for (const auto& [team, tokens] : used_) {
    const std::int64_t billed = after[team] - used_before_[team];
    TG_RETURN_IF_ERROR(Expect(billed >= tokens, fmt::format("the {} tokens of team {} on the bill, not {}", tokens, team, billed)));
  }
  TG_ASSIGN(const v1::ReconcileReply proof, client_.Reconcile());
  out_ << fmt::format("  {} tokens in records, {} in usage, {} in the ledger\n", proof.record_tokens(), proof.usage_tokens(),
                      proof.transfer_tokens());
  return Expect(proof.ok(), "records, usage and ledger to agree, not: " + proof.first_difference());
}

}  // namespace tollgate::dev
