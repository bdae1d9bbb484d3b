// Counted is what grows with the text of a policy. A matcher counts with all that RE2 lets it take: its automaton is built while texts are
// read, so that a small pattern may come to that later.
//
// Tested by tests/policy/budget_test.cpp.
#include "policy/budget.h"

#include <algorithm>

#include <fmt/format.h>

namespace tollgate::policy {
namespace {

// Until so much is taken each matcher may have that much at first.
constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kFewBytes = 256 * kMiB, kFewEach = 8 * kMiB;
constexpr std::int64_t kSomeBytes = 1024 * kMiB, kSomeEach = 2 * kMiB;
constexpr std::int64_t kManyEach = kMiB / 2;
constexpr std::int64_t kCommonBytes = 512 * kMiB;  // Of those of whole scopes, besides.

}  // namespace

absl::Status Budget::Refuse(std::string_view what) {
  over_ = true;
  return base::InvalidArgument(what);
}

absl::Status Budget::KeepGoing() {
  if (cancelled_.ok() && keep_going_) cancelled_ = keep_going_();
  return cancelled_;
}

absl::Status Budget::TakeRules(std::size_t rules) {
  rules_ += rules;
  if (rules_ <= kRulesMax) return absl::OkStatus();
  return Refuse(fmt::format("more than {} rules in force together; merge some", kRulesMax));
}

absl::Status Budget::TakeRead(std::size_t bytes) {
  read_bytes_ += std::min(bytes, kReadBytesMax + 1);
  if (read_bytes_ <= kReadBytesMax) return absl::OkStatus();
  return Refuse("the policies in force together say too much, with what aliases (*name) repeat; write long lists once, under 'lists'");
}

absl::Status Budget::TakeWords(std::size_t words, std::size_t bytes) {
  words_ += words;
  word_bytes_ += bytes;
  if (words_ <= kWordsMax && word_bytes_ <= kWordBytesMax) return absl::OkStatus();
  return Refuse(fmt::format(
      "more than {} keywords and hosts, or {} MiB of them, in the rules in force together, each counted in every rule that names "
      "its list; name a list in fewer rules, with several names in their 'where', or shorten it",
      kWordsMax, kWordBytesMax >> 20));
}

absl::Status Budget::TakeTable(std::size_t bytes) {
  if (bytes > table_left())
    return Refuse(fmt::format(
        "the keyword lists of all policies in force together take more than {} MiB; shorten them, or let rules that share a list "
        "have the same 'where', whole_word and ignore_case, and so one table",
        kTableBytesMax >> 20));
  table_bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status Budget::TakeMatcher(std::int64_t bytes, Matcher::Use use) {
  (use == Matcher::Use::kSuffixOfAll && common_bytes_ + bytes <= kCommonBytes ? common_bytes_ : matcher_bytes_) += bytes;
  if (matcher_bytes_ <= kMatcherBytesMax) return absl::OkStatus();
  return Refuse(
      "the regexes of all policies in force together are too many or too large; join small ones with |, use smaller repeats {n,m} and "
      "classes, and write words as keywords");
}

std::int64_t Budget::MatcherBytes(Matcher::Use use) const {
  if (use == Matcher::Use::kSuffixOfAll && common_bytes_ + kFewEach <= kCommonBytes) return kFewEach;
  return matcher_bytes_ < kFewBytes ? kFewEach : matcher_bytes_ < kSomeBytes ? kSomeEach : kManyEach;
}

}  // namespace tollgate::policy
