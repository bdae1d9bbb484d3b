// The demands of a pattern are asked one by one, in the order in which the matcher asks them, on the matches of its regex alone. The
// matcher itself stays as it is: it needs only yes or no, quickly.
//
// Tested by tests/policy/explain_test.cpp.
#include "policy/evidence.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include "policy/hosts.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr int kPlacesMax = 16;
constexpr std::size_t kWordsNamed = 4;

std::string OnlyLettersAndDigits(std::string_view match) {
  std::string out;
  for (const char c : match) {
    if (IsDigit(c) || IsLetter(c)) out += Upper(c);
  }
  return out;
}

std::string Few(const std::vector<std::string>& words) {
  const std::size_t n = std::min(words.size(), kWordsNamed);
  return fmt::format("{}{}", fmt::join(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(n), ", "), words.size() > n ? " …" : "");
}

// The first demand that is not met; empty if all are. Cuts `end` to what a validator accepts.
std::string Missing(const Pattern& pattern, std::string_view text, std::size_t begin, std::size_t& end) {
  const PatternSpec& spec = pattern.spec();
  if (spec.whole && ContinuesSomething(text, begin, ContextWords(spec.names))) return "it is the tail of something longer";
  if (spec.validator != nullptr) {
    const std::size_t accepted = spec.validator(text, begin, end);
    if (accepted == 0) return "its structure or check digits are wrong";
    end = accepted;
  }
  if (spec.hosts != nullptr) {
    std::size_t after = 0;
    const std::size_t accepted = spec.hosts->Accept(text, begin, end, after);
    if (accepted == 0) return "its host is not one that the rule's list means";
    end = accepted;
  }
  const std::string_view match = text.substr(begin, end - begin);
  if (spec.check != nullptr && !spec.check(OnlyLettersAndDigits(match))) return "its structure or check digits are wrong";
  double bits = 0;
  if (spec.bits_min > 0 && !pattern.IsRandom(match, bits)) {
    if (HoldsPlaceholder(match)) return "it only stands for a secret: a placeholder";
    return fmt::format("it looks too regular for a secret: {:.1f} bits a character, at least {:.1f} are needed", bits, spec.bits_min);
  }
  if (!spec.context.empty() && !ContextWords(spec.context).StandBefore(text, begin))
    return fmt::format("none of the words that name it stands within {} bytes to its left ({})", kLeftContextBytes, Few(spec.context));
  return "";
}

}  // namespace

std::string DetectorOf(const Pattern& pattern) {
  std::string label = pattern.spec().label;
  std::transform(label.begin(), label.end(), label.begin(), Lower);
  return label.empty() ? "regex" : label;
}

std::vector<std::string> EvidenceOf(const Pattern& pattern, std::string_view text, std::size_t begin, std::size_t end) {
  const PatternSpec& spec = pattern.spec();
  std::vector<std::string> out;
  if (spec.validator != nullptr || spec.check != nullptr) out.emplace_back("its structure agrees, and its check digits where it has some");
  if (spec.hosts != nullptr) out.emplace_back("its host is one that the rule's list means");
  for (const std::string& word : spec.context) {
    if (!ContextWords({word}).StandBefore(text, begin)) continue;
    out.push_back(fmt::format("'{}' stands to its left", word));
    break;
  }
  if (spec.cap > 0 && static_cast<std::int64_t>(end - begin) >= spec.cap) out.emplace_back("it reached the rule's cap");
  return out;
}

std::optional<NearMiss> FindNearMiss(const Pattern& pattern, std::string_view text) {
  re2::RE2::Options options;
  options.set_longest_match(true);
  options.set_log_errors(false);
  options.set_never_capture(true);
  const std::string regex = PrintRegex(pattern.spec().regex);
  const re2::RE2 form(re2::StringPiece(regex.data(), regex.size()), options);
  if (!form.ok()) return std::nullopt;
  const re2::StringPiece all(text.data(), text.size());
  std::optional<NearMiss> nameless;
  std::size_t from = 0;
  for (int place = 0; place < kPlacesMax && from < text.size(); ++place) {
    re2::StringPiece found;
    if (!form.Match(all, from, text.size(), re2::RE2::UNANCHORED, &found, 1)) break;
    auto begin = static_cast<std::size_t>(found.data() - text.data());
    std::size_t end = begin + found.size();
    pattern.spec().CutParting(text, begin, end);
    from = std::max(end, from + 1);
    std::string missing = Missing(pattern, text, begin, end);
    if (missing.empty()) continue;
    const bool only_a_word = missing.starts_with("none of the words");
    if (!only_a_word) return NearMiss{begin, end, std::move(missing)};
    if (!nameless) nameless = NearMiss{begin, end, std::move(missing)};
  }
  return nameless;
}

}  // namespace tollgate::policy
