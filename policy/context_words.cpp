// Words beside a match, as people and programs write them: with a line's end between them, in snake_case and in camelCase. Names of code
// that only begin with a word are about something else, unless what follows says that they name the number.
//
// Tested by tests/policy/validators_test.cpp and tests/policy/names_test.cpp.
#include <algorithm>

#include "policy/fold.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// Where a word begins that ends at `end`: a blank of it stands for a run of them.
std::size_t BeginOf(std::string_view word, std::string_view text, std::size_t end) {
  std::size_t at = end;
  for (std::size_t i = word.size(); i > 0; --i) {
    --at;
    while (word[i - 1] == ' ' && at > 0 && IsBlank(text[at - 1])) --at;
  }
  return at;
}

bool StandsAt(std::string_view text, std::size_t at, std::string_view word) {
  return text.size() - at >= word.size() && std::equal(word.begin(), word.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                                                       [](char its, char given) { return its == Lower(given); });
}

// Korean particles go on any word: "SSN은". "_1" counts names.
bool WordGoesOn(std::string_view text, std::size_t at) {
  const std::size_t next = std::min(text.find_first_not_of('_', at), text.size());
  if (next == text.size() || (next > at && IsDigit(text[next]))) return false;
  std::size_t length = 0;
  const char32_t c = DecodeAt(text, next, length);
  return IsWordCodePoint(c) && !IsHangul(c);
}

// "ring_buffer_size" is about no ring, "call_id" about no call; "user_ssn", "ssn_1", "ssn_number", "phoneNumber", "passportNo" and
// "phonenumber" are about what they begin with.
bool NamesOther(std::string_view text, std::size_t at) {
  if (!WordGoesOn(text, at)) return false;
  static constexpr std::string_view kOfNumbers[] = {"number", "numbers", "nummer", "numero", "no", "nr", "num"};
  const std::size_t next = text.find_first_not_of('_', at);
  const bool capital = IsCapital(text[next]) && next + 1 < text.size() && IsSmall(text[next + 1]);
  return std::none_of(std::begin(kOfNumbers), std::end(kOfNumbers), [&](std::string_view word) {
    const bool apart = next > at || capital || word.size() > 4;
    return apart && StandsAt(text, next, word) && !WordGoesOn(text, next + word.size());
  });
}

}  // namespace

ContextWords::ContextWords(std::vector<std::string> words) : words_(std::move(words)) {
  auto made = AhoCorasick::Build(words_, /*blanks_run=*/true);
  TG_CHECK(made.ok(), "context words are few and short");
  automaton_ = *std::move(made);
}

bool ContextWords::StandBefore(std::string_view text, std::size_t begin) const {
  if (words_.empty()) return false;
  std::size_t from = begin > kLeftContextBytes ? begin - kLeftContextBytes : 0;
  const bool cut = from > 0;
  while (from < begin && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  const std::string_view left = text.substr(from, begin - from);
  std::string folded;
  const std::string_view view = FoldedView(left, folded);
  AhoCorasick::State state = AhoCorasick::kStart;
  bool found = false;
  for (std::size_t after = 1; after <= view.size() && !found; ++after) {
    state = automaton_.Next(state, view[after - 1]);
    if (!automaton_.EndsWord(state)) continue;
    if (after < left.size() && NamesOther(left, after)) continue;
    automaton_.ForEachEnding(state, [&](std::uint32_t word) {
      const std::size_t at = BeginOf(words_[word], left, after);
      found = found || (at == 0 ? !cut : !IsWordCodePoint(DecodeBefore(left, at)) || BeginsInName(left, at));
    });
  }
  return found;
}

}  // namespace tollgate::policy
