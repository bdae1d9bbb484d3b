// ASCII is skipped sixteen bytes at a time where there is SSE2, which all x86-64 has; elsewhere each byte is looked up.
//
// Tested by tests/policy/plain_form_test.cpp.
#include "policy/plain_form.h"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <utility>

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/status.h"
#include "policy/fold.h"
#include "policy/json_escape.h"
#include "policy/plain_pages.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

std::string Normalised(const icu::Normalizer2* (*instance)(UErrorCode&), std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = instance(error);
  TG_CHECK(U_SUCCESS(error), "ICU has no data of NFC and NFD");
  std::string out;
  const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
  form->normalize(icu::UnicodeString::fromUTF8(piece), error).toUTF8String(out);
  return U_SUCCESS(error) ? out : std::string(text);
}

// The plain form; false if it is the character itself, and `out` is then left alone. Not longer than 12 bytes. `before`: the byte before
// it; `seen`: gives the character that is seen before it.
template <typename Seen>
bool PlainForm(char32_t c, char before, const Seen& seen, std::string_view& out) {
  if (c < 0x80) {
    if (!IsUnseenAscii(static_cast<char>(c))) return false;
    out = {};
    return true;
  }
  if (c > 0x10FFFF || (c == 0x2013 && before == ' ')) return false;
  const bool behind_other = static_cast<signed char>(before) >= 0 && !IsDigit(before) && !IsUnseenAscii(before);
  if ((c == 0x2014 || c == 0x2015) && behind_other) return false;
  const PlainPage& page = PlainPageOf(c);
  if (page.marks[c & 0xFF] && !Spells(c, seen())) {
    out = {};
    return true;
  }
  const std::uint8_t bytes = page.bytes[c & 0xFF];
  if (bytes == PlainPage::kItself) return false;
  out = {page.forms[c & 0xFF].data(), bytes};
  return true;
}

char32_t LastOf(std::string_view text, std::size_t end) {
  const char last = text[end - 1];
  return static_cast<signed char>(last) >= 0 ? static_cast<char32_t>(last) : DecodeBefore(text, end);
}

// No ASCII, or unseen.
constexpr std::array<bool, 256> kStops = [] {
  std::array<bool, 256> out{};
  for (std::size_t byte = 0; byte < 256; ++byte) out[byte] = byte >= 0x80 || IsUnseenAscii(static_cast<char>(byte));
  return out;
}();

// Where the next byte is that is no ASCII, or unseen, or is `one` or `other`.
std::size_t AsciiEnd(std::string_view text, std::size_t at, char one, char other) {
#if defined(__SSE2__)
  for (; at + 16 <= text.size(); at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i from_tab = _mm_sub_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i blank = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8('\r' - '\t')), from_tab);
    const __m128i below = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));  // And what is no ASCII: bytes have a sign here.
    const __m128i either = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(one)), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(other)));
    const __m128i is_delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F));
    const __m128i stops = _mm_or_si128(_mm_andnot_si128(blank, below), _mm_or_si128(either, is_delete));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(stops));
    if (mask != 0) return at + static_cast<std::size_t>(std::countr_zero(mask));
  }
#endif
  while (at < text.size() && !kStops[static_cast<unsigned char>(text[at])] && text[at] != one && text[at] != other) ++at;
  return at;
}

// A character that is not its own plain form.
struct Disguise {
  std::size_t at = 0, bytes = 0;  // bytes == 0: it begins, and what follows tells what it is.
  std::string form;
};

// The first one from `at` on; text.size() if there is none. Goes past the text's first quote, if it lies before.
Disguise NextDisguise(std::string_view text, std::size_t at, Behind& behind, bool more) {
  Disguise out;
  const std::size_t from = at;
  const auto seen = [&] { return at == from ? behind.seen : LastOf(text, at); };
  for (std::size_t length = 1;; at += length) {
    at = AsciiEnd(text, at, behind.quoted ? '\\' : '"', behind.quoted ? '\\' : '\'');
    out.at = at;
    if (at == text.size()) return out;
    const char before = at == 0 ? behind.byte : text[at - 1];
    length = 1;
    if (text[at] == '"' || text[at] == '\'') {
      behind.quoted = true;
    } else if (text[at] == '\\') {
      const Escape escape = ReadEscape(text.substr(at));
      if (escape.begun && more) return out;
      if (escape.bytes > 0) {
        out.bytes = escape.bytes;
        if (std::string_view form; PlainForm(escape.character, before, seen, form)) {
          out.form = form;
        } else {
          AppendUtf8(escape.character, out.form);
        }
        return out;
      }
    } else {
      std::string_view form;
      const char32_t c = DecodeAt(text, at, length);
      if (!PlainForm(c, before, seen, form)) continue;
      out.form = form;
      out.bytes = length;
      return out;
    }
  }
}

}  // namespace

std::size_t FirstDisguised(std::string_view text, Behind& behind, bool more) {
  const std::size_t at = NextDisguise(text, 0, behind, more).at;
  if (at > 0) {
    behind.byte = text[at - 1];
    behind.seen = LastOf(text, at);
  }
  return at;
}

std::string ToPlain(std::string_view text) { return PlainText().Append(text); }

