#include <algorithm>

#include "policy/fold.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {

TEST_CASE("Folding keeps every offset and brings the cases of a letter together") {
  struct Row {
    const char *text, *folded;
  };
  const Row rows[] = {{"ABC xyz_9", "abc xyz_9"},
                      {"\u00c9TOILE", "\u00e9toile"},
                      {"\u0416\u0423\u041a", "\u0436\u0443\u043a"},
                      {"\u03a3\u03a9", "\u03c3\u03c9"},
                      {"\u03c2", "\u03c3"},
                      {"\u0178", "\u00ff"},
                      {"\u0150\u0141", "\u0151\u0142"},
                      {"\u00d7\u00f7", "\u00d7\u00f7"},
                      {"\u65e5\u672cA", "\u65e5\u672ca"},
                      {"\u0218EDIN\u021aA \u01a0\u01cd", "\u0219edin\u021ba \u01a1\u01ce"},
                      {"B\u1ea2O M\u1eacT", "b\u1ea3o m\u1eadt"},
                      {"\u1ca1\u1c90 \u10a0", "\u10e1\u10d0 \u2d00"},
                      {"\u13aa \uab7a \u2c00 \ua722", "\u13aa \u13aa \u2c30 \ua723"},
                      {"\uff21 \u2160 \u24b6", "\uff41 \u2170 \u24d0"},
                      {"\U00010400\U0001e900", "\U00010428\U0001e922"},
                      {"\u0130 \u0131 \u017f \u212a \u1e9e \u023a", "\u0130 \u0131 \u017f \u212a \u1e9e \u023a"},
                      {"\xc8 \xc0\xc3 \xf7\xbf\xbf\xbf A", "\xc8 \xc0\xc3 \xf7\xbf\xbf\xbf a"}};
  for (const Row& row : rows) CHECK(FoldCase(row.text) == row.folded);
  for (char32_t c = 1; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text, folded, storage;
    AppendUtf8(c, text);
    AppendUtf8(FoldCodePoint(c), folded);
    if (text.size() != folded.size() || FoldCase(text) != folded || FoldCodePoint(FoldCodePoint(c)) != FoldCodePoint(c) ||
        (c >= 0x80 && FoldedView(text, storage) != folded))
      FAIL("code point " << static_cast<unsigned>(c));
  }
}

TEST_CASE("All cases of a letter are listed, and those of as many bytes fold together") {
  std::size_t folded = 0;
  for (const auto& [letter, to] : CasePairs()) {
    REQUIRE(letter != to);
    const bool as_long = Utf8Length(letter) == Utf8Length(to);
    if (FoldCodePoint(letter) != (as_long ? to : letter)) FAIL("code point " << static_cast<unsigned>(letter));
    folded += as_long ? 1 : 0;
  }
  std::size_t differ = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) differ += FoldCodePoint(c) != c ? 1 : 0;
  CHECK(folded == differ);
  CHECK(folded > 1300);  // Of Unicode 15; letters are added, none is taken away.
  const auto holds = [](char32_t letter, char32_t to) {
    return std::any_of(CasePairs().begin(), CasePairs().end(), [&](const CasePair& p) { return p.letter == letter && p.folded == to; });
  };
  CHECK(holds(U'K', U'k'));
  CHECK(holds(0x212A, U'k'));
  CHECK(holds(0x1E9E, 0xDF));
  CHECK(holds(0x1C90, 0x10D0));
}

TEST_CASE("A text is folded wherever in it a letter stands, and not copied where only ASCII has cases") {
  for (std::size_t before = 0; before < 20; ++before) {
    for (const std::string letter : {"\u00c9", "\u0218", "\u1ea2", "\U00010400"}) {
      std::string storage;
      const std::string text = std::string(before, 'x') + letter + "\u65e5 A" + letter, folded = FoldCase(letter);
      CHECK(FoldedView(text, storage) == std::string(before, 'x') + folded + "\u65e5 a" + folded);
      CHECK(FoldedView(text.substr(0, before + letter.size()), storage) == std::string(before, 'x') + folded);
    }
  }
  std::string storage;
  const std::string text = "\u201cDashes\u201d \u2013 caf\u00e9, \u65e5\u672c, \ud55c\uad6d, \ufb01 and \U0001F600; stra\u00dfe";
  CHECK(FoldedView(text, storage).data() == text.data());
  CHECK(FoldedView(text, storage).size() == text.size());
}

