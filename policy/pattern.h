// One compiled pattern: finds its matches in a text that is complete, or that still grows.
//
// Matches are leftmost-longest and do not overlap; a validator may shorten or reject them. A text that grows is a window: its first byte
// is the window's, and what was cut off before it is at least kRowBytes + 4 bytes away from where a search begins (or nothing was).
// Immutable; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/columns.h"
#include "policy/match_start.h"
#include "policy/regex_facts.h"
#include "policy/validators.h"

namespace tollgate::policy {

class Budget;
class Effort;
class HostList;
class Matcher;

// Something found: absolute byte offsets in the text.
struct Hit {
  std::int64_t begin = 0, end = 0;
  std::uint32_t rule = 0;     // Index in the policy set.
  std::uint32_t source = 0;   // Pattern or keyword list, unique in its program: the hit that a continuation belongs to.
  bool continuation = false;  // More of a capped hit that went on; begins where it ended.
  // In which forms of the text: a continuation goes on from a hit of the same form.
  enum : std::uint8_t { kWritten = 1, kPlain = 2, kBoth = 3, kDecoded = 4 };
  std::uint8_t views = kWritten;
  std::int32_t bits_thousandths = 0;  // Its entropy, as its pattern read it; 0 where that asks for none.
  // As a hit of an exception. One in the plain form alone looks like what is excepted; one that only has other quotation marks is in both.
  bool Excuses(const Hit& other) const { return views != kPlain || other.views == kPlain; }
};

// What makes a match of `regex` a hit. Everything but the regex is optional; what is given must all agree.
struct PatternSpec {
  std::string label;  // Of its placeholder; empty: the rule's default.
  RegexNode regex;
  std::int64_t cap = 0;                            // Bytes at which an unbounded pattern counts as a hit; 0: the pattern is bounded.
  Validator validator = nullptr;                   // May shorten a match.
  bool whole = false;                              // Not the tail of something longer (ContinuesSomething).
  std::vector<std::string> names;                  // Folded; behind these a hyphen or '#' joins nothing, for `whole`.
  IdCheck check = nullptr;                         // Of the letters and digits.
  std::shared_ptr<const HostList> hosts;           // Judges instead of all other checks.
  double bits_min = 0;                             // Entropy, and no placeholder in it.
  std::vector<std::string> context;                // Folded words, one of which must stand to the left.
  bool columns = false;                            // What is named so names the next value of its list or column, too.
  bool parted_left = false, parted_right = false;  // A '_' that it begins, or ends, with only parts it from what stands there.
  void CutParting(std::string_view text, std::size_t& begin, std::size_t& end) const;
};

class Pattern {
 public:
  static constexpr std::int64_t kWidthMax = 16384;

  // INVALID_ARGUMENT: matches the empty string, is unbounded without a cap (or has one without being), or is too large, for `budget` too.
  static absl::StatusOr<std::shared_ptr<const Pattern>> Compile(PatternSpec spec, Budget* budget = nullptr);
  std::shared_ptr<const Pattern> With(std::shared_ptr<const HostList> hosts) const;  // The same, with the same matchers.
  ~Pattern();
  struct Scan {                // The state of one pass over one text.
    std::int64_t next = 0;     // Where the next match may begin, absolute.
    bool swallowing = false;   // A capped hit goes on while bytes could belong to its unbounded part.
    LastNamed named;           // The last hit, of a pattern with `columns`.
    Effort* effort = nullptr;  // Once it is over nothing more is found. Null: no bounds.
  };
  struct Window {  // `text` begins at absolute offset `base`.
    std::string_view text;
    std::int64_t base = 0;
    std::int64_t end() const { return base + static_cast<std::int64_t>(text.size()); }
  };
  // Finds matches that begin before `decided` (all such are final), adds them to `out` as begin/end, and moves `scan`.
  void Find(const Window& window, std::int64_t decided, Scan& scan, std::vector<Hit>& out) const;

  // The same for a complete text and a bounded pattern, of the matches that begin from `first` to before `last`.
  void FindWithin(const Window& window, std::size_t first, std::size_t last, Scan& scan, std::vector<Hit>& out) const;

  // For a capped pattern, as the text reaches window.end(): matches that are final by now, and what reached the cap. `at_end`: the text is
  // complete. `searching` false: known to hold no match (a literal is missing), only the cap is looked at. `swallow`: go on after the cap.
  void FindCapped(const Window& window, bool at_end, bool searching, bool swallow, Scan& scan, std::vector<Hit>& out) const;

  // Where the longest suffix of the window that could still become a match begins, not before `from`; window.end() if there is none.
  std::int64_t LiveStart(const Window& window, std::int64_t from, Effort* effort = nullptr) const;

  std::int64_t cap() const { return spec_.cap; }
  std::int64_t hold_max() const { return spec_.cap > 0 ? 2 * spec_.cap : width_.max; }
  const PatternSpec& spec() const { return spec_; }
  const std::string& loosened_prefixes() const { return loosened_prefixes_; }
  const std::string& loosened_beginnings() const { return loosened_beginnings_; }  // Of all up to a trigger word that it holds.
  // A match has one of these in it or, where `context` is given, within kLeftContextBytes before it. Folded. Empty: nothing is known.
  const std::vector<std::string>& trigger_words() const { return trigger_words_; }
  bool looks_again() const;  // What it rejects is searched again from its second character: no candidate hides another.
  // The fewest that a match has of the characters of each kind.
  enum CharKind { kDigit, kDot, kColon, kHyphen, kCharKinds };
  const std::array<int, kCharKinds>& needs() const { return needs_; }
  int run_min() const { return run_min_; }  // The fewest bytes of its longest run of what numbers, names and keys are made of.
  static constexpr bool IsRunByte(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '<';
  }
  // Of a match, what `bits_min` demands; `bits` becomes what is compared with it.
  bool IsRandom(std::string_view match, double& bits) const;
  std::int64_t width_max() const { return width_.max; }  // Bytes; RegexNode::kUnbounded if there is no limit.
  const std::vector<ByteSet>& required_bytes() const { return required_bytes_; }
  const MatchStart& start() const { return start_; }

 private:
  explicit Pattern(PatternSpec spec);
  Pattern(const Pattern&) = default;
  std::size_t Judge(const Window& window, std::size_t begin, std::size_t end, const Scan& scan, double& bits) const;
  std::size_t PrefixBytes(std::string_view match) const;
  std::size_t BodyBytesMin(std::size_t prefix) const;
  bool Next(const Window& window, std::size_t from, std::size_t last, bool there, const Scan& scan, std::size_t& begin,
            std::size_t& end) const;
  bool Accept(const Window& window, std::size_t begin, std::size_t end, Scan& scan, std::vector<Hit>& out) const;

  PatternSpec spec_;
  Width width_;
  std::shared_ptr<const Matcher> matcher_, live_;
  std::int64_t piece_bytes_ = 0;
  std::string loosened_prefixes_, loosened_beginnings_;
  ContextWords context_, names_;
  std::vector<std::string> trigger_words_, literals_;  // Folded; a match has one of the literals.
  std::array<int, kCharKinds> needs_{};
  std::vector<ByteSet> required_bytes_;
  ByteSet swallowed_;
  MatchStart start_;
  int run_min_ = 0;
};

// The first offset at or after the next multiple of `cap` behind `after` that begins a code point, if the window reaches it; else -1.
std::int64_t NextCheckpoint(const Pattern::Window& window, std::int64_t after, std::int64_t cap);

}  // namespace tollgate::policy
