// A verdict is a word of two: where the model tells how likely each token was, the token that the word begins with gives a score: the share
// of the words for hit among all that begin one of either. A token says something if it, without the space before it, begins one of the
// words or is begun by it, and of one side only: "un" says unsafe, "s" nothing where the words are "safe" and "sure".
//
// What is cut off at its bound says nothing where the verdict comes last: a model that thinks may quote what it judges.
//
// Tested by tests/policy/guard_model_test.cpp.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <re2/re2.h>

#include "policy/guard_model.h"

namespace tollgate::policy {

struct GuardPatterns {
  std::unique_ptr<re2::RE2> hit, pass, category;
};

namespace {

using Format = GuardModel::Format;
using Words = std::vector<std::string>;

constexpr std::size_t kCategoryBytesMax = 64;
constexpr std::string_view kWhite = " \t\r\n";

absl::Status NoVerdict() { return base::InvalidArgument("its answer cannot be read as a verdict"); }

std::string_view Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kWhite);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

bool IsWordByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80) != 0;
}

// The text begins with one of the words, whole.
bool BeginsWith(std::string_view text, const Words& words) {
  const std::string lower = Lower(text.substr(0, 256));
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    const std::string its = Lower(word);
    return lower.starts_with(its) && (lower.size() == its.size() || !IsWordByte(lower[its.size()]));
  });
}

bool Suggests(std::string_view token, const Words& words) {
  return std::any_of(words.begin(), words.end(), [&](const std::string& word) {
    const std::string its = Lower(word);
    return its.starts_with(token) || (token.starts_with(its) && !IsWordByte(token[its.size()]));
  });
}

// From the first token that says something, from the byte `from` of the answer on.
std::optional<std::int64_t> ScoreOf(const GuardReply& reply, std::size_t from, const Words& hit, const Words& pass) {
  std::size_t at = 0;
  for (const GuardToken& token : reply.tokens) {
    at += token.bytes.size();
    if (at <= from || Trimmed(token.bytes).empty()) continue;
    double of_hit = 0, of_pass = 0;
    for (const GuardToken::Alternative& other : token.likeliest) {
      const std::string said = Lower(Trimmed(other.bytes));
      if (said.empty()) continue;
      const bool hits = Suggests(said, hit), passes = Suggests(said, pass);
      const double share = std::exp(std::min(other.logprob, 0.0));
      if (hits && !passes) of_hit += share;
      if (passes && !hits) of_pass += share;
    }
    if (!(of_hit + of_pass > 0)) return std::nullopt;
    return std::llround(of_hit / (of_hit + of_pass) * 1e6);
  }
  return std::nullopt;
}

std::string CategoryIn(std::string_view text) {
  text = Trimmed(text.substr(0, text.find('\n')));
  std::string out;
  for (const char c : text.substr(0, kCategoryBytesMax)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view(" ,._:/-").find(c) != std::string_view::npos;
    if (plain) out += c;
  }
  return out;
}

// The first word decides.
absl::StatusOr<GuardReading> ReadWords(const GuardReply& reply, const Words& hit, const Words& pass, std::size_t from = 0) {
  const std::string_view text = std::string_view(reply.text).substr(std::min(from, reply.text.size()));
  const std::string_view said = Trimmed(text);
  const bool hits = BeginsWith(said, hit), passes = BeginsWith(said, pass);
  if (hits == passes) return NoVerdict();
  GuardReading out;
  out.hit = hits;
  out.score_millionths = ScoreOf(reply, from, hit, pass);
  return out;
}

absl::StatusOr<GuardReading> ReadLlamaGuard(const GuardReply& reply) {
  TG_ASSIGN(GuardReading out, ReadWords(reply, {"unsafe"}, {"safe"}));
  const std::string_view said = Trimmed(reply.text);
  const std::size_t line = said.find('\n');
  const std::string_view first = Trimmed(said.substr(0, line));
  if (Lower(first) != (out.hit ? "unsafe" : "safe")) return NoVerdict();  // "unsafe, or perhaps safe" is neither.
  if (out.hit && line != std::string_view::npos) out.category = CategoryIn(Trimmed(said.substr(line)));
  return out;
}

// "Yes", from 3.3 on "<score> yes </score>", behind its thoughts where it thinks.
absl::StatusOr<GuardReading> ReadGranite(const GuardReply& reply) {
  constexpr std::string_view kScore = "<score>", kThought = "</think>";
  const std::string_view said = Trimmed(reply.text);
  if (said.starts_with("<think>") || said.starts_with(kScore)) {
    const std::size_t thought = said.starts_with(kScore) ? 0 : reply.text.rfind(kThought);
    if (thought == std::string::npos) return NoVerdict();
    const std::size_t score = reply.text.find(kScore, thought);
    if (score == std::string::npos || (thought > 0 && !reply.whole)) return NoVerdict();
    return ReadWords(reply, {"yes"}, {"no"}, score + kScore.size());
  }
  return ReadWords(reply, {"yes"}, {"no"});
}

