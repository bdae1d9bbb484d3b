// Plain forms are made a page of 256 characters at a time, when the first of them is met, and kept for the life of the process: most texts
// touch a few pages, and a page takes well under a millisecond.
//
// Look-alikes. Unicode's table gives every character a skeleton, the same for all that look alike; ASCII characters are found by theirs.
// Some share one (I, l, 1 and |), so the case of the look-alike decides. Small letters that look like capitals (Cyrillic т) go by them.
// Only scripts whose letters pass for Latin are asked: what an Arabic alef looks like helps nobody.
//
// A letter whose other case takes another number of bytes, which folding leaves alone, goes by what all its cases share: STRAẞE is STRAßE.
//
// ASCII is skipped sixteen bytes at a time where there is SSE2, which all x86-64 has; elsewhere each byte is looked up.
//
// Tested by tests/policy/plain_form_test.cpp.
#include "policy/plain_form.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <map>
#include <memory>
#include <utility>

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/uspoof.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/status.h"
#include "policy/fold.h"
#include "policy/json_escape.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kFormBytesMax = 12;  // Longer forms are ornaments (U+FDFA is eighteen letters): they stay as they are.
constexpr std::uint8_t kItself = 0xFF;
constexpr std::size_t kPages = 0x1100;
constexpr UChar32 kNextLine = 0x85;                   // A control that is white space.
constexpr UChar32 kDottedCapitalI = 0x130;            // Of Turkish; ı looks like i already.
constexpr UChar32 kEllipsis = 0x2026;                 // Prose is full of them, and three full stops hide nothing.
constexpr std::string_view kPunctuation = "@./:_=+";  // Of addresses and assignments. Quotes stay: nothing hides behind them.

struct Page {
  std::array<std::uint8_t, 256> bytes{};
  std::array<std::array<char, kFormBytesMax>, 256> forms{};
};

// A control of ASCII that is no white space.
constexpr bool IsUnseenAscii(char c) { return (static_cast<unsigned char>(c) < ' ' && !IsBlank(c)) || c == '\x7F'; }

// Not of ASCII. Controls, private characters and those that are none show nothing or what the reader's font has, and no value holds them.
bool Unseen(UChar32 c) {
  if (c == kNextLine) return false;
  const std::uint32_t kind = U_GET_GC_MASK(c);
  if ((kind & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK | U_GC_CN_MASK)) != 0) return true;
  if (u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT)) return true;
  if (c == 0xFFFC || c == 0xFFFD) return true;   // In the place of a picture, and of what could not be read.
  if (c == 0x2800) return true;                  // An empty Braille cell.
  if (c == 0x3099 || c == 0x309A) return false;  // They spell kana, and half-width kana have no other way to.
  if ((kind & (U_GC_MN_MASK | U_GC_ME_MASK)) == 0) return false;
  UErrorCode error = U_ZERO_ERROR;
  return uscript_getScript(c, &error) == USCRIPT_INHERITED;  // Marks that go on any letter; those of a script spell it.
}

const icu::Normalizer2& Nfkc() {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* out = icu::Normalizer2::getNFKCInstance(error);
  TG_CHECK(U_SUCCESS(error), "ICU has no NFKC data");
  return *out;
}

std::string Normalised(const icu::Normalizer2* (*instance)(UErrorCode&), std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = instance(error);
  TG_CHECK(U_SUCCESS(error), "ICU has no data of NFC and NFD");
  std::string out;
  const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
  form->normalize(icu::UnicodeString::fromUTF8(piece), error).toUTF8String(out);
  return U_SUCCESS(error) ? out : std::string(text);
}

class LookAlikes {
 public:
  LookAlikes() {
    UErrorCode error = U_ZERO_ERROR;
    checker_ = uspoof_open(&error);
    TG_CHECK(U_SUCCESS(error), "ICU has no table of confusable characters");
    for (char c = '!'; c <= '~'; ++c) by_skeleton_[Skeleton(static_cast<UChar32>(c))] += c;
  }

