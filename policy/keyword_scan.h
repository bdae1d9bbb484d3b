// Keyword lists: one automaton for all lists of a group of rules, and the state of one pass over a text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/aho_corasick.h"
#include "policy/pattern.h"

namespace tollgate::policy {

// One keyword of one list. White space between its words stands for any run of up to kBlanksMax spaces, tabs and line ends.
struct Keyword {
  std::string text;
  std::uint32_t source = 0;  // Of its hits.
  bool whole_word = true, ignore_case = true;
};

// Every run of white space becomes one space.
std::string WithSingleBlanks(std::string_view text);

// Immutable once built.
class KeywordIndex {
 public:
  static constexpr std::size_t kBlanksMax = 8;

  static absl::StatusOr<KeywordIndex> Build(std::vector<Keyword> keywords);
  bool empty() const { return keywords_.empty(); }
  static std::int64_t HoldMax(std::string_view keyword);  // Bytes of the longest text that may become it.

 private:
  friend class KeywordScan;
  AhoCorasick automaton_;
  std::vector<Keyword> keywords_;
};

// Every whole occurrence is a hit, except those inside another of the same list. One pass, one thread.
class KeywordScan {
 public:
  // Hits of inactive sources are left out. `index` must live as long.
  KeywordScan(const KeywordIndex& index, const std::vector<char>& active_sources) : index_(index), active_(active_sources) {}

  // Reads the window's bytes from absolute offset `from` to its end; each byte once, whole code points.
  void Read(const Pattern::Window& window, std::int64_t from);

  // Adds the hits that begin before `decided` and were not given yet. Those that end with the window count only `at_end`.
  void Take(const Pattern::Window& window, std::int64_t decided, bool at_end, std::vector<Hit>& out);

  // Where the longest suffix that could still become a keyword begins.
  std::int64_t LiveStart(const Pattern::Window& window) const;

 private:
  const KeywordIndex& index_;
  const std::vector<char>& active_;
  AhoCorasick::State state_ = AhoCorasick::kStart;
  struct Found {
    std::int64_t begin, end;
    std::uint32_t keyword;
  };
  std::vector<Found> found_;
  std::vector<std::int64_t> covered_;  // By source: where its hits so far end.
};

}  // namespace tollgate::policy
