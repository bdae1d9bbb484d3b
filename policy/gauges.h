// Gauges: what a rule asks of a prompt as a whole, or of a reply: how long it is, and what shape it has. No spans: a gauge hits or does
// not. Pure; any thread.
//
// Cost: one pass over the text for each sight (sight.h) that rules have; nothing where no rule asks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/language.h"
#include "policy/reply_shape.h"
#include "policy/sight.h"

namespace tollgate::policy {

// Hits where the measure is greater than `over`.
struct Gauge {
  enum class Measure : std::uint8_t {
    kAlways,       // Every prompt: 1.
    kCharacters,   // Code points of all texts.
    kTokens,       // Subject::prompt_tokens, of all messages; where they are not counted, it hits.
    kMessages,     // That have text.
    kTurns,        // Of the user: messages that follow another author's.
    kLongestLine,  // Characters.
    kNonLetters,   // Percent of the characters that are not blank, that are neither letters nor digits.
    kRepetition,   // Percent of the words that stand in a run of five words which was there before.
    kCodeLines,    // Lines that read as program text.
    kLanguage,     // Letters of stretches in one of `languages` (language.h).
  };
  Measure measure = Measure::kAlways;
  std::int64_t over = 0;
  std::uint32_t languages = 0;  // A bit each.
  bool operator==(const Gauge&) const = default;
};
const char* MeasureName(Gauge::Measure measure);  // "characters", "longest_line" …

// About how many tokens a text has where no model counts them: one for four bytes, and at least one.
std::int64_t EstimateTokens(std::string_view text);

// Measures one prompt, each thing once.
class PromptMeasure {
 public:
  PromptMeasure(const Subject& subject, std::span<const Message> prompt) : subject_(subject), prompt_(prompt) {}

  // The first gauge that hits, with what it measured; of what `roles`, `parts` and `tools` let a rule see. nullopt = none hits, or there is
  // nothing of it.
  struct Reading {
    Gauge gauge;
    std::int64_t value = 0;
    std::optional<Score> score() const;  // nullopt: it is no number, or was not counted.
  };
  std::optional<Reading> FirstOver(std::span<const Gauge> gauges, const Sight& sight);
  static std::string Told(const std::optional<Reading>& reading);  // In one sentence.
  std::int64_t Value(const Gauge& gauge, const Sight& sight);      // INT64_MAX: it is not counted.

 private:
  struct Shape {
    std::int64_t characters = 0, messages = 0, turns = 0, longest_line = 0, non_letters = 0, repetition = 0, code_lines = 0;
  };
  const Shape& ShapeOf(const Sight& sight);
  std::int64_t LettersIn(std::uint32_t languages, const Sight& sight);

  const Subject& subject_;
  const std::span<const Message> prompt_;
  std::map<Sight, Shape> shapes_;
  std::map<Sight, LanguageLetters> languages_;
};

// A gauge of a whole reply: `kind` is "code" or "language", with static storage.
class ReplyGauge final : public ReplyShape {
 public:
  ReplyGauge(const char* kind, const Gauge& gauge) : kind_(kind), gauge_(gauge) {}
  Reads reads() const override { return Reads::kDecoded; }
  const char* detector() const override { return kind_; }
  std::string_view Breaks(std::string_view text) const override;
  std::string Why(std::string_view text) const override;
  std::optional<Score> Measured(std::string_view text) const override;
  bool MayBecome(std::string_view) const override { return true; }  // Known at the end: a line may read otherwise once it is whole.

 private:
  const char* const kind_;
  const Gauge gauge_;
};

}  // namespace tollgate::policy