  // The ASCII character that `c` is taken for, or 0.
  char Of(UChar32 c) const {
    UErrorCode error = U_ZERO_ERROR;
    switch (uscript_getScript(c, &error)) {
      case USCRIPT_LATIN:
      case USCRIPT_CYRILLIC:
      case USCRIPT_GREEK:
      case USCRIPT_ARMENIAN:
      case USCRIPT_CHEROKEE:
      case USCRIPT_COPTIC:
      case USCRIPT_LISU:
      case USCRIPT_COMMON: break;
      default: return 0;
    }
    if (const char direct = Choose(c); direct != 0) return direct;
    const UChar32 capital = u_toupper(c);
    if (capital == c || u_islower(c) == 0) return 0;
    const char upper = Choose(capital);
    return upper >= 'A' && upper <= 'Z' ? static_cast<char>(upper + 32) : '\0';
  }

 private:
  std::string Skeleton(UChar32 c) const {
    std::string text, out(64, '\0');
    AppendUtf8(static_cast<char32_t>(c), text);
    UErrorCode error = U_ZERO_ERROR;
    const std::int32_t length = uspoof_getSkeletonUTF8(checker_, 0, text.data(), static_cast<std::int32_t>(text.size()), out.data(),
                                                       static_cast<std::int32_t>(out.size()), &error);
    if (U_FAILURE(error)) return text;
    out.resize(static_cast<std::size_t>(length));
    return out;
  }

  char Choose(UChar32 c) const {
    const auto found = by_skeleton_.find(Skeleton(c));
    if (found == by_skeleton_.end()) return 0;
    const auto first = [&](auto&& fits) {
      const auto at = std::find_if(found->second.begin(), found->second.end(), fits);
      return at == found->second.end() ? '\0' : *at;
    };
    const auto is = [](char lo, char hi) { return [lo, hi](char a) { return a >= lo && a <= hi; }; };
    if (u_isalpha(c) != 0) {
      const char own = u_isupper(c) != 0 ? first(is('A', 'Z')) : first(is('a', 'z'));
      if (own != 0) return own;
      const char other = u_isupper(c) != 0 ? first(is('a', 'z')) : first(is('A', 'Z'));
      return other >= 'a' ? static_cast<char>(other - 32) : other != 0 ? static_cast<char>(other + 32) : '\0';
    }
    return first([](char a) { return kPunctuation.find(a) != std::string_view::npos; });
  }

  USpoofChecker* checker_ = nullptr;  // Lives as long as the process.
  std::map<std::string, std::string> by_skeleton_;
};

void AppendForm(UChar32 c, std::string& out) {
  static const LookAlikes look_alikes;
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  if (Unseen(c)) return;
  const std::uint32_t kind = U_GET_GC_MASK(c);
  if ((kind & U_GC_ND_MASK) != 0) {
    out += static_cast<char>('0' + u_charDigitValue(c));
  } else if ((kind & U_GC_PD_MASK) != 0 || c == 0x2212 || c == 0x2043) {
    out += '-';
  } else if ((kind & U_GC_ZS_MASK) != 0) {
    out += ' ';
  } else if ((kind & (U_GC_ZL_MASK | U_GC_ZP_MASK)) != 0 || c == kNextLine) {
    out += '\n';
  } else if (c == kDottedCapitalI) {
    out += 'I';
  } else if (const char like = look_alikes.Of(c); like != 0) {
    out += like;
  } else {
    const UChar32 folded = u_foldCase(c, U_FOLD_CASE_DEFAULT);
    AppendUtf8(static_cast<char32_t>(U8_LENGTH(folded) == U8_LENGTH(c) ? c : folded), out);
  }
}

const Page* MakePage(std::size_t index) {
  auto page = std::make_unique<Page>();
  page->bytes.fill(kItself);
  for (std::size_t low = 0; low < 256; ++low) {
    const auto c = static_cast<UChar32>(index << 8 | low);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    if (c < 0x80 || surrogate || c == kEllipsis) continue;
    std::string form, itself;
    AppendUtf8(static_cast<char32_t>(c), itself);
    UErrorCode error = U_ZERO_ERROR;
    const icu::UnicodeString compatible = Nfkc().normalize(icu::UnicodeString(c), error);
    for (std::int32_t i = 0; U_SUCCESS(error) && i < compatible.length(); i = compatible.moveIndex32(i, 1)) {
      AppendForm(compatible.char32At(i), form);
    }
    if (U_FAILURE(error) || form == itself || form.size() > kFormBytesMax) continue;
    page->bytes[low] = static_cast<std::uint8_t>(form.size());
    std::copy(form.begin(), form.end(), page->forms[low].begin());
  }
  return page.release();
}