// The last channel, "final": control tokens are there or not, as the engine writes them. Exactly what was asked for, so that nothing which
// a thought or a category quotes of the judged text passes for it.
absl::StatusOr<GuardReading> ReadSafeguard(const GuardReply& reply) {
  static const re2::RE2 kAnswer(
      R"re(\{\s*"violation"\s*:\s*(0|1|true|false)\s*(?:,\s*"category"\s*:\s*(?:null|"([^"\\]{0,256})")\s*)?\})re");
  if (!reply.whole) return NoVerdict();
  std::string_view said = Trimmed(reply.text);
  const std::pair<std::string_view, std::string_view> forms[] = {
      {"<|channel|>", "<|channel|>final<|message|>"}, {"analysis", "assistantfinal"}, {"final", "final"}};
  for (const auto& [begins, final] : forms) {
    if (!said.starts_with(begins)) continue;
    const std::size_t at = begins == final ? 0 : said.rfind(final);
    if (at == std::string_view::npos) return NoVerdict();
    said = Trimmed(said.substr(at + final.size()));
    break;
  }
  for (const std::string_view end : {std::string_view("<|return|>"), std::string_view("<|end|>")}) {
    if (said.ends_with(end)) said = Trimmed(said.substr(0, said.size() - end.size()));
  }
  GuardReading out;
  if (said == "1" || said == "0") {
    out.hit = said == "1";
    return out;
  }
  re2::StringPiece violation, category;
  if (!re2::RE2::FullMatch(re2::StringPiece(said.data(), said.size()), kAnswer, &violation, &category)) return NoVerdict();
  out.hit = violation == "1" || violation == "true";
  if (out.hit) out.category = CategoryIn({category.data(), category.size()});
  return out;
}

absl::StatusOr<GuardReading> ReadOwn(const GuardModel& guard, const GuardReply& reply) {
  if (guard.patterns == nullptr) return ReadWords(reply, guard.hit_words, guard.pass_words);
  const GuardPatterns& patterns = *guard.patterns;
  const re2::StringPiece text(reply.text.data(), reply.text.size());
  const bool hits = re2::RE2::PartialMatch(text, *patterns.hit), passes = re2::RE2::PartialMatch(text, *patterns.pass);
  if (hits == passes || !reply.whole) return NoVerdict();
  GuardReading out;
  out.hit = hits;
  re2::StringPiece category;
  if (hits && patterns.category != nullptr && re2::RE2::PartialMatch(text, *patterns.category, &category))
    out.category = CategoryIn({category.data(), category.size()});
  return out;
}

absl::StatusOr<std::unique_ptr<re2::RE2>> Compiled(const char* what, const std::string& regex) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  auto out = std::make_unique<re2::RE2>(re2::StringPiece(regex.data(), regex.size()), options);
  if (!out->ok()) return base::InvalidArgument(fmt::format("'{}' does not compile: {}", what, out->error()));
  return out;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const GuardPatterns>> CompileGuardPatterns(const std::string& hit, const std::string& pass,
                                                                          const std::string& category) {
  auto out = std::make_shared<GuardPatterns>();
  TG_ASSIGN(out->hit, Compiled("hit_regex", hit));
  TG_ASSIGN(out->pass, Compiled("pass_regex", pass));
  if (!category.empty()) {
    TG_ASSIGN(out->category, Compiled("category_regex", category));
    if (out->category->NumberOfCapturingGroups() != 1)
      return base::InvalidArgument("'category_regex' has one group, which is the category");
  }
  return std::shared_ptr<const GuardPatterns>(std::move(out));
}

std::string GuardGrammar(const GuardModel& guard) {
  if (!guard.force) return "";
  std::string out = "root ::= ";
  for (const Words* words : {&guard.hit_words, &guard.pass_words}) {
    for (const std::string& word : *words) out += fmt::format("{}\"{}\"", out.ends_with("= ") ? "" : " | ", word);
  }
  return out + "\n";
}

absl::StatusOr<GuardReading> ReadGuardReply(const GuardModel& guard, const GuardReply& reply) {
  switch (guard.format) {
    case Format::kLlamaGuard: return ReadLlamaGuard(reply);
    case Format::kShieldGemma: return ReadWords(reply, {"yes"}, {"no"});
    case Format::kGraniteGuardian: return ReadGranite(reply);
    case Format::kGptOssSafeguard: return ReadSafeguard(reply);
    default: return ReadOwn(guard, reply);
  }
}

}  // namespace tollgate::policy
