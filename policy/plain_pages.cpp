// Plain forms are made a page of 256 characters at a time, when the first of them is met, and kept for the life of the process: most texts
// touch a few pages, and a page takes well under a millisecond.
//
// Look-alikes. Unicode's table gives every character a skeleton, the same for all that look alike; ASCII characters are found by theirs.
// Some share one (I, l, 1 and |), so the case of the look-alike decides. Small letters that look like capitals (Cyrillic т) go by them.
// Only scripts whose letters pass for Latin are asked: what an Arabic alef looks like helps nobody.
//
// A letter whose other case takes another number of bytes, which folding leaves alone, goes by what all its cases share: STRAẞE is STRAßE.
//
// Tested by tests/policy/plain_form_test.cpp.
#include "policy/plain_pages.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/uspoof.h>

#include "base/status.h"
#include "policy/fold.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kPages = 0x1100;
constexpr UChar32 kNextLine = 0x85;                   // A control that is white space.
constexpr UChar32 kDottedCapitalI = 0x130;            // Of Turkish; ı looks like i already.
constexpr UChar32 kEllipsis = 0x2026;                 // Prose is full of them, and three full stops hide nothing.
constexpr std::string_view kPunctuation = "@./:_=+";  // Of addresses and assignments.
// Nothing hides behind quotation marks, but phones, word processors and models write these for the two of ASCII, also within words.
constexpr UChar32 kSingleQuotes[] = {0xB4, 0x2B9, 0x2BB, 0x2BC, 0x2018, 0x2019, 0x201A, 0x201B, 0x2032, 0x2039, 0x203A};
constexpr UChar32 kDoubleQuotes[] = {0xAB, 0xBB, 0x201C, 0x201D, 0x201E, 0x201F, 0x2033};

// Of a quotation mark; else 0.
char QuoteOf(UChar32 c) {
  const auto is_one = [c](const auto& marks) { return std::find(std::begin(marks), std::end(marks), c) != std::end(marks); };
  return is_one(kSingleQuotes) ? '\'' : is_one(kDoubleQuotes) ? '"' : '\0';
}

bool IsKanaMark(UChar32 c) { return c == 0x3099 || c == 0x309A; }

// Not of ASCII. Controls, private characters and those that are none show nothing or what the reader's font has, and no value holds them.
bool Unseen(UChar32 c) {
  if (c == kNextLine) return false;
  const std::uint32_t kind = U_GET_GC_MASK(c);
  if ((kind & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK | U_GC_CN_MASK)) != 0) return true;
  if (u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT)) return true;
  if (c == 0xFFFC || c == 0xFFFD) return true;  // In the place of a picture, and of what could not be read.
  if (c == 0x2800) return true;                 // An empty Braille cell.
  if (IsKanaMark(c)) return false;              // They spell kana, and half-width kana have no other way to.
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

const PlainPage* MakePage(std::size_t index) {
  auto page = std::make_unique<PlainPage>();
  page->bytes.fill(PlainPage::kItself);
  for (std::size_t low = 0; low < 256; ++low) {
    const auto c = static_cast<UChar32>(index << 8 | low);
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    if (c < 0x80 || surrogate || c == kEllipsis) continue;
    page->marks[low] = (U_GET_GC_MASK(c) & U_GC_M_MASK) != 0 && !Unseen(c);
    std::string form, itself;
    AppendUtf8(static_cast<char32_t>(c), itself);
    if (const char quote = QuoteOf(c); quote != 0) {
      page->bytes[low] = 1;
      page->forms[low][0] = quote;
      continue;
    }
    UErrorCode error = U_ZERO_ERROR;
    const icu::UnicodeString compatible = Nfkc().normalize(icu::UnicodeString(c), error);
    for (std::int32_t i = 0; U_SUCCESS(error) && i < compatible.length(); i = compatible.moveIndex32(i, 1)) {
      AppendForm(compatible.char32At(i), form);
    }
    if (U_FAILURE(error) || form == itself || form.size() > PlainPage::kFormBytesMax) continue;
    page->bytes[low] = static_cast<std::uint8_t>(form.size());
    std::copy(form.begin(), form.end(), page->forms[low].begin());
  }
  return page.release();
}

}  // namespace

const PlainPage& PlainPageOf(char32_t c) {
  const std::size_t index = c >> 8;
  static std::array<std::atomic<const PlainPage*>, kPages> pages;
  const PlainPage* page = pages[index].load(std::memory_order_acquire);
  if (page != nullptr) return *page;
  std::unique_ptr<const PlainPage> made(MakePage(index));
  if (!pages[index].compare_exchange_strong(page, made.get(), std::memory_order_acq_rel)) return *page;  // Another thread was first.
  return *made.release();
}

bool Spells(char32_t mark, char32_t seen) {
  if (seen < 0x80) return false;
  if (seen >> 7 == mark >> 7) return true;  // Most scripts are so close together.
  const auto base = static_cast<UChar32>(seen), c = static_cast<UChar32>(mark);
  if (IsKanaMark(c)) return uscript_hasScript(base, USCRIPT_HIRAGANA) != 0 || uscript_hasScript(base, USCRIPT_KATAKANA) != 0;
  UErrorCode error = U_ZERO_ERROR;
  return uscript_hasScript(base, uscript_getScript(c, &error)) != 0;
}

}  // namespace tollgate::policy
