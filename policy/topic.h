// Topic: what a text is about, told by how near its embedding lies to those of example phrases. Policy says what is compared and reads the
// vectors; whoever asks a policy's questions has a model make them. docs/policy.md has the language.
//
// A text is compared piece by piece (some sentences each), because the vector of a long text says little about one sentence in it. Pure
// values; any thread. Cost of ReadTopic: pieces × examples × dimensions multiplications.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"

namespace tollgate::policy {

struct Topic {
  static constexpr std::size_t kExamplesMax = 64, kExampleBytesMax = 1000;
  static constexpr std::size_t kPieceBytesMin = 60, kPieceBytesMax = 480;

  std::string model;                    // That embeds, or an alias.
  std::vector<std::string> examples;    // 1 to kExamplesMax: texts of the topic.
  std::vector<std::string> unlike;      // Texts that are near it and not of it; may be none.
  std::int64_t deadline_ms = 10'000;    // For a question, its wait for the model included.
  std::int64_t reply_bytes = 16 << 10;  // Of a longer reply, its end.
  base::Digest digest{};                // Of examples and unlike: what their vectors are kept under.

  std::size_t phrases() const { return examples.size() + unlike.size(); }
  const std::string& Phrase(std::size_t index) const { return index < examples.size() ? examples[index] : unlike[index - examples.size()]; }
};

// `text` in pieces of whole sentences, about `most` at most: of kPieceBytesMin to kPieceBytesMax bytes, longer ones where the text is long.
// A sentence that is longer than a piece is cut between words, or between code points. None of a text that is blank.
std::vector<std::string_view> TopicPieces(std::string_view text, std::size_t most);

struct TopicReading {
  std::int64_t score_millionths = 0;   // Cosine of the nearest pair of piece and example, from 0; 0 where something unlike is nearer still.
  std::size_t piece = 0, example = 0;  // That pair.
};

// `phrases`: the vectors of the topic's phrases in order; `pieces`: of at least one piece. Each is `dimensions` long and of length 1.
TopicReading ReadTopic(const Topic& topic, std::span<const float> phrases, std::span<const float> pieces, std::size_t dimensions);

}  // namespace tollgate::policy