std::string Decomposed(std::string_view text) { return Normalised(icu::Normalizer2::getNFDInstance, text); }
std::string Composed(std::string_view text) { return Normalised(icu::Normalizer2::getNFCInstance, text); }

bool LooksLatin(char32_t c) {
  std::string_view form;
  UErrorCode error = U_ZERO_ERROR;
  const auto script = uscript_getScript(static_cast<UChar32>(c), &error);
  if (script == USCRIPT_LATIN || script == USCRIPT_COMMON ||
      !PlainForm(
          c, 'x', [] { return U'x'; }, form))
    return false;
  return form.size() == 1 && u_isalpha(static_cast<UChar32>(form[0])) != 0;
}

bool ReadsAsMarks(char32_t c, std::string& out) {
  if (c < 0x80 || c > 0x10FFFF || (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0) return false;
  const PlainPage& page = PlainPageOf(c);
  const std::uint8_t bytes = page.bytes[c & 0xFF];
  if (bytes == PlainPage::kItself) return false;
  out.assign(page.forms[c & 0xFF].data(), bytes);
  return std::all_of(out.begin(), out.end(),
                     [](char a) { return static_cast<signed char>(a) >= 0 && !IsWordCodePoint(static_cast<char32_t>(a)); });
}

std::string PlainText::Append(std::string_view raw, bool more) {
  const std::string begun = std::exchange(begun_, std::string());
  const std::string joined = begun.empty() ? std::string() : begun + std::string(raw);
  if (!begun.empty()) raw = joined;
  std::string out;
  out.reserve(raw.size());
  std::size_t at = 0;
  while (at < raw.size()) {
    const Disguise next = NextDisguise(raw, at, behind_, more);
    if (next.at > at) {
      out += raw.substr(at, next.at - at);
      Add(next.at - at, next.at - at, Kind::kSame);
      behind_.seen = LastOf(raw, next.at);
      unseen_ = 0;
    }
    at = next.at;
    if (at == raw.size() || next.bytes == 0) break;
    at += next.bytes;
    std::string_view form = next.form;
    unseen_ = form.empty() ? unseen_ + 1 : 0;
    if (unseen_ == kUnseenMax) {
      form = "\uFFFD";
      unseen_ = 0;
    }
    if (!form.empty()) behind_.seen = LastOf(form, form.size());
    out += form;
    Add(form.size(), next.bytes, form == "'" || form == "\"" ? Kind::kQuote : Kind::kOther);
  }
  begun_ = raw.substr(at);
  if (at > 0) behind_.byte = raw[at - 1];
  return out;
}

void PlainText::Add(std::size_t plain_bytes, std::size_t raw_bytes, Kind kind) {
  const std::int64_t plain = plain_end_, raw = raw_end_;
  plain_end_ += static_cast<std::int64_t>(plain_bytes);
  raw_end_ += static_cast<std::int64_t>(raw_bytes);
  if (plain_bytes == 0) return;
  if (kind == Kind::kSame && spans_.back().same() && spans_.back().raw_end == raw && spans_.back().plain_end == plain) {
    spans_.back().plain_end = plain_end_;
    spans_.back().raw_end = raw_end_;
  } else {
    spans_.push_back({plain, raw, plain_end_, raw_end_, kind});
  }
}

const PlainText::Span& PlainText::At(std::int64_t plain) const {
  const auto begins_later = [](std::int64_t at, const Span& span) { return at < span.plain; };
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), plain, begins_later);
  return after == spans_.begin() ? *after : *(after - 1);
}

std::int64_t PlainText::RawBegin(std::int64_t plain) const {
  if (plain >= plain_end_) return spans_.back().raw_end;
  const Span& span = At(plain);
  return span.same() ? span.raw + (plain - span.plain) : span.raw;
}

std::int64_t PlainText::RawEnd(std::int64_t plain) const {
  if (plain <= 0) return 0;
  const Span& span = At(plain - 1);
  return span.same() ? span.raw + (plain - span.plain) : span.raw_end;
}

// What is not seen has no span, and leaves a gap between two.
bool PlainText::DiffersByQuotes(std::int64_t begin, std::int64_t end) const {
  bool quotes = false;
  for (const Span* span = &At(begin);; ++span) {
    if (span->kind == Kind::kOther) return false;
    quotes = quotes || span->kind == Kind::kQuote;
    if (span->plain_end >= end || span == &spans_.back()) return quotes;
    if (std::next(span)->raw != span->raw_end) return false;
  }
}

std::int64_t PlainText::CharacterBegin(std::int64_t raw) const {
  const auto begins_later = [](std::int64_t at, const Span& span) { return at < span.raw; };
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), raw, begins_later);
  if (after == spans_.begin()) return raw;
  const Span& span = *(after - 1);
  return !span.same() && raw < span.raw_end ? span.raw : raw;
}

void PlainText::Forget(std::int64_t plain, std::int64_t raw) {
  const auto keep =
      std::find_if(spans_.begin(), spans_.end() - 1, [&](const Span& span) { return span.plain_end > plain || span.raw_end > raw; });
  spans_.erase(spans_.begin(), keep);
}

}  // namespace tollgate::policy
