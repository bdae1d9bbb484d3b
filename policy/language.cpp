// A stretch is of the script that most of its letters are of. Where a script is one language's here, that is it; Han with kana is Japanese,
// without it Chinese. Else each known word gives a point, shared by the languages that have it, and each letter of a language's own a third
// of one, shared as well. The best must have enough of both: a point for every six words at least, and a quarter more than the next.
//
// Tested by tests/policy/language_test.cpp.
#include "policy/language.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include "base/status.h"
#include "policy/fold.h"
#include "policy/language_words.h"

namespace tollgate::policy {
namespace {

constexpr std::array<std::string_view, kLanguages> kCodes = {"ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi",
                                                             "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl", "no",
                                                             "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "zh"};

enum Script : std::uint8_t { kLatin, kCyrillic, kArabic, kGreek, kHebrew, kDevanagari, kThai, kHangul, kKana, kHan, kOther, kNoLetter };
constexpr std::size_t kScripts = kOther + 1;
constexpr std::size_t kWordBytesMax = 24;
constexpr double kPointsAWord = 1.0 / 6, kLetterPoints = 1.0 / 3, kLead = 1.25;
constexpr std::int64_t kWordsMin = 3, kWideLetters = 3;

Script LookUpScript(char32_t c) {
  if (u_isalpha(static_cast<UChar32>(c)) == 0) return kNoLetter;
  UErrorCode error = U_ZERO_ERROR;
  switch (uscript_getScript(static_cast<UChar32>(c), &error)) {
    case USCRIPT_LATIN: return kLatin;
    case USCRIPT_CYRILLIC: return kCyrillic;
    case USCRIPT_ARABIC: return kArabic;
    case USCRIPT_GREEK: return kGreek;
    case USCRIPT_HEBREW: return kHebrew;
    case USCRIPT_DEVANAGARI: return kDevanagari;
    case USCRIPT_THAI: return kThai;
    case USCRIPT_HANGUL: return kHangul;
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA: return kKana;
    case USCRIPT_HAN: return kHan;
    default: return kOther;
  }
}

// Of the first characters, which hold the alphabets that languages share, scripts are kept.
constexpr char32_t kKept = 0x700;
Script ScriptOf(char32_t c) {
  static const auto kept = [] {
    std::array<Script, kKept> out{};
    for (char32_t each = 0; each < kKept; ++each) out[each] = LookUpScript(each);
    return out;
  }();
  return c < kKept ? kept[c] : LookUpScript(c);
}

bool Wide(Script script) { return script == kHangul || script == kKana || script == kHan; }

Language Named(std::string_view code) {
  return static_cast<Language>(std::lower_bound(kCodes.begin(), kCodes.end(), code) - kCodes.begin());
}

// Which languages have a word, and which a letter.
struct Tables {
  std::unordered_map<std::string_view, std::vector<Language>> words;
  std::array<std::vector<Language>, kKept> letters;
};
const Tables& AllTables() {
  static const Tables* const tables = [] {
    auto* out = new Tables();
    for (const LanguageWords& language : AllLanguageWords()) {
      const Language its = Named(language.code);
      TG_CHECK(its < kLanguages && kCodes[its] == language.code, "words of a language that is none");
      for (std::size_t at = 0, end = 0; at < language.words.size(); at = end + 1) {
        end = std::min(language.words.find(' ', at), language.words.size());
        std::vector<Language>& has = out->words[language.words.substr(at, end - at)];
        if (has.empty() || has.back() != its) has.push_back(its);
      }
      for (std::size_t at = 0, length = 0; at < language.letters.size(); at += length) {
        out->letters[DecodeAt(language.letters, at, length)].push_back(its);
      }
    }
    return out;
  }();
  return *tables;
}

using Points = std::array<double, kLanguages>;

void Share(const std::vector<Language>& languages, double points, Points& out) {
  for (const Language language : languages) out[language] += points / static_cast<double>(languages.size());
}

// Reads one stretch.
class Reading {
 public:
  void Read(std::string_view text) {
    for (std::size_t at = 0, length = 0; at < text.size(); at += length) {
      const char32_t c = DecodeAt(text, at, length);
      const Script script = ScriptOf(c);
      if (script == kNoLetter) {
        const bool inside =
            c == '\'' || c == U'\u2019' || c == U'\u200c' || (c >= 0x80 && (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0);
        if (inside && !word_.empty())
          word_ += c == U'\u2019' ? "'" : text.substr(at, length);
        else
          EndWord();
        continue;
      }
      ++letters_[script];
      const auto low = static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
      if (low >= 0x80 && script <= kArabic) {
        if (low < kKept) Share(AllTables().letters[low], kLetterPoints, points_);
      }
      if (word_.size() <= kWordBytesMax) AppendUtf8(low, word_);
    }
    EndWord();
  }

  // Of what was read; of wide ones each counts for some.
  std::int64_t letters() const {
    std::int64_t out = 0;
    for (std::size_t i = 0; i < kScripts; ++i) out += letters_[i] * (Wide(static_cast<Script>(i)) ? kWideLetters : 1);
    return out;
  }

  Language Says() const {
    const auto most = std::max_element(letters_.begin(), letters_.end());
    if (*most == 0) return kUnknown;
    switch (static_cast<Script>(most - letters_.begin())) {
      case kGreek: return Named("el");
      case kHebrew: return Named("he");
      case kDevanagari: return Named("hi");
      case kThai: return Named("th");
      case kHangul: return Named("ko");
      case kKana: return Named("ja");
      case kHan: return letters_[kKana] * 10 >= letters_[kHan] ? Named("ja") : Named("zh");
      case kOther:
      case kNoLetter: return kUnknown;
      case kLatin:
      case kCyrillic:
      case kArabic: return ByWords();
    }
    return kUnknown;
  }

 private:
  void EndWord() {
    if (word_.empty()) return;
    ++words_;
    if (const auto found = AllTables().words.find(word_); found != AllTables().words.end()) Share(found->second, 1, points_);
    word_.clear();
  }

  Language ByWords() const {
    const auto best = std::max_element(points_.begin(), points_.end());
    double next = 0;
    for (const double& points : points_) next = &points == &*best ? next : std::max(next, points);
    const bool enough = words_ >= kWordsMin && *best >= kPointsAWord * static_cast<double>(words_) && *best >= 1;
    return enough && *best >= kLead * next ? static_cast<Language>(best - points_.begin()) : kUnknown;
  }

  static void AppendUtf8(char32_t c, std::string& out) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      out += "?";  // No word here has such a letter.
    }
  }

  std::array<std::int64_t, kScripts> letters_{};
  Points points_{};
  std::int64_t words_ = 0;
  std::string word_;
};

}  // namespace

std::span<const std::string_view> LanguageCodes() { return kCodes; }

std::optional<Language> LanguageByCode(std::string_view code) {
  const Language language = Named(code);
  return language < kLanguages && kCodes[language] == code ? std::optional(language) : std::nullopt;
}

void AddLanguages(std::string_view text, LanguageLetters& letters) {
  Reading reading;
  for (std::size_t at = 0, end = 0; at < text.size(); at = end) {
    end = std::min(text.find('\n', at), text.size() - 1) + 1;
    reading.Read(text.substr(at, end - at));
    if (reading.letters() < kStretchLetters && end < text.size()) continue;
    letters[reading.letters() < kStretchLetters ? kUnknown : reading.Says()] += reading.letters();
    reading = Reading();
  }
}

}  // namespace tollgate::policy
