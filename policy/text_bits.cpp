// Where there is SSE2, which all x86-64 has, sixteen bytes are compared at once; elsewhere each byte looks up its kinds. What follows from
// the kinds (a word's edge, a byte of a run) is computed a word at a time.
//
// Tested by tests/policy/match_places_test.cpp.
#include "policy/text_bits.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tollgate::policy {
namespace {

struct Plain {  // Of 64 bytes, what a comparison tells.
  std::uint64_t digit = 0, dot = 0, colon = 0, hyphen = 0, underscore = 0, letter = 0, less = 0;
};

#if defined(__SSE2__)
std::uint64_t Mask(__m128i equal) { return static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(equal))); }
std::uint64_t AreEqual(__m128i bytes, char c) { return Mask(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))); }
// From `first` on, `last` more.
std::uint64_t AreIn(__m128i bytes, char first, char last) {
  const __m128i above = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
  return Mask(_mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8(last)), above));
}

Plain Compare(const char* text) {
  Plain out;
  for (unsigned at = 0; at < TextBits::kWordBytes; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text + at));
    out.digit |= AreIn(bytes, '0', 9) << at;
    out.dot |= AreEqual(bytes, '.') << at;
    out.colon |= AreEqual(bytes, ':') << at;
    out.hyphen |= AreEqual(bytes, '-') << at;
    out.underscore |= AreEqual(bytes, '_') << at;
    out.letter |= AreIn(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 25) << at;
    out.less |= AreEqual(bytes, '<') << at;
  }
  return out;
}
#else
Plain Compare(const char* text) {
  Plain out;
  for (unsigned at = 0; at < TextBits::kWordBytes; ++at) {
    const char c = text[at];
    const auto bit = [at](bool is) { return std::uint64_t{is} << at; };
    out.digit |= bit(c >= '0' && c <= '9');
    out.dot |= bit(c == '.');
    out.colon |= bit(c == ':');
    out.hyphen |= bit(c == '-');
    out.underscore |= bit(c == '_');
    out.letter |= bit((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
    out.less |= bit(c == '<');
  }
  return out;
}
#endif

}  // namespace

TextBits::TextBits(std::string_view text) : words_(text.size() / kWordBytes + 2) {
  std::uint64_t before = 0;  // Whether the byte before is a word's.
  for (std::size_t index = 0; index * kWordBytes < text.size(); ++index) {
    const std::string_view its = text.substr(index * kWordBytes, kWordBytes);
    std::array<char, kWordBytes> last{};
    if (its.size() < kWordBytes) std::memcpy(last.data(), its.data(), its.size());
    const Plain plain = Compare(its.size() < kWordBytes ? last.data() : its.data());
    const std::uint64_t word = plain.letter | plain.digit | plain.underscore;
    words_[index] = {
        plain.digit, plain.dot, plain.colon, plain.hyphen, plain.underscore, word ^ (word << 1 | before), word | plain.hyphen | plain.less};
    before = word >> (kWordBytes - 1);
    for (std::size_t kind = 0; kind < kCounted; ++kind) {
      if (words_[index][kind] != 0) counts_[kind] += static_cast<std::size_t>(std::popcount(words_[index][kind]));
    }
  }
}

bool TextBits::HasSoMany(Kind kind, std::size_t count, std::size_t begin, std::size_t end) const {
  if (count == 0) return true;
  end = std::min(end, words() * kWordBytes);
  std::size_t found = 0;
  for (std::size_t at = begin; at < end; at += kWordBytes) {
    std::uint64_t bits = From(kind, at);
    if (end - at < kWordBytes) bits &= (std::uint64_t{1} << (end - at)) - 1;
    if (bits != 0) found += static_cast<std::size_t>(std::popcount(bits));
    if (found >= count) return true;
  }
  return false;
}

std::size_t TextBits::Next(Kind kind, std::size_t from) const {
  for (std::size_t index = from / kWordBytes; index < words(); ++index, from = index * kWordBytes) {
    const std::uint64_t bits = words_[index][kind] >> from % kWordBytes;
    if (bits != 0) return from + static_cast<std::size_t>(std::countr_zero(bits));
  }
  return SIZE_MAX;
}

}  // namespace tollgate::policy
