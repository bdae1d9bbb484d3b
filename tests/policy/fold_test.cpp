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
                      {"\u65e5\u672cA", "\u65e5\u672ca"}};
  for (const Row& row : rows) CHECK(FoldCase(row.text) == row.folded);
  for (char32_t c = 1; c < 0x10000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text, folded;
    AppendUtf8(c, text);
    AppendUtf8(FoldCodePoint(c), folded);
    if (text.size() != folded.size() || FoldCase(text) != folded || FoldCodePoint(FoldCodePoint(c)) != FoldCodePoint(c))
      FAIL("code point " << static_cast<unsigned>(c));
  }
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
