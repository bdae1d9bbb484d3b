// A trie over byte classes (one for each byte that occurs in some word, one for all others), then one breadth-first pass that fills the
// missing edges from the failure state's row: a full automaton. In the end an edge says where the next row begins and whether a word ends
// there, so that a byte costs one load of its class, one of its edge, and no multiplication.
//
// Where blanks run, all of them are of one class, and a state that a blank leads to keeps itself on another one. No word goes on there with
// a second blank, and all states that are suffixes of it are such states too, so that this is the automaton of the text whose runs of
// blanks are single ones. It costs nothing.
//
// Each step waits for the one before, and for memory where words are many. A longer text is therefore read at four places at once: whatever
// was read before, the state is known as soon as the longest word's length has been read, so that each place is begun that much earlier.
//
// Tested by tests/policy/aho_corasick_test.cpp.
#include "policy/aho_corasick.h"

#include <algorithm>

namespace tollgate::policy {
absl::StatusOr<AhoCorasick> AhoCorasick::Build(const std::vector<std::string>& words, bool blanks_run, std::size_t bytes_max) {
  AhoCorasick out;
  for (const std::string& word : words) {
    for (const char c : word) {
      std::uint16_t& its_class = out.class_[static_cast<std::uint8_t>(c)];
      if (its_class == 0) its_class = static_cast<std::uint16_t>(out.classes_++);
    }
  }
  for (int c = 'A'; c <= 'Z'; ++c) out.class_[static_cast<std::size_t>(c)] = out.class_[static_cast<std::size_t>(c) + 32];
  if (blanks_run) {
    for (const char c : {'\t', '\n', '\v', '\f', '\r'}) out.class_[static_cast<std::uint8_t>(c)] = out.class_[' '];
  }

  const std::size_t k = out.classes_;
  std::vector<char> blank;
  const auto add_state = [&](std::uint32_t depth) {
    out.next_.resize(out.next_.size() + k, kNone);
    out.depth_.push_back(depth);
    out.first_word_.push_back(kNone);
    return static_cast<State>(out.depth_.size() - 1);
  };
  add_state(0);
  blank.push_back(0);
  out.next_word_.assign(words.size(), kNone);
  for (std::uint32_t index = 0; index < words.size(); ++index) {
    State at = kStart;
    for (const char c : words[index]) {
      const std::size_t edge = at * k + out.class_[static_cast<std::uint8_t>(c)];
      if (out.next_[edge] == kNone) {
        if (BytesOf(out.next_.size() + k, out.depth_.size() + 1) > std::min(bytes_max, kBytesMax))
          return base::InvalidArgument("the keyword lists are too large together; shorten them");
        const State fresh = add_state(out.depth_[at] + 1);
        out.next_[edge] = fresh;
        blank.push_back(c == ' ');
      }
      at = out.next_[edge];
    }
    out.next_word_[index] = out.first_word_[at];
    out.first_word_[at] = index;
  }

  out.blanks_run_ = blanks_run && out.class_[' '] != 0;
  out.longest_ = *std::max_element(out.depth_.begin(), out.depth_.end());
  out.Link();
  if (blanks_run) out.LetBlanksRun(blank);
  out.Flatten();
  return out;
}

// How many bytes before `to` tell the state there; to - at + 1 if those from `at` on do not.
std::size_t AhoCorasick::BytesThatTell(std::string_view text, std::size_t at, std::size_t to) const {
  const auto is_blank = [&](std::size_t i) { return class_[static_cast<std::uint8_t>(text[i])] == class_[' ']; };
  std::size_t from = to;
  for (std::size_t left = longest_; left > 0; --left) {
    while (blanks_run_ && from > at + 1 && is_blank(from - 1) && is_blank(from - 2)) --from;
    if (from == at) return to - at + 1;
    --from;
  }
  return to - from;
}

std::size_t AhoCorasick::ReadOn(std::string_view text, std::size_t at, State& state, Ends& ends) const {
  const auto read = [&](std::size_t lane, State& its, std::size_t offset) {
    its = Next(its, text[offset]);
    if (EndsWord(its)) ends.found[lane][ends.counts[lane]++] = {offset + 1, its};
  };
  ends.counts = {};
  const std::size_t bytes = std::min(kLaneBytes, (text.size() - at) / kLanes);
  std::size_t before = longest_;
  for (std::size_t lane = 1; lane < kLanes; ++lane)
    before = std::max(before, BytesThatTell(text, at + (lane - 1) * bytes, at + lane * bytes));
  if (bytes == 0 || 2 * before > bytes) {
    const std::size_t to = std::min(text.size(), at + kLaneBytes);
    for (; at < to; ++at) read(0, state, at);
    return to;
  }
  State second = kStart, third = kStart, fourth = kStart;
  for (std::size_t i = at + bytes - before; i < at + bytes; ++i) {
    second = Next(second, text[i]);
    third = Next(third, text[i + bytes]);
    fourth = Next(fourth, text[i + 2 * bytes]);
  }
  State first = state;
  for (std::size_t i = at; i < at + bytes; ++i) {
    const State one = Next(first, text[i]), two = Next(second, text[i + bytes]);
    const State three = Next(third, text[i + 2 * bytes]), four = Next(fourth, text[i + 3 * bytes]);
    if (EndsWord(one | two | three | four)) {
      read(0, first, i);
      read(1, second, i + bytes);
      read(2, third, i + 2 * bytes);
      read(3, fourth, i + 3 * bytes);
    }
    first = one, second = two, third = three, fourth = four;
  }
  state = fourth;
  return at + kLanes * bytes;
}

void AhoCorasick::Link() {
  const std::size_t k = classes_, states = depth_.size();
  ending_.assign(states, kNone);
  shorter_.assign(states, kNone);
  std::vector<State> failure(states, kStart), queue;
  queue.reserve(states);
  for (std::size_t c = 0; c < k; ++c) {
    State& to = next_[c];
    if (to == kNone)
      to = kStart;
    else
      queue.push_back(to);
  }
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const State at = queue[head], fail = failure[at];
    shorter_[at] = ending_[fail];
    ending_[at] = first_word_[at] != kNone ? at : ending_[fail];
    for (std::size_t c = 0; c < k; ++c) {
      State& to = next_[at * k + c];
      const State through = next_[fail * k + c];
      if (to == kNone) {
        to = through;
      } else {
        failure[to] = through;
        queue.push_back(to);
      }
    }
  }
}

void AhoCorasick::LetBlanksRun(const std::vector<char>& blank) {
  for (State at = 0; at < blank.size(); ++at) {
    if (blank[at] != 0) next_[at * classes_ + class_[' ']] = at;
  }
}

void AhoCorasick::Flatten() {
  for (State& to : next_) {
    const bool ends = ending_[to] != kNone;
    to = static_cast<State>(to * classes_) | (ends ? kEnds : 0);
  }
}

}  // namespace tollgate::policy
