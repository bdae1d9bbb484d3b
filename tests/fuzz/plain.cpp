#include <algorithm>
#include <random>

#include "base/encoding.h"
#include "policy/encoded_runs.h"
#include "policy/plain_form.h"
#include "tests/fuzz/properties.h"
#include "tests/fuzz/streamed.h"

namespace tollgate::fuzz {
namespace {

using namespace policy;

// Pieces of a few code points, the same ones for each input.
template <typename Take>
void InPieces(std::string_view text, Take&& take) {
  std::minstd_rand random(static_cast<unsigned>(text.size()));
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    for (std::size_t n = 1 + random() % 5; n > 0 && end < text.size(); --n) end += CodePointBytes(text, end);
    take(text.substr(at, end - at), end == text.size());
    at = end;
  }
}

void CheckPlain(std::string_view text) {
  const std::string whole = ToPlain(text);
  TG_CHECK(base::IsValidUtf8(whole), "a plain text is not UTF-8");
  TG_CHECK((FirstDisguised(text) == text.size()) == (whole == text), "a text with no disguise has another plain form, or the reverse");
  PlainText grown;
  std::string plain;
  InPieces(text, [&](std::string_view piece, bool last) { plain += grown.Append(piece, !last); });
  TG_CHECK(plain == whole, "a plain form depends on the pieces");
  TG_CHECK(grown.raw_end() == static_cast<std::int64_t>(text.size()) && grown.plain_end() == static_cast<std::int64_t>(plain.size()),
           "ends");
  std::int64_t before = 0;
  for (std::size_t at = 0, next = 0; at < plain.size(); at = next) {
    next = at + CodePointBytes(plain, at);
    const std::int64_t begin = grown.RawBegin(static_cast<std::int64_t>(at)), end = grown.RawEnd(static_cast<std::int64_t>(next));
    TG_CHECK(begin >= before && begin < end && end <= grown.raw_end(), "a character of the plain text leads nowhere");
    const std::string_view raw = text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    TG_CHECK(base::IsValidUtf8(raw), "a character of the plain text leads into the middle of one");
    const std::string_view its = std::string_view(plain).substr(at, next - at);
    TG_CHECK(raw.size() > 1 || raw == its || its == "\uFFFD", "ASCII is not its own plain form, nor the last of many unseen characters");
    before = begin;
  }
}

void CheckWords(std::string_view text) {
  std::vector<EncodedWord> whole, grown;
  WordCutter at_once, in_pieces;
  at_once.Read(text, true, whole);
  InPieces(text, [&](std::string_view piece, bool last) { in_pieces.Read(piece, last, grown); });
  const auto same = [](const EncodedWord& a, const EncodedWord& b) { return a.begin == b.begin && a.end == b.end; };
  if (!text.empty()) TG_CHECK(std::equal(whole.begin(), whole.end(), grown.begin(), grown.end(), same), "words depend on the pieces");
  std::int64_t before = 0, overlap = 0;
  for (const EncodedWord& word : whole) {
    TG_CHECK(word.begin >= before - overlap && word.end > before && word.end - word.begin >= WordCutter::kWordBytesMin &&
                 word.end - word.begin <= WordCutter::kWordBytesMax,
             "words overlap, or are too short or long");
    before = word.end;
    overlap = word.end - word.begin == WordCutter::kWordBytesMax ? WordCutter::kOverlapBytes : 0;  // It goes on in the next piece.
    const std::string_view bytes = text.substr(static_cast<std::size_t>(word.begin), static_cast<std::size_t>(word.end - word.begin));
    ForEachDecoded(bytes, [&](const Decoded& decoded) {
      TG_CHECK(decoded.begin < decoded.end && decoded.end <= bytes.size(), "an encoded run lies outside its word");
      TG_CHECK(decoded.text.size() >= 6 && base::IsValidUtf8(decoded.text), "what is decoded is short or not UTF-8");
    });
  }
}

}  // namespace

void Plain(std::string_view input) {
  if (!base::IsValidUtf8(input)) return;  // Nobody hands such a text on.
  CheckPlain(input);
  CheckWords(input);
  TG_CHECK(base::IsValidUtf8(Decomposed(input)), "a decomposed text is not UTF-8");
}

}  // namespace tollgate::fuzz
