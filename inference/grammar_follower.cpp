// How it works. A place in a grammar is an element and what is to come behind it: a node, which stands for a whole stack and is kept once,
// however many readings lead to it. A state is the set of nodes that can take the next character, with what is known of a character that is
// not whole. Where a state goes with a byte is computed once and remembered, so that following readings costs their number and never
// their product, and a pass over a vocabulary is mostly looking up.
//
// What is computed is counted, and ends by the count: the same for the same grammar and output, on any machine. What is remembered is
// dropped behind a token once it is much, so that a sequence which waits for its reader holds little; the two states that are needed go
// along.
//
// Tested by tests/inference/grammar_follower_test.cpp.
#include "inference/grammar_follower.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace tollgate::inference {
namespace {

constexpr std::size_t kFixed = 5;         // Of a key: remain, low, high, any, may_end; then its nodes.
constexpr std::int64_t kStateWork = 256;  // What a state costs beside its nodes: it has a kilobyte, and one call may make 8,000.

// The first range that does not end before the point.
auto At(const GrammarRules::Ranges& ranges, std::uint32_t point) {
  return std::lower_bound(ranges.begin(), ranges.end(), point, [](const auto& range, std::uint32_t p) { return range.second < p; });
}

bool Overlaps(const GrammarRules::Ranges& ranges, std::uint32_t low, std::uint32_t high) {
  const auto range = At(ranges, low);
  return range != ranges.end() && range->first <= high;
}

bool Covers(const GrammarRules::Ranges& ranges, std::uint32_t low, std::uint32_t high) {
  const auto range = At(ranges, low);
  return range != ranges.end() && range->first <= low && range->second >= high;
}

}  // namespace

std::size_t GrammarFollower::KeyHash::operator()(const Key& key) const {
  std::uint64_t hash = 14695981039346656037U;
  for (const std::uint32_t word : key) hash = (hash ^ word) * 1099511628211U;
  return static_cast<std::size_t>(hash ^ (hash >> 32));
}

GrammarFollower::GrammarFollower(GrammarRules rules) : GrammarFollower(std::make_shared<const GrammarRules>(std::move(rules)), 1) {}

GrammarFollower::GrammarFollower(std::shared_ptr<const GrammarRules> rules, int share)
    : rules_(std::move(rules)), share_(static_cast<std::size_t>(share)) {
  for (const std::uint32_t begin : rules_->rules[rules_->root]) {
    const bool empty = rules_->elements[begin].kind == GrammarRules::Element::kEnd;
    todo_.push_back(empty ? kNone : NodeOf(begin, kNone));
  }
  start_ = now_ = Close();
  nodes_kept_ = kNodesKept / share_;
  words_kept_ = kWordsKept / share_;
}

std::unique_ptr<GrammarFollower> GrammarFollower::Again() const {
  return std::make_unique<GrammarFollower>(rules_, static_cast<int>(share_));
}

absl::Status GrammarFollower::Over() const {
  if (left_ >= 0) return absl::OkStatus();
  return base::ResourceExhausted("the grammar has too many readings, or is nested too deep: make it less ambiguous");
}

absl::StatusOr<bool> GrammarFollower::Takes(std::string_view bytes) {
  if (left_ >= 0) left_ = std::min(left_ + kWorkEach, kWorkMax);
  const std::int64_t before = left_;
  const bool takes = Walk(now_, bytes) != kDead;
  spent_ += before - left_;
  TG_RETURN_IF_ERROR(Over());
  return takes && !bytes.empty();
}

absl::Status GrammarFollower::Accept(std::string_view bytes) {
  const std::int64_t before = left_;
  const std::uint32_t next = Walk(now_, bytes);
  if (left_ >= 0 && next != kDead) {
    now_ = next;
    if (tables_.states.size() > kStatesKept / share_ || tables_.nodes.size() > nodes_kept_ || tables_.words > words_kept_) Compact();
  }
  spent_ += before - left_;
  TG_RETURN_IF_ERROR(Over());
  if (next == kDead) return base::Internal("the grammar was given what it does not take");
  return absl::OkStatus();
}

bool GrammarFollower::MayEnd() const { return now_ != kDead && (*tables_.states[now_].key)[4] != 0; }

