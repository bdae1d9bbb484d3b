// Resolver: from hits to decisions. What every rule found comes in, in order; what is to be replaced, and where a block begins, comes out.
//
// - A hit that lies inside a hit of an allow rule, or of its own rule's `unless`, is dropped; inside one that stands in the plain form
//   alone, only if it does, too: what looks like an exception is none. Quotation marks of print make no such difference (disguise.cpp).
// - Redactions that overlap become one edit, with the replacement of the one that begins first (then: of the first in the policy).
// - Where `stop_at_block`, the first block ends everything: hits that begin later do not count.
// Takes batches, so that a stream can judge what is decided; the batches' union gives the same as all at once. One pass, one thread.
// Cost: linear in the hits, however many of them are of exceptions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/program.h"
#include "policy/verdict.h"

namespace tollgate::policy {

// What exceptions cover, told and asked in the order of where hits begin. It keeps how far they reach, not the hits.
class Exceptions {
 public:
  explicit Exceptions(std::span<const Rule> rules) : rules_(rules) {}
  // A hit, of any rule. Before it is asked about a hit it must have been told all that begin no later.
  void Note(const Hit& hit);
  // The hit lies wholly in one of a rule, or of its own `unless`, that excuses it.
  bool Cover(const Hit& hit) const;
  // What it keeps, and so the most that a question can cost: one for each rule with exceptions, and one for those of all.
  std::size_t size() const { return reached_.size(); }

 private:
  struct Reached {
    std::int64_t written = 0;  // By hits that excuse what stands as written,
    std::int64_t plain = 0;    // … and by those that excuse what stands in the plain form alone.
  };
  bool Covers(std::uint32_t rule, const Hit& hit) const;

  std::span<const Rule> rules_;
  std::map<std::uint32_t, Reached> reached_;  // By the rule that they are exceptions of.
};

// Counts hits by rule and makes the verdict.
class Tally {
 public:
  explicit Tally(std::span<const Rule> rules) : rules_(rules), counts_(rules.size()), spans_(rules.size()) {}
  // One hit; more than one span if it lies in several texts, none if in no place. `score`: what was measured of it, if something was.
  void Add(std::uint32_t rule, std::span<const Span> spans, const std::optional<Score>& score = std::nullopt);
  Verdict ToVerdict() const;

 private:
  std::span<const Rule> rules_;
  std::vector<std::int64_t> counts_;
  std::vector<std::vector<Span>> spans_;
  std::map<std::size_t, Score> scores_;  // By rule; few have one.
};

// The hit's entropy, where its pattern asks for some.
std::optional<Score> ScoreOf(const Program& program, const Hit& hit);

// Where a text that is judged lies, for the spans of the verdict, and which bytes of what is judged are its own: more than one text may be
// judged together.
struct TextPlace {
  std::uint32_t message = 0;
  const char* field = "text";
  std::int64_t begin = 0, end = INT64_MAX;
};

class Resolver {
 public:
  struct Edit {
    std::int64_t begin = 0, end = 0;
    std::uint32_t source = 0;
    bool alone = true;  // No other rule hit any of it, and it is not encoded.
  };
  // `places`: ascending, without gaps. `remembers`: VerdictBefore is asked for; it keeps what it counts.
  Resolver(const Program& program, Tally& tally, bool stop_at_block, std::vector<TextPlace> places = {TextPlace{}}, bool remembers = false);
  // What goes on from here by itself, and counts nothing. Of the edits it has the last, which may grow.
  Resolver Fork() const;

  // `hits`: all that begin before some place and were not given before, ordered by Program::HitBefore.
  void Judge(std::span<const Hit> hits);

  const std::vector<Edit>& edits() const { return edits_; }  // Ascending, disjoint. The last may grow while batches come.
  // Of the hits so far those that begin before it.
  Verdict VerdictBefore(std::int64_t begin) const;
  std::size_t counted() const { return all_counted_.size(); }  // What it keeps for that.
  bool blocked() const { return blocked_; }
  std::int64_t block_begin() const { return block_begin_; }
  std::uint32_t block_rule() const { return block_rule_; }
  const Exceptions& exceptions() const { return exceptions_; }

 private:
  Resolver(const Program& program, Tally* tally, bool stop_at_block, std::vector<TextPlace> places, bool remembers);
  void Redact(const Hit& hit);
  void Count(const Hit& hit, Tally& tally) const;

  const Program& program_;
  Tally* const tally_;  // Null: counts nothing.
  const bool stop_at_block_, remembers_;
  const std::vector<TextPlace> places_;
  Exceptions exceptions_;
  std::vector<std::uint8_t> exempt_;  // By source: the views in which its last hit was dropped, and so is what continues it.
  Hit counted_;                       // The last one: other forms of the text may show it again.
  std::vector<Hit> all_counted_;      // If it remembers.
  std::vector<Edit> edits_;
  bool blocked_ = false;
  std::int64_t block_begin_ = 0;
  std::uint32_t block_rule_ = 0;
};

}  // namespace tollgate::policy
