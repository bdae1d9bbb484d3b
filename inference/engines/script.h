// A script: what the scripted engine answers to a prompt. Directives stand at the start of a line of the last user turn, and are obeyed in
// order; with none, the reply is the turn's own text. One output token is one word with the white space after it.
//
//   !say TEXT      TEXT. In it: \n line break, \t tab, \\ backslash, \| ends a token inside of a word.
//   !think TEXT    <think>TEXT</think>, as !say would.
//   !call NAME JSON  A call of a tool, in Hermes' words, as !say would: a \\u0034 in a string of it is \u0034 to its reader.
//   !tokens N      N tokens "word ".
//   !pace_ms N     From here on, N milliseconds between tokens, by the pool's clock.
//   !alt TEXT      From here on, TEXT is one more alternative to each token, for who asks for the likeliest. In it: as in !say; \| is
//                  nothing.
//   !fail          The engine fails on this sequence.
//   !away MODEL    If it is the engine of this model: it fails as one that cannot be reached. Else nothing.
//   !abort         The process aborts, where ScriptMayAbort (a test's program); else as !fail.
//   !hang          No more tokens, for ever.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::inference {

struct ScriptEvent {
  enum Kind { kToken, kFail, kAway, kAbort, kHang, kEnd } kind = kEnd;
  std::string_view bytes;             // Of the script; valid as long as it.
  std::chrono::milliseconds pace{0};  // Since the token before.
  bool ends = false;                  // Nothing comes after this token.
  std::span<const std::string> alternatives{};
};

class Script {
 public:
  // Lines that are no sound directive count as text; of N, at most 10,000,000.
  // `model`: whose engine reads it.
  static Script Parse(std::string_view user_text, std::string_view model = {});

  ScriptEvent Next();
  // Goes to behind the first token that holds </think>: for a prompt that ends in a thought that was closed.
  void SkipThought();
  void Restart() {
    at_ = 0;
    given_ = 0;
  }

 private:
  struct Manner {
    std::chrono::milliseconds pace{0};
    std::vector<std::string> alternatives;
  };
  struct Step {
    ScriptEvent::Kind kind;
    std::string text;  // The token.
    std::int64_t times = 1;
    std::size_t manner = 0;  // Of manners_.
  };

  void Add(ScriptEvent::Kind kind, std::string_view text = {}, std::int64_t times = 1);
  void AddWords(std::string_view text);
  void AddSaid(std::string_view text);

  std::vector<Step> steps_;
  std::vector<Manner> manners_{1};  // The last one is in force while the text is read.
  std::size_t at_ = 0;              // The step that is under way,
  std::int64_t given_ = 0;          // and how often it was given.
};

}  // namespace tollgate::inference
