// One function per body, and one that chooses. Every text comes from the record, which holds no content.
//
// Tested by tests/gateway/cli/words_test.cpp.
#include "gateway/cli/record_words.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/money.h"
#include "base/uuid.h"
#include "gateway/cli/words.h"

namespace tollgate::cli {
namespace {
std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string VerdictWords(const v1::Verdict& verdict) {
  if (verdict.action().empty()) return "not inspected";
  std::vector<RuleWord> words;
  for (const auto& rule : verdict.rules())
    words.push_back({rule.action(), rule.count() > 1 ? fmt::format("{} x{}", rule.rule_id(), rule.count()) : rule.rule_id()});
  std::string text = ByAction(verdict.action(), words);
  if (verdict.not_scanned_size() > 0) text += fmt::format(", not scanned: {}", fmt::join(verdict.not_scanned(), ", "));
  return text;
}

// "in message 0, bytes 10 to 29 and 40 to 59; in reply 1's reasoning, bytes 3 to 8". Offsets are no content.
std::string SpanWords(const v1::RuleOutcome& rule, bool output) {
  std::string out;
  const v1::Span* last = nullptr;
  for (const v1::Span& span : rule.spans()) {
    const bool same = last != nullptr && last->message() == span.message() && last->field() == span.field();
    last = &span;
    if (!same) {
      const std::string field = span.field() == "text" || span.field().empty() ? "" : fmt::format("'s {}", span.field());
      out += fmt::format("{}in {} {}{}, bytes ", out.empty() ? "" : "; ", output ? "reply" : "message", span.message(), field);
    }
    out += fmt::format("{}{} to {}", same ? ", " : "", span.begin(), span.end());
  }
  const std::int64_t more = rule.count() - rule.spans_size();
  if (out.empty()) return "";
  return more > 0 ? fmt::format("{}; and {} more", out, ShowCount(more)) : out;
}

// ", 4.2 bits a character (3.0 count)"; empty where nothing was measured.
std::string ScoreWords(const v1::RuleScore& score) {
  if (score.unit().empty()) return "";
  const bool whole = score.value_thousandths() % 1000 == 0 && score.least_thousandths() % 1000 == 0;
  const auto number = [&](std::int64_t thousandths) {
    return whole ? ShowCount(thousandths / 1000) : fmt::format("{:.1f}", static_cast<double>(thousandths) / 1e3);
  };
  return fmt::format(", {} {} ({} count)", number(score.value_thousandths()), score.unit(), number(score.least_thousandths()));
}

// A line a rule that acted: how grave it is, what it did, how often, what it measured, and where.
std::string RuleLines(const v1::Verdict& verdict, bool output) {
  std::string out;
  for (const v1::RuleOutcome& rule : verdict.rules()) {
    const std::string where = SpanWords(rule, output);
    out +=
        fmt::format("      rule {}{}: {}{}{}{}{}\n", rule.rule_id(), rule.severity().empty() ? "" : fmt::format(" ({})", rule.severity()),
                    rule.action(), rule.effect().empty() ? "" : " and " + rule.effect(),
                    rule.count() > 1 ? fmt::format(", {} times", ShowCount(rule.count())) : "", ScoreWords(rule.score()),
                    where.empty() ? "" : ", " + where);
  }
  return out;
}

// What a policy on trial says of the same; empty without one.
std::string ShadowWords(const v1::ShadowVerdict& shadow, bool output) {
  if (shadow.policy_digest().empty()) return "";
  return fmt::format("    the shadow {} says: {}\n", base::HexEncode(shadow.policy_digest()).substr(0, 12),
                     VerdictWords(shadow.verdict())) +
         RuleLines(shadow.verdict(), output);
}

std::string PriceWords(const v1::PinnedPrice& price) {
  const auto money = [](std::int64_t nanos) { return base::FormatMoney(base::Money{nanos}); };
  return fmt::format("version {}: {} in, {} out, {} for 1,000 tokens", price.version(), money(price.input_nanos_per_1000()),
                     money(price.output_nanos_per_1000()), price.currency());
}

std::string RequestSummary(const v1::RequestBody& body) {
  return fmt::format("{}, {} tokens in, {}{}, {}", body.model(), ShowCount(body.input_tokens()), body.surface(),
                     body.stream() ? " stream" : "", VerdictWords(body.input_verdict()));
}

std::string IdWords(const std::string& bytes) {
  const auto id = base::Uuid::FromBytes(bytes);
  return id.ok() ? id->ToString() : base::HexEncode(bytes);
}

// Terms accepted with a request, and a second person's approvals: given, or waited for.
std::string GateWords(const std::string& terms, const google::protobuf::RepeatedPtrField<std::string>& approvals, std::string_view how) {
  std::string out = terms.empty() ? "" : fmt::format("    the end user accepted {}\n", terms);
  for (const std::string& approval : approvals) out += fmt::format("    {} {}\n", how, IdWords(approval));
  return out;
}

// Which defaults were in force, and what was lowered to their caps; empty where none were.
std::string DefaultsWords(const v1::RequestBody& body) {
  if (body.defaults().empty()) return "";
  std::vector<std::string> scopes;
  for (const auto& of : body.defaults())
    scopes.push_back(fmt::format("{} version {} ({})", of.scope_kind(), of.version(), base::HexEncode(of.sha256()).substr(0, 12)));
  return fmt::format("    defaults: {}{}{}\n", fmt::join(scopes, ", "),
                     body.clamped().empty() ? "" : "; lowered to a cap: ", fmt::join(body.clamped(), ", "));
}

// How its sequences stood in the model's queue; empty: as all do where nothing is set.
std::string QueueWords(const v1::RequestBody& body) {
  if (!body.has_band() && body.weight_millionths() == 0) return "";
  const double weight = body.weight_millionths() == 0 ? 1 : static_cast<double>(body.weight_millionths()) / 1e6;
  return fmt::format("    queue: band {}, weight {}\n", body.has_band() ? body.band() : 1, weight);
}

// Which request it goes on for with a fallback; empty: none.
template <typename Body>
std::string ContinuesWords(const Body& body) {
  if (body.continues().empty()) return "";
  return fmt::format("    goes on for request {}, which model {} could not take\n", IdWords(body.continues()), body.continues_model());
}

std::string RequestDetails(const v1::RequestBody& body) {
  std::string out = fmt::format("    model {}{} over {}{}\n", body.model(),
                                body.model_requested().empty() ? "" : " (asked as " + body.model_requested() + ")", body.surface(),
                                body.stream() ? ", streamed" : "");
  out += ContinuesWords(body);
  if (!body.operation().empty()) out += fmt::format("    {} of {} inputs\n", body.operation(), ShowCount(body.inputs()));
  out += fmt::format("    prompt: {} tokens, {}\n", ShowCount(body.input_tokens()), VerdictWords(body.input_verdict()));
  out += RuleLines(body.input_verdict(), false);
  if (body.pseudonyms() > 0) out += fmt::format("    pseudonyms: {}\n", ShowCount(body.pseudonyms()));
  if (!body.routed_by().empty()) out += fmt::format("    sent to this model by rule {}\n", body.routed_by());
  for (const v1::AdapterInForce& adapter : body.adapters()) {
    out += fmt::format("    adapter {} (sha256 {}…) at scale {}\n", adapter.name(), base::HexEncode(adapter.sha256()).substr(0, 12),
                       static_cast<double>(adapter.scale_millionths()) / 1e6);
  }
  if (body.has_strict()) {
    const v1::StrictRun& run = body.strict();
    out += fmt::format("    strict, to be made again: tollgate {} with {}, {} threads, chunks of {} tokens, seed {}\n", run.build(),
                       run.engine_build(), run.threads(), ShowCount(run.chunk_tokens()), body.sampling().seed());
    out += fmt::format("    on {}\n", run.processor());
  }
  if (body.schema_in_part()) out += "    held to a part of its schemas: the rest cannot be enforced, and strict was not asked for\n";
  if (body.justified()) out += "    justified by the caller\n";
  out += GateWords(body.terms_accepted(), body.approvals(), "under approval");
  out += ShadowWords(body.shadow(), false);
  out += fmt::format("    reserved {} tokens, at most {} out\n", ShowCount(body.reserved_tokens()), ShowCount(body.max_output_tokens()));
  out += DefaultsWords(body) + QueueWords(body);
  if (body.has_price()) out += fmt::format("    price {}\n", PriceWords(body.price()));
  if (!body.client_request_id().empty()) out += fmt::format("    client's id {}\n", Tamed(body.client_request_id()));
  return out + fmt::format("    policy {}{}\n", base::HexEncode(body.policy_digest()).substr(0, 12), body.canary() ? " (a canary)" : "");
}

std::string EndSummary(const v1::EndBody& body) {
  return fmt::format("{}, {} in, {} out, {}, {} {}{}", body.reason(), ShowCount(body.tokens().input()), ShowCount(body.tokens().output()),
                     VerdictWords(body.output_verdict()), base::FormatMoney(base::Money{body.amount_nanos()}), body.price().currency(),
                     body.recovered() ? ", recovered" : "");
}

// What servers say that their answers cost, beside our own count; empty where none ran it.
template <typename Body>
std::string ServerWords(const Body& body, std::string_view lead) {
  if (!body.has_server_usage()) return "";
  const v1::ServerUsage& usage = body.server_usage();
  std::vector<std::string> counts;
  if (usage.has_input_reported())
    counts.push_back(fmt::format("{} in where {} were sent", ShowCount(usage.input_reported()), ShowCount(usage.input_sent())));
  if (usage.has_output_reported())
    counts.push_back(fmt::format("{} out where {} came", ShowCount(usage.output_reported()), ShowCount(usage.output_came())));
  if (counts.empty()) counts.emplace_back("none");
  if (usage.silent() > 0)
    counts.push_back(fmt::format("{} of {} whole answers had no count", ShowCount(usage.silent()), ShowCount(usage.answers())));
  return fmt::format("    {}{}; {}\n", lead, fmt::join(counts, ", "),
                     usage.differs() ? "it differs, and ours is billed" : "ours is billed");
}

// What detectors outside of policy said of prompt and reply.
std::string GuardWords(const v1::EndBody& body) {
  std::string out;
  for (const v1::GuardOutcome& guard : body.guards()) {
    std::string about = guard.output() ? "reply" : "prompt";
    if (guard.choice() > 0) about += fmt::format(" {}", guard.choice());
    if (!guard.channel().empty()) about += fmt::format("'s {}", guard.channel());
    out += fmt::format("    {} {} on the {} (rule {}): ", guard.detector(), guard.name(), about, guard.rule_id());
    if (!guard.failure().empty()) {
      out += fmt::format("not scanned, {}", Tamed(guard.failure()));
    } else if (guard.asked() == 0) {
      out += "not asked";
    } else {
      out += guard.hit() ? "hit" : "no hit";
      if (!guard.category().empty()) out += fmt::format(", {}", Tamed(guard.category()));
      out += fmt::format(", score {:.2f}", static_cast<double>(guard.score_millionths()) / 1e6);
      if (guard.least_score_millionths() > 0)
        out += fmt::format(" ({:.2f} counts)", static_cast<double>(guard.least_score_millionths()) / 1e6);
    }
    if (guard.output()) out += fmt::format(", {} bytes out", ShowCount(guard.bytes_out()));
    if (guard.guard_input_tokens() > 0)
      out += fmt::format(", {} tokens read and {} written", ShowCount(guard.guard_input_tokens()), ShowCount(guard.guard_output_tokens()));
    out += "\n";
  }
  for (const v1::GuardUsage& usage : body.guard_usage()) {
    out += fmt::format("    guard model {}: asked {}, {} in, {} out, charged apart {} {}\n", usage.model(), ShowCount(usage.asked()),
                       ShowCount(usage.tokens().input()), ShowCount(usage.tokens().output()),
                       base::FormatMoney(base::Money{usage.amount_nanos()}), usage.price().currency());
    out += ServerWords(usage, "  its server's own count: ");
  }
  return out;
}

std::string EndDetails(const v1::EndBody& body) {
  std::string out = fmt::format("    ended: {}{}\n", body.reason(), body.recovered() ? ", closed after its instance died" : "");
  if (!body.continued_as().empty())
    out += fmt::format("    gone on with, by a fallback of its alias, as request {}\n", IdWords(body.continued_as()));
  out += fmt::format("    tokens: {} in, {} out, {} delivered\n", ShowCount(body.tokens().input()), ShowCount(body.tokens().output()),
                     ShowCount(body.tokens().delivered()));
  out += ServerWords(body, "the server's own count: ");
  if (body.tokens().discarded() > 0)
    out += fmt::format("    of those out were discarded by rules: {}\n", ShowCount(body.tokens().discarded()));
  for (const v1::RetryOutcome& retry : body.retries()) {
    out += fmt::format("    written anew for rule {}{}: {} times, {} tokens{}\n", retry.rule_id(),
                       retry.choice() > 0 ? fmt::format(" (reply {})", retry.choice()) : "", retry.times(),
                       ShowCount(retry.discarded_tokens()), retry.gave_up() ? ", and given up" : "");
  }
  if (body.has_input_verdict()) {
    out += fmt::format("    prompt, with what detectors answered: {}\n", VerdictWords(body.input_verdict()));
    out += RuleLines(body.input_verdict(), false);
  }
  if (body.has_vectors()) {
    const v1::VectorOutput& vectors = body.vectors();
    out += fmt::format("    output: {} x {} numbers, sha256 {}\n", ShowCount(vectors.count()), ShowCount(vectors.dimensions()),
                       base::HexEncode(vectors.sha256()));
  } else {
    out += fmt::format("    output: {}, {} bytes delivered\n", VerdictWords(body.output_verdict()), ShowCount(body.delivered_bytes()));
  }
  out += RuleLines(body.output_verdict(), true);
  if (body.reason() == "CONTENT_FILTER")
    out += fmt::format("    of these were out when the block was decided: {}\n", ShowCount(body.delivered_bytes_at_block()));
  for (int i = 0; i < body.choices_size(); ++i) {
    const v1::ChoiceOutcome& choice = body.choices(i);
    out += fmt::format("    reply {}: {}, {} tokens, {} bytes delivered{}\n", i, choice.reason(), ShowCount(choice.output_tokens()),
                       ShowCount(choice.delivered_bytes()),
                       choice.reason() == "CONTENT_FILTER"
                           ? fmt::format(", of these out when it was blocked: {}", ShowCount(choice.delivered_bytes_at_block()))
                           : "");
  }
  if (body.pseudonyms_restored() > 0)
    out += fmt::format("    pseudonyms given their values back: {}\n", ShowCount(body.pseudonyms_restored()));
  out += ShadowWords(body.shadow_output(), true);
  out += GuardWords(body);
  out += fmt::format("    charged {} {}\n", base::FormatMoney(base::Money{body.amount_nanos()}), body.price().currency());
  return out + fmt::format("    first token after {:.1f} ms, end after {:.1f} ms\n", static_cast<double>(body.first_token_us()) / 1e3,
                           static_cast<double>(body.total_us()) / 1e3);
}

std::string ViewSummary(const v1::ViewBody& view) {
  if (!view.pseudonym().empty()) return fmt::format("{} read what {} stands for: {}", view.actor(), view.pseudonym(), view.reason());
  std::string what = fmt::format("{}/{}", view.log_id(), view.index());
  if (view.viewed_size() > 0) {
    std::vector<std::string> logs;
    for (const v1::ViewedLog& log : view.viewed()) {
      std::int64_t last = 0;
      for (const std::int64_t step : log.steps()) last += step;
      const std::int64_t first = log.steps_size() == 0 ? 0 : log.steps(0);
      logs.push_back(fmt::format("{} records of {}/{} to {}/{}", ShowCount(log.steps_size()), log.log_id(), first, log.log_id(), last));
    }
    what = fmt::format("{}", fmt::join(logs, ", "));
  }
  if (!view.has_replay()) return fmt::format("{} read {}: {}", view.actor(), what, view.reason());
  const v1::ReplayOutcome& outcome = view.replay();
  std::string how = outcome.verdict();
  if (how == "differs") how += fmt::format(" at token {}", outcome.equal_tokens() + 1);
  if (!outcome.reason().empty()) how += fmt::format(" ({})", outcome.reason());
  return fmt::format("{} made {} again, {}, {} in, {} out: {}", view.actor(), what, how, ShowCount(outcome.tokens().input()),
                     ShowCount(outcome.tokens().output()), view.reason());
}

// The model whose rules refused, where that is on record.
std::string DeniedModel(const v1::DenyBody& deny) {
  if (deny.model().empty() || deny.model() == deny.model_requested()) return deny.model_requested();
  return fmt::format("{} (asked as {}{})", deny.model(), deny.model_requested(),
                     deny.routed_by().empty() ? "" : ", sent to this model by rule " + deny.routed_by());
}

std::string OtherSummary(const v1::Record& record) {
  switch (record.body_case()) {
    case v1::Record::kDeny:
      return fmt::format("{}, {}, {}", DeniedModel(record.deny()), record.deny().reason(), VerdictWords(record.deny().input_verdict()));
    case v1::Record::kSegmentBody:
      return fmt::format("segment {}, {} bytes, {} tokens so far", record.segment(), record.segment_body().size(),
                         record.segment_body().output_tokens());
    case v1::Record::kView: return ViewSummary(record.view());
    case v1::Record::kAdmin: return fmt::format("{} by {}: {}", record.admin().action(), record.admin().actor(), record.admin().summary());
    case v1::Record::kRefused: return fmt::format("{} x{}", record.refused().reason(), record.refused().count());
    case v1::Record::kInstance: return fmt::format("epoch {}, build {}", record.instance().epoch(), record.instance().build());
    case v1::Record::kErase:
      if (!record.erase().pseudonyms_of().empty())
        return fmt::format("what the pseudonyms of one {} stand for forgotten by {}: {}", record.erase().pseudonyms_of(),
                           record.erase().actor(), record.erase().reason());
      return fmt::format("{} keys destroyed by {}: {}", record.erase().keys_destroyed(), record.erase().actor(), record.erase().reason());
    default: return "";
  }
}

std::string AllDetails(const v1::Record& record) {
  std::string out;
  if (const auto id = base::Uuid::FromBytes(record.request_id()); id.ok()) out += fmt::format("    request {}\n", id->ToString());
  if (record.has_request()) return out + RequestDetails(record.request());
  if (record.has_end()) return out + EndDetails(record.end());
  out += "    " + Tamed(OtherSummary(record)) + "\n";
  if (record.has_deny()) out += RuleLines(record.deny().input_verdict(), false) + ShadowWords(record.deny().shadow(), false);
  if (record.has_deny()) out += ContinuesWords(record.deny());
  if (record.has_deny()) out += GateWords(record.deny().terms_accepted(), record.deny().approvals(), "waits for approval");
  return out;
}
}  // namespace

std::string KindWord(v1::RecordKind kind) {
  const std::string& name = v1::RecordKind_Name(kind);
  return name.empty() ? std::to_string(static_cast<int>(kind)) : Lower(name.substr(std::string_view("RECORD_KIND_").size()));
}

std::optional<v1::RecordKind> KindOf(std::string_view word) {
  for (int kind = 1; kind <= v1::RecordKind_MAX; ++kind) {
    if (KindWord(static_cast<v1::RecordKind>(kind)) == Lower(std::string(word))) return static_cast<v1::RecordKind>(kind);
  }
  return std::nullopt;
}

std::vector<std::string> KindWords() {
  std::vector<std::string> words;
  for (int kind = 1; kind <= v1::RecordKind_MAX; ++kind) words.push_back(KindWord(static_cast<v1::RecordKind>(kind)));
  return words;
}

std::string RoleWord(v1::Role role) {
  const std::string& name = v1::Role_Name(role);
  return name.starts_with("ROLE_") ? Lower(name.substr(5)) : "unknown";
}

std::string Indented(const std::string& text, const std::string& lead) {
  std::string out = lead;
  for (const char c : Tamed(text, "\t\n")) {
    out += c;
    if (c == '\n') out += lead;
  }
  return out + "\n";
}

std::string ShowPosition(const v1::RecordPosition& position) { return fmt::format("{}/{}", position.log_id(), position.index()); }

std::string ShowPlace(const v1::StoredRecord& stored) {
  if (stored.org().empty()) return "-";
  std::string text = stored.org();
  if (!stored.team().empty()) text += "/" + stored.team();
  if (!stored.project().empty()) text += "/" + stored.project();
  return text;
}

std::string Summary(const v1::Record& record) {
  if (record.has_request()) return RequestSummary(record.request());
  if (record.has_end()) return EndSummary(record.end());
  return OtherSummary(record);
}

std::string Details(const v1::Record& record) { return Tamed(AllDetails(record), "\n"); }

}  // namespace tollgate::cli