TEST_CASE("Words are found in any case of their script, also where the cases take different numbers of bytes") {
  struct Row {
    const char *detect, *text;
  };
  const Row rows[] = {
      {"{keywords: [\u0219edin\u021b\u0103 secret\u0103]}", "\u0218EDIN\u021a\u0102 SECRET\u0102"},
      {"{keywords: [\u0219edin\u021b\u0103 secret\u0103]}", "\u0218edin\u021b\u0103 secret\u0103"},
      {"{keywords: [b\u1ea3o m\u1eadt]}", "B\u1ea2O M\u1eacT"},
      {"{keywords: [B\u1ea2O M\u1eacT]}", "b\u1ea3o m\u1eadt"},
      {"{keywords: [\u10e1\u10d0\u10d8\u10d3\u10e3\u10db\u10da\u10dd]}", "\u1ca1\u1c90\u1c98\u1c93\u1ca3\u1c9b\u1c9a\u1c9d"},
      {"{regex: '\u021bar\u0103', ignore_case: true}", "\u021aAR\u0102"},
      {"{regex: '[\u0219-\u021b]ar\u0103', ignore_case: true}", "\u021aAR\u0102"},
      {"{keywords: [gizli]}", "G\u0130ZL\u0130"},
      {"{keywords: [G\u0130ZL\u0130]}", "gizli"},
      {"{keywords: [kapal\u0131]}", "KAPALI"},
      {"{keywords: [\u015fifre]}", "\u015e\u0130FRE"},
      {"{regex: gizli, ignore_case: true}", "G\u0130ZL\u0130"},
      {"{keywords: [stra\u00dfe]}", "STRA\u1e9eE"},
      {"{keywords: [STRA\u1e9eE]}", "stra\u00dfe"},
      {"{regex: stra\u00dfe, ignore_case: true}", "STRA\u1e9eE"},
      {"{keywords: [\u2c65b\u0250]}", "\u023aB\u2c6f"},
      {"{keywords: [\u03bb\u03cc\u03b3\u03bf\u03c2]}", "\u039b\u038c\u0393\u039f\u03a3"},
  };
  for (const Row& row : rows) {
    INFO(row.detect << " in " << row.text);
    const auto policies = MustCompile(OneRule(row.detect, "redact"));
    const std::string text = std::string("\u00e9 ") + row.text + ", " + row.text + "!";
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text == "\u00e9 [REDACTED], [REDACTED]!");
    for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, text, whole, [points] { return points; });
  }
  const auto exact = MustCompile(OneRule("{keywords: [kapal\u0131, gizli, \u021bar\u0103], ignore_case: false}", "redact"));
  for (const char* text : {"kapali", "KAPALI", "G\u0130ZL\u0130", "\u021aAR\u0102"}) CHECK(MustFilter(*exact, text).text == text);
}

TEST_CASE("Code points are decoded forwards and backwards") {
  const std::string text = "a\u00e9\u20ac\U0001F600";
  std::size_t length = 0;
  CHECK(DecodeAt(text, 0, length) == 'a');
  CHECK(DecodeAt(text, 1, length) == 0xE9);
  CHECK(DecodeAt(text, 3, length) == 0x20AC);
  CHECK(DecodeAt(text, 6, length) == 0x1F600);
  CHECK(length == 4);
  CHECK(DecodeBefore(text, text.size()) == 0x1F600);
  CHECK(DecodeBefore(text, 6) == 0x20AC);
  CHECK(DecodeBefore(text, 3) == 0xE9);
  CHECK(DecodeBefore(text, 1) == 'a');
  CHECK(DecodeBefore(text, 0) == 0);
  CHECK(DecodeAt("\xC3", 0, length) == 0xC3);
}

TEST_CASE("A byte that begins no code point is one of its own, also where four bytes would make a number in range") {
  for (const std::string text : {"\xf8\x90\x80\x80", "\xff\x90\x80\x80", "\x80x", "\xe2\x82"}) {
    std::size_t length = 0;
    CHECK(DecodeAt(text, 0, length) == static_cast<unsigned char>(text[0]));
    CHECK(length == 1);
  }
}

TEST_CASE("Letters of spaced scripts are part of words; punctuation and unspaced scripts are not") {
  for (const char32_t c : {U'a', U'Z', U'0', U'\u00e9', U'\u0436', U'\u03c9', U'\u05d0', U'\u0627', U'\uac00', U'\uff21'})
    CHECK(IsWordCodePoint(c));
  for (const char32_t c :
       {U' ', U'_', U'-', U'.', U'\u00a0', U'\u201c', U'\u2014', U'\u20ac', U'\u3002', U'\u65e5', U'\u3042', U'\U0001F600', U'\u00d7'})
    CHECK_FALSE(IsWordCodePoint(c));
}

}  // namespace tollgate::policy
