// Keyword lists: one automaton for all lists of a group of rules, and the state of one pass over a text.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/status.h"
#include "policy/aho_corasick.h"
#include "policy/budget.h"
#include "policy/effort.h"
#include "policy/pattern.h"

namespace tollgate::policy {

// One keyword of one list. White space between its words stands for any run of up to kBlanksMax spaces, tabs and line ends.
struct Keyword {
  std::string text;
  std::uint32_t source = 0;  // Of its hits.
  bool whole_word = true, ignore_case = true;
  bool operator==(const Keyword&) const = default;
};

// Every run of white space becomes one space.
std::string WithSingleBlanks(std::string_view text);

// Immutable once built.
class KeywordIndex {
 public:
  static constexpr std::size_t kBlanksMax = 8;

  // Equal keywords become one. INVALID_ARGUMENT if it would take more than `bytes_max`.
  static absl::StatusOr<KeywordIndex> Build(std::vector<Keyword> keywords, std::size_t bytes_max = AhoCorasick::kBytesMax);
  bool empty() const { return keywords_.empty(); }
  std::size_t bytes() const;
  static std::int64_t HoldMax(std::string_view keyword);  // Bytes of the longest text that may become it.

 private:
  friend class KeywordScan;
  AhoCorasick automaton_;
  std::vector<Keyword> keywords_;
};

// Those of the programs that are built together: equal lists, which rules with different `where` share, have one.
class KeywordIndexes {
 public:
  // INVALID_ARGUMENT if it is too large for what is left of `budget`.
  absl::StatusOr<std::shared_ptr<const KeywordIndex>> Of(std::vector<Keyword> keywords, Budget& budget);

 private:
  std::map<base::Digest, std::shared_ptr<const KeywordIndex>> made_;  // By the keywords.
};

// Every whole occurrence is a hit, except those inside another of the same list. One pass, one thread.
class KeywordScan {
 public:
  // Hits of inactive sources are left out. `sources`: what those of the keywords are in the program; empty: they are that themselves. All
  // of it must live as long, `effort` too, where there is one.
  KeywordScan(const KeywordIndex& index, const std::vector<char>& active_sources, std::span<const std::uint32_t> sources = {},
              Effort* effort = nullptr)
      : index_(index), active_(active_sources), sources_(sources), effort_(effort) {}

  // All hits of a complete text, by itself; not in order.
  void FindAll(std::string_view text, std::vector<Hit>& out);

  // Reads the window's bytes from absolute offset `from` to its end; each byte once, whole code points.
  void Read(const Pattern::Window& window, std::int64_t from);

  // Adds the hits that begin before `decided` and were not given yet. Those that end with the window count only `at_end`.
  void Take(const Pattern::Window& window, std::int64_t decided, bool at_end, std::vector<Hit>& out);

  // Where the longest suffix that could still become a keyword begins.
  std::int64_t LiveStart(const Pattern::Window& window) const;

 private:
  std::uint32_t SourceOf(const Keyword& keyword) const { return sources_.empty() ? keyword.source : sources_[keyword.source]; }

  const KeywordIndex& index_;
  const std::vector<char>& active_;
  const std::span<const std::uint32_t> sources_;
  Effort* const effort_;
  AhoCorasick::State state_ = AhoCorasick::kStart;
  struct Found {
    std::int64_t begin, end;
    std::uint32_t keyword;
  };
  std::vector<Found> found_;
  std::vector<std::int64_t> covered_;  // By the keywords' source: where its hits so far end.
};

}  // namespace tollgate::policy
