// Finds all of many words in one pass: the classic automaton with failure links, flattened to a table.
//
// Bytes are compared in ASCII lower case: give words in lower case; the text may be as it is. Where blanks run, a blank of a word stands
// for any number of blanks (space, tab, line ends and feeds) in the text. Immutable once built; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::policy {

class AhoCorasick {
 public:
  using State = std::uint32_t;  // Where a row of the table begins; the highest bit: a word ends here.
  static constexpr State kStart = 0;

  static constexpr std::size_t kBytesMax = 512u << 20;

  // INVALID_ARGUMENT if it would take more than `bytes_max`. Words are not empty; equal words are allowed. `blanks_run`: blanks of words
  // are single spaces.
  static absl::StatusOr<AhoCorasick> Build(const std::vector<std::string>& words, bool blanks_run = false,
                                           std::size_t bytes_max = kBytesMax);

  std::size_t bytes() const { return BytesOf(next_.size(), depth_.size()) + next_word_.size() * sizeof(std::uint32_t); }
  bool empty() const { return depth_.size() <= 1; }
  State Next(State state, char byte) const { return next_[(state & ~kEnds) + class_[static_cast<std::uint8_t>(byte)]]; }

  // Reads on, and tells where words end, by where they do: fn(offset behind them, state). Of a longer text sooner than byte by byte.
  template <typename Fn>
  void ForEachEnd(std::string_view text, State& state, Fn&& fn) const {
    if (text.size() < kLaneBytes) {
      for (std::size_t i = 0; i < text.size(); ++i) {
        state = Next(state, text[i]);
        if (EndsWord(state)) fn(i + 1, State{state});
      }
      return;
    }
    Ends ends;
    for (std::size_t at = 0; at < text.size();) {
      at = ReadOn(text, at, state, ends);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        for (std::size_t i = 0; i < ends.counts[lane]; ++i) fn(ends.found[lane][i].at, ends.found[lane][i].state);
      }
    }
  }

  // Bytes of the longest beginning of some word that what was read ends with.
  std::uint32_t Depth(State state) const { return depth_[Row(state)]; }

  static bool EndsWord(State state) { return (state & kEnds) != 0; }
  // Calls fn(word's index) for every word that ends here, longest first.
  template <typename Fn>
  void ForEachEnding(State state, Fn&& fn) const {
    for (std::uint32_t at = ending_[Row(state)]; at != kNone; at = shorter_[at]) {
      for (std::uint32_t word = first_word_[at]; word != kNone; word = next_word_[word]) fn(word);
    }
  }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX, kEnds = 1u << 31;
  static constexpr std::size_t kLanes = 4, kLaneBytes = 256;  // Of so many bytes that are read side by side, what each lane found.
  struct Ends {
    struct End {
      std::size_t at;
      State state;
    };
    std::array<std::array<End, kLaneBytes>, kLanes> found;
    std::array<std::size_t, kLanes> counts;
  };
  std::size_t ReadOn(std::string_view text, std::size_t at, State& state, Ends& ends) const;  // Returns to where.
  std::size_t BytesThatTell(std::string_view text, std::size_t at, std::size_t to) const;
  std::size_t Row(State state) const { return (state & ~kEnds) / classes_; }
  static std::size_t BytesOf(std::size_t edges, std::size_t states) { return (edges + 4 * states) * sizeof(std::uint32_t); }
  void Link();                                        // Completes a trie, whose states are numbers of rows.
  void LetBlanksRun(const std::vector<char>& blank);  // By state: a blank leads to it.
  void Flatten();                                     // From numbers to where rows begin.

  std::array<std::uint16_t, 256> class_{};
  std::size_t classes_ = 1, longest_ = 0;  // Bytes of the longest word.
  bool blanks_run_ = false;
  std::vector<State> next_;
  // By row.
  std::vector<std::uint32_t> depth_;
  std::vector<std::uint32_t> ending_;   // The longest suffix state, itself included, at which a word ends.
  std::vector<std::uint32_t> shorter_;  // The next shorter one, for states at which a word ends.
  std::vector<std::uint32_t> first_word_;
  std::vector<std::uint32_t> next_word_;  // By word: another with the same text.
};

}  // namespace tollgate::policy