// `path_` holds the states behind each byte of the token before, as far as it got.
absl::Status GrammarFollower::Mark(const TokenOrder& order, std::vector<std::uint8_t>& may) {
  if (now_ == kDead) return Over();
  path_.assign(1, now_);
  for (const TokenOrder::Item& item : order.items()) {
    if (item.shared >= path_.size()) continue;
    path_.resize(item.shared + 1);
    std::uint32_t state = path_.back();
    for (std::uint32_t i = item.from; i < item.to && state != kDead; ++i) {
      state = Step(state, static_cast<std::uint8_t>(order.rest()[i]));
      if (state != kDead) path_.push_back(state);
    }
    if (left_ < 0) break;
    if (state != kDead) may[static_cast<std::size_t>(item.token)] = 1;
  }
  return Over();
}

void GrammarFollower::Restart() {
  now_ = start_;
  if (left_ >= 0) left_ = 8 * kWorkMax;
}

std::uint32_t GrammarFollower::Walk(std::uint32_t state, std::string_view bytes) {
  for (const char byte : bytes) {
    if (state == kDead) break;
    state = Step(state, static_cast<std::uint8_t>(byte));
  }
  return state;
}

std::uint32_t GrammarFollower::Step(std::uint32_t state, std::uint8_t byte) {
  const std::uint32_t known = tables_.states[state].next[byte];
  if (known != kNone) return known;
  if (left_ < 0) return kDead;
  const std::uint32_t next = Next(state, byte);
  if (left_ < 0) return kDead;  // It may be half of it.
  tables_.states[state].next[byte] = next;
  return next;
}

std::uint32_t GrammarFollower::Next(std::uint32_t state, std::uint8_t byte) {
  const Key& key = *tables_.states[state].key;
  Partial partial;
  if (!Read(key, byte, partial)) return kDead;
  kept_.clear();
  bool any = true;
  for (std::size_t i = kFixed; i < key.size(); ++i) {
    const GrammarRules::Ranges& set = rules_->sets[rules_->elements[tables_.nodes[key[i]].element].index];
    left_ -= std::bit_width(set.size() / 8);  // Large ones take longer to search.
    if (!partial.any && !Overlaps(set, partial.low, partial.high)) continue;
    any = any && (partial.any || Covers(set, partial.low, partial.high));
    kept_.push_back(key[i]);
  }
  left_ -= static_cast<std::int64_t>(key.size());
  if (kept_.empty()) return kDead;
  if (partial.remain > 0) {
    const bool every = partial.any || partial.high - partial.low == (1U << (6 * partial.remain)) - 1;  // No overlong one, none too great.
    if (any && every) partial = {partial.remain, 0, 0, true};
    return StateOf(partial, false);
  }
  todo_.clear();
  for (const std::uint32_t node : kept_) todo_.push_back(After(node));
  return Close();
}

// What the byte makes of the character that the key has begun, or begins. False: no UTF-8.
bool GrammarFollower::Read(const Key& key, std::uint8_t byte, Partial& partial) const {
  if (const std::uint32_t remain = key[0]; remain > 0) {
    if ((byte & 0xC0) != 0x80) return false;
    partial = {remain - 1, 0, 0, key[3] != 0};
    if (partial.any) return true;
    const std::uint32_t shift = 6 * partial.remain;
    const std::uint32_t first = (key[2] >> (shift + 6) << (shift + 6)) | (static_cast<std::uint32_t>(byte & 0x3F) << shift);
    partial.low = std::max(key[1], first);
    partial.high = std::min(key[2], first | ((1U << shift) - 1));
    return partial.low <= partial.high;
  }
  if (byte < 0x80) {
    partial = {0, byte, byte, false};
    return true;
  }
  if (byte < 0xC2 || byte > 0xF4) return false;
  const std::uint32_t remain = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  constexpr std::uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  const std::uint32_t shift = 6 * remain;
  const std::uint32_t first = (byte & (0x3FU >> remain)) << shift;
  partial = {remain, std::max(first, kLeast[remain]), std::min(first | ((1U << shift) - 1), 0x10FFFFU), false};
  return true;
}

