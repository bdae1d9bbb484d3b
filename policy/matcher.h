// Matcher: one compiled RE2. It has the memory that its automaton needs, so that a search is linear in the text and quick. Inside policy/
// only. Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace re2 {
class RE2;
}

namespace tollgate::policy {

class Budget;

class Matcher {
 public:
  // kSuffix: the pattern ends with \z, so that it is only ever run backwards. kSuffixOfAll: the same for all patterns of a scope, which is
  // run for each token of each reply.
  enum class Use : std::uint8_t { kSearch, kSuffix, kSuffixOfAll };

  // INVALID_ARGUMENT: it is too large to be run by an automaton, or for `budget`, where there is one.
  static absl::StatusOr<std::shared_ptr<const Matcher>> Compile(const std::string& regex, Use use, Budget* budget);
  ~Matcher();

  // The leftmost, longest match that begins at or after `from` (`there`: at it) and ends at or before `to`; what surrounds it is seen.
  bool Match(std::string_view text, std::size_t from, std::size_t to, std::size_t& begin, std::size_t& end, bool there = false) const;

  // For tests: of those that are compiled from now on RE2 tells on stderr, "DFA out of memory", where a search has to do without an
  // automaton.
  static void TellFailures(bool tell);

  std::int64_t instructions() const { return instructions_; }  // Of its larger direction.

 private:
  explicit Matcher(std::unique_ptr<const re2::RE2> re);
  const std::unique_ptr<const re2::RE2> re_;
  std::int64_t instructions_ = 0;
};

}  // namespace tollgate::policy