const Page& PageOf(std::size_t index) {
  static std::array<std::atomic<const Page*>, kPages> pages;
  const Page* page = pages[index].load(std::memory_order_acquire);
  if (page != nullptr) return *page;
  std::unique_ptr<const Page> made(MakePage(index));
  if (!pages[index].compare_exchange_strong(page, made.get(), std::memory_order_acq_rel)) return *page;  // Another thread was first.
  return *made.release();
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
        if (std::string_view form; PlainForm(escape.character, before, form)) {
          out.form = form;
        } else {
          AppendUtf8(escape.character, out.form);
        }
        return out;
      }
    } else {
      std::string_view form;
      const char32_t c = DecodeAt(text, at, length);
      if (!PlainForm(c, before, form)) continue;
      out.form = form;
      out.bytes = length;
      return out;
    }
  }
}

}  // namespace

bool PlainForm(char32_t c, char before, std::string_view& out) {
  if (c < 0x80) {
    if (!IsUnseenAscii(static_cast<char>(c))) return false;
    out = {};
    return true;
  }
  if (c > 0x10FFFF || (c == 0x2013 && before == ' ')) return false;
  const bool behind_other = static_cast<signed char>(before) >= 0 && !IsDigit(before) && !IsUnseenAscii(before);
  if ((c == 0x2014 || c == 0x2015) && behind_other) return false;
  const Page& page = PageOf(c >> 8);
  const std::uint8_t bytes = page.bytes[c & 0xFF];
  if (bytes == kItself) return false;
  out = {page.forms[c & 0xFF].data(), bytes};
  return true;
}

std::size_t FirstDisguised(std::string_view text, Behind& behind, bool more) {
  const std::size_t at = NextDisguise(text, 0, behind, more).at;
  if (at > 0) behind.byte = text[at - 1];
  return at;
}

std::string ToPlain(std::string_view text) { return PlainText().Append(text); }

std::string Decomposed(std::string_view text) { return Normalised(icu::Normalizer2::getNFDInstance, text); }
std::string Composed(std::string_view text) { return Normalised(icu::Normalizer2::getNFCInstance, text); }

bool LooksLatin(char32_t c) {
  std::string_view form;
  UErrorCode error = U_ZERO_ERROR;
  const auto script = uscript_getScript(static_cast<UChar32>(c), &error);
  if (script == USCRIPT_LATIN || script == USCRIPT_COMMON || !PlainForm(c, 'x', form)) return false;
  return form.size() == 1 && u_isalpha(static_cast<UChar32>(form[0])) != 0;
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
      Add(next.at - at, next.at - at, true);
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
    out += form;
    Add(form.size(), next.bytes, false);
  }
  begun_ = raw.substr(at);
  if (at > 0) behind_.byte = raw[at - 1];
  return out;
}

void PlainText::Add(std::size_t plain_bytes, std::size_t raw_bytes, bool same) {
  const std::int64_t plain = plain_end_, raw = raw_end_;
  plain_end_ += static_cast<std::int64_t>(plain_bytes);
  raw_end_ += static_cast<std::int64_t>(raw_bytes);
  if (plain_bytes == 0) return;
  if (same && spans_.back().same && spans_.back().raw_end == raw && spans_.back().plain_end == plain) {
    spans_.back().plain_end = plain_end_;
    spans_.back().raw_end = raw_end_;
  } else {
    spans_.push_back({plain, raw, plain_end_, raw_end_, same});
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
  return span.same ? span.raw + (plain - span.plain) : span.raw;
}

std::int64_t PlainText::RawEnd(std::int64_t plain) const {
  if (plain <= 0) return 0;
  const Span& span = At(plain - 1);
  return span.same ? span.raw + (plain - span.plain) : span.raw_end;
}

std::int64_t PlainText::CharacterBegin(std::int64_t raw) const {
  const auto begins_later = [](std::int64_t at, const Span& span) { return at < span.raw; };
  const auto after = std::upper_bound(spans_.begin(), spans_.end(), raw, begins_later);
  if (after == spans_.begin()) return raw;
  const Span& span = *(after - 1);
  return !span.same && raw < span.raw_end ? span.raw : raw;
}

void PlainText::Forget(std::int64_t plain, std::int64_t raw) {
  const auto keep =
      std::find_if(spans_.begin(), spans_.end() - 1, [&](const Span& span) { return span.plain_end > plain || span.raw_end > raw; });
  spans_.erase(spans_.begin(), keep);
}

}  // namespace tollgate::policy
