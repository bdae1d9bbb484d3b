// A piece takes sentences until it has its least length; what is left at the end and shorter goes with the piece before it. A piece that is
// nearer to a phrase of `unlike` than to any example scores nothing, whatever the threshold: thresholds alone do not tell neighbours apart.
//
// Tested by tests/policy/topic_test.cpp.
#include "policy/topic.h"

#include <algorithm>

#include "base/status.h"

namespace tollgate::policy {
namespace {

bool Blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool Inside(std::string_view text, std::size_t at) { return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; }

// Whether a sentence ends before `at`: behind a line's end, a mark with a blank behind it, or a full-width mark.
bool EndsSentence(std::string_view text, std::size_t at) {
  const char last = text[at - 1];
  if (last == '\n') return true;
  if (last == '.' || last == '!' || last == '?') return at == text.size() || Blank(text[at]);
  const std::string_view before = text.substr(0, at);
  return before.ends_with("\u3002") || before.ends_with("\uff01") || before.ends_with("\uff1f");
}

// Where a piece from `begin` ends that has no sentence's end in time: behind the last blank of its second half, or between code points.
std::size_t CutLong(std::string_view text, std::size_t begin, std::size_t end) {
  for (std::size_t at = end; at > begin + (end - begin) / 2; --at) {
    if (Blank(text[at - 1])) return at;
  }
  while (end > begin + 1 && Inside(text, end)) --end;
  return end;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && Blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && Blank(text.back())) text.remove_suffix(1);
  return text;
}

float Dot(std::span<const float> a, std::span<const float> b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

std::vector<std::string_view> TopicPieces(std::string_view text, std::size_t most) {
  text = Trimmed(text);
  const std::size_t least = std::max(Topic::kPieceBytesMin, text.size() / std::max<std::size_t>(most, 1) + 1);
  const std::size_t longest = least * (Topic::kPieceBytesMax / Topic::kPieceBytesMin);
  std::vector<std::string_view> out;
  std::size_t begin = 0;
  for (std::size_t at = 1; at <= text.size(); ++at) {
    const std::size_t bytes = at - begin;
    const bool ends = bytes >= least && EndsSentence(text, at);
    if (!ends && bytes < longest && at < text.size()) continue;
    const std::size_t end = ends || at == text.size() ? at : CutLong(text, begin, at);
    const bool rest = end == text.size() && bytes < least && !out.empty();  // Too short to say much by itself.
    const std::size_t from = rest ? static_cast<std::size_t>(out.back().data() - text.data()) : begin;
    if (rest) out.pop_back();
    if (const std::string_view piece = Trimmed(text.substr(from, end - from)); !piece.empty()) out.push_back(piece);
    begin = at = end;
  }
  return out;
}

TopicReading ReadTopic(const Topic& topic, std::span<const float> phrases, std::span<const float> pieces, std::size_t dimensions) {
  TG_CHECK(dimensions > 0 && phrases.size() == topic.phrases() * dimensions && pieces.size() % dimensions == 0, "vectors of another topic");
  TopicReading out;
  float best = 0;
  for (std::size_t piece = 0; piece * dimensions < pieces.size(); ++piece) {
    const std::span<const float> vector = pieces.subspan(piece * dimensions, dimensions);
    float nearest = 0, nearest_unlike = 0;
    std::size_t example = 0;
    for (std::size_t i = 0; i < topic.phrases(); ++i) {
      const float cosine = Dot(vector, phrases.subspan(i * dimensions, dimensions));
      if (i >= topic.examples.size()) {
        nearest_unlike = std::max(nearest_unlike, cosine);
      } else if (cosine > nearest) {
        nearest = cosine;
        example = i;
      }
    }
    if (nearest <= best || nearest <= nearest_unlike) continue;
    best = nearest;
    out.piece = piece;
    out.example = example;
  }
  out.score_millionths = static_cast<std::int64_t>(std::min(best, 1.0F) * 1e6F);
  return out;
}

}  // namespace tollgate::policy
