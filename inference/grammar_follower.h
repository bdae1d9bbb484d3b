// GrammarFollower: how far one output has followed a grammar, and what may come next. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "inference/grammar_rules.h"
#include "inference/token_order.h"

namespace tollgate::inference {

// All calls but MayEnd and Restart: RESOURCE_EXHAUSTED where the grammar has so many readings here that they cost more than an output has
// left, which is kWorkMax at first, and kWorkEach more with each Takes; or where the output stands kDepthMax rules deep, some 5,000
// brackets. Then its sequence must end; ask no more.
class GrammarFollower {
 public:
  static constexpr std::int64_t kWorkMax = 1 << 21;   // Steps through the grammar, of some ten nanoseconds,
  static constexpr std::int64_t kWorkEach = 1 << 18;  // at most in one call, and for each token.

  static constexpr std::uint32_t kDepthMax = 10'000;

  explicit GrammarFollower(GrammarRules rules);
  // Behind a token some 8 MB are remembered, where the grammar needs no more there; a `share`th of that.
  GrammarFollower(std::shared_ptr<const GrammarRules> rules, int share);
  std::unique_ptr<GrammarFollower> Again() const;  // For another output of the same rules, which are not copied.
  GrammarFollower(const GrammarFollower&) = delete;
  GrammarFollower& operator=(const GrammarFollower&) = delete;

  absl::StatusOr<bool> Takes(std::string_view bytes);  // Whether they may come next; a character may be cut at their end.
  absl::Status Accept(std::string_view bytes);         // REQUIRES: Takes.
  bool MayEnd() const;                                 // Whether the output may end here.

  std::size_t states() const { return tables_.states.size(); }  // That are remembered.
  std::int64_t spent() const { return spent_; }                 // Steps that Takes and Accept have taken so far.

  // may[token] = 1 for each that may come next. One pass over the vocabulary. REQUIRES: a place for each, all 0.
  absl::Status Mark(const TokenOrder& order, std::vector<std::uint8_t>& may);

  void Restart();  // From the beginning, with eight times kWorkMax until the next Takes.

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  static constexpr std::uint32_t kDead = kNone - 1;
  static constexpr std::size_t kStatesKept = 2048;
  static constexpr std::size_t kNodesKept = 1 << 16;
  static constexpr std::size_t kWordsKept = 1 << 19;
  using Key = std::vector<std::uint32_t>;
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Node {
    std::uint32_t element;
    std::uint32_t parent;
    std::uint32_t depth;
  };
  struct State {
    const Key* key;
    std::array<std::uint32_t, 256> next;
  };
  struct Tables {
    std::vector<Node> nodes;
    std::vector<std::uint32_t> seen;  // In which round each node was.
    std::unordered_map<std::uint64_t, std::uint32_t> node_ids;
    std::deque<State> states;
    std::unordered_map<Key, std::uint32_t, KeyHash> state_ids;
    std::size_t words = 0;  // Of all keys.
  };
  struct Partial {  // What is known of a character that is not whole: the code points it can still become.
    std::uint32_t remain = 0;
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    bool any = false;  // All kept nodes take whatever it becomes.
  };

  absl::Status Over() const;
  std::uint32_t Walk(std::uint32_t state, std::string_view bytes);
  std::uint32_t Step(std::uint32_t state, std::uint8_t byte);
  std::uint32_t Next(std::uint32_t state, std::uint8_t byte);
  bool Read(const Key& key, std::uint8_t byte, Partial& partial) const;
  std::uint32_t NodeOf(std::uint32_t element, std::uint32_t parent);
  std::uint32_t After(std::uint32_t node);
  std::uint32_t Close();
  std::uint32_t StateOf(const Partial& partial, bool may_end);
  void Compact();
  std::uint32_t Carry(const Tables& old, std::uint32_t state);

  const std::shared_ptr<const GrammarRules> rules_;
  const std::size_t share_;
  Tables tables_;
  std::uint32_t start_ = 0;
  std::uint32_t now_ = 0;
  std::int64_t left_ = kWorkMax;
  std::int64_t spent_ = 0;
  std::uint32_t round_ = 0;
  std::size_t nodes_kept_ = kNodesKept;
  std::size_t words_kept_ = kWordsKept;
  std::vector<std::uint32_t> todo_;  // Scratch, as the next two.
  std::vector<std::uint32_t> kept_;
  std::vector<std::uint32_t> path_;
};

}  // namespace tollgate::inference