std::uint32_t GrammarFollower::NodeOf(std::uint32_t element, std::uint32_t parent) {
  --left_;
  const auto [at, is_new] =
      tables_.node_ids.try_emplace((static_cast<std::uint64_t>(element) << 32) | parent, static_cast<std::uint32_t>(tables_.nodes.size()));
  if (is_new) {
    const std::uint32_t depth = parent == kNone ? 1 : tables_.nodes[parent].depth + 1;
    tables_.nodes.push_back({element, parent, depth});
    tables_.seen.push_back(0);
    if (depth > kDepthMax) left_ = -1;
  }
  return at->second;
}

// The place behind the node's element. What ends a rule leaves nothing behind: so a repetition does not grow.
std::uint32_t GrammarFollower::After(std::uint32_t node) {
  const Node at = tables_.nodes[node];
  return rules_->elements[at.element + 1].kind == GrammarRules::Element::kEnd ? at.parent : NodeOf(at.element + 1, at.parent);
}

// The state of all that `todo_` leads to without a character.
std::uint32_t GrammarFollower::Close() {
  ++round_;
  kept_.clear();
  bool may_end = false;
  while (!todo_.empty() && left_ >= 0) {
    const std::uint32_t node = todo_.back();
    todo_.pop_back();
    --left_;
    may_end = may_end || node == kNone;
    if (node == kNone || tables_.seen[node] == round_) continue;
    tables_.seen[node] = round_;
    const GrammarRules::Element element = rules_->elements[tables_.nodes[node].element];
    if (element.kind == GrammarRules::Element::kSet) {
      kept_.push_back(node);
      continue;
    }
    const std::uint32_t after = After(node);
    for (const std::uint32_t begin : rules_->rules[element.index]) {
      const bool empty = rules_->elements[begin].kind == GrammarRules::Element::kEnd;
      todo_.push_back(empty ? after : NodeOf(begin, after));
    }
  }
  std::sort(kept_.begin(), kept_.end());
  return kept_.empty() && !may_end ? kDead : StateOf({}, may_end);
}

// Of the nodes in `kept_`.
std::uint32_t GrammarFollower::StateOf(const Partial& partial, bool may_end) {
  Key key = {partial.remain, partial.low, partial.high, partial.any ? 1U : 0U, may_end ? 1U : 0U};
  key.insert(key.end(), kept_.begin(), kept_.end());
  const std::size_t words = key.size();
  left_ -= static_cast<std::int64_t>(words);
  const auto [at, is_new] = tables_.state_ids.try_emplace(std::move(key), static_cast<std::uint32_t>(tables_.states.size()));
  if (!is_new) return at->second;
  left_ -= kStateWork;
  tables_.words += words;
  tables_.states.push_back({&at->first, {}});
  tables_.states.back().next.fill(kNone);
  return at->second;
}

// What is needed may itself be much. Twice that must come before it is carried again.
void GrammarFollower::Compact() {
  const Tables old = std::exchange(tables_, {});
  round_ = 0;
  start_ = Carry(old, start_);
  now_ = Carry(old, now_);
  nodes_kept_ = std::max(kNodesKept / share_, 2 * tables_.nodes.size());
  words_kept_ = std::max(kWordsKept / share_, 2 * tables_.words);
}

// The state, and what its nodes stand for, from tables that are given up.
std::uint32_t GrammarFollower::Carry(const Tables& old, std::uint32_t state) {
  if (state == kDead) return kDead;
  const Key& key = *old.states[state].key;
  std::unordered_map<std::uint32_t, std::uint32_t> carried = {{kNone, kNone}};
  std::vector<std::uint32_t> chain;
  kept_.clear();
  for (std::size_t i = kFixed; i < key.size(); ++i) {
    std::uint32_t node = key[i];
    for (; !carried.contains(node); node = old.nodes[node].parent) chain.push_back(node);
    std::uint32_t now = carried.at(node);
    for (; !chain.empty(); chain.pop_back()) {
      now = NodeOf(old.nodes[chain.back()].element, now);
      carried.emplace(chain.back(), now);
    }
    kept_.push_back(now);
  }
  std::sort(kept_.begin(), kept_.end());
  return StateOf({key[0], key[1], key[2], key[3] != 0}, key[4] != 0);
}

}  // namespace tollgate::inference
