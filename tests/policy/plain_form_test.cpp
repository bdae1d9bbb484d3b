#include <catch2/catch_test_macros.hpp>

#include <unicode/uchar.h>

#include "policy/fold.h"
#include "policy/json_escape.h"
#include "policy/plain_form.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {

TEST_CASE("The plain form of a text is what a reader takes it for") {
  struct Row {
    const char *text, *plain;
  };
  const Row rows[] = {
      {"plain ASCII, \t~", "plain ASCII, \t~"},
      {"caf\u00e9 na\u00efve stra\u00dfe", "caf\u00e9 na\u00efve stra\u00dfe"},
      {"\u65e5\u672c\u8a9e \U0001F600 \ud55c", "\u65e5\u672c\u8a9e \U0001F600 \ud55c"},
      {"\uff34\uff4f\uff4b\uff45\uff4e\uff20\uff11\uff12", "Token@12"},
      {"\u0661\u0662\u0663 \u09ea \U0001D7CE", "123 4 0"},
      {"\U0001D429\U0001D41A\u24e2\u24e2", "pass"},
      {"p\u0430\u0443p\u0430l \u0410\u0412\u0421 \u03bf\u03c1", "paypal ABC op"},
      {"\u0406BAN \u0456d", "IBAN id"},
      {"G\u0130ZL\u0130 STRA\u1e9eE \u023a\u2c6f k\u0131", "GIZLI STRA\u00dfE \u2c65\u0250 ki"},
      {"4111\u200b1111\u00ad1\u2060\ufeff1", "4111111111"},
      {"\u202esecret\u202c \u2066x\u2069", "secret x"},
      {"\uff8a\uff9f\uff7d\uff9e \u30cf\u309a", "\u30cf\u309a\u30b9\u3099 \u30cf\u309a"},
      {"s\u0592w\u093eo\u0592\u0592rd \u05b41\uff12\u05b4 caf\u00e9\u0e31s \u0436\u05b4 a\u3099 \U0001D165",
       "sword 12 caf\u00e9s \u0436 a "},
      {"\u05e9\u05b4\u05c1 \u0939\u093f\u0902\u200d\u0926\u0940 \u0e17\u0e35\u0e48 \u304b\u3099",
       "\u05e9\u05b4\u05c1 \u0939\u093f\u0902\u0926\u0940 \u0e17\u0e35\u0e48 \u304b\u3099"},
      {"p\u0337r\u0337o\u0337j\u0337", "proj"},
      {"a\u00a0b\u2003c\u3000d\u2028e", "a b c d\ne"},
      {"pages 3\u20135 \u2013 or 7\u20148 \u2014 done\u2014yes\u2026", "pages 3-5 \u2013 or 7-8 \u2014 done\u2014yes\u2026"},
      {"1\u20102\u20133\u20144\u22125", "1-2-3-4-5"},
      {"\ufb01nance \u2460 5\u339d", "finance 1 5cm"},
      {"h\U000E0069\U000E0064i", "hi"},
      {"a\1\2b\33\177c\u0080\u009fd\ue000\U000F0000e\ufdd0\ufffe\U0010ffffg\ufffc\ufffdh\u0600i\u0378j", "abcdeghij"},
      {"a\tb\nc\vd\fe\rf\u0085g", "a\tb\nc\vd\fe\rf\ng"},
      {"3\u2014x 3\1\u2014x x\u2014y", "3-x 3-x x\u2014y"},
      {"\u201cquoted\u201d it\u2019s", "\"quoted\" it's"},
      {"\u2018a\u2019 \u201ab\u201b \u201ec\u201f \u00abd\u00bb \u2039e\u203a 5\u20323\u2033 o\u02bci\u00b4m\uff07s \uff02",
       "'a' 'b' \"c\" \"d\" 'e' 5'3\" o'i'm's \""},
      {"\u201cno escape: \\n\u201d", "\"no escape: \\n\""},
      {R"({"a":"x\n4\t5\r\"6\/7\\8\b9"})", "{\"a\":\"x\n4\t5\r\"6/7\\89\"}"},
      {R"("\u0034\uff14\u00e9\u200b\u2028\ud83d\ude00\ud83dx\ude00")", "\"44\u00e9\n\U0001F600x\""},
      {R"("a\u0000b\u0001c\bd\fe\u007ff\u0080g\ue000h\ufffdi\\u0008j\x00k\ud800l\u0085m")", "\"abcd efghijkl\nm\""},
      {R"("s\u0592w\u05e9\u05b4")", "\"sw\u05e9\u05b4\""},
      {R"("in JSON in JSON: {\"a\":\"b\\nc\\\"d\\u0034\"}")", "\"in JSON in JSON: {\"a\":\"b\nc\"d4\"}\""},
      {R"("\d \u00g4 \ufffg \ x\)", R"("\d \u00g4 \ufffg \ x\)"},
      {R"(no quote: \n \u0034 C:\new)", R"(no quote: \n \u0034 C:\new)"},
      {R"({'a': 'x\n4\x34\\x34 \x4 \xg4'})", "{'a': 'x\n444 \\x4 \\xg4'}"},
      {R"("\\\\\\\\\\n")", "\"\\\\\n\""},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(ToPlain(row.text) == row.plain);
    CHECK((FirstDisguised(row.text) == std::string_view(row.text).size()) == (std::string_view(row.text) == row.plain));
  }
}

TEST_CASE("Nothing is seen of controls but white space, of private and unassigned characters, and of what stands for what is not there") {
  const auto is_unseen = [](UChar32 c) {
    if ((c >= '\t' && c <= '\r') || c == 0x85) return false;
    const std::uint32_t kinds = U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CN_MASK | U_GC_CO_MASK;
    return (U_GET_GC_MASK(c) & kinds) != 0 || c == 0xFFFC || c == 0xFFFD;
  };
  std::size_t tried = 0, wrong = 0;
  for (UChar32 c = 0; c <= 0x10FFFF; ++c) {
    if (!is_unseen(c)) continue;
    ++tried;
    // Among sixteen bytes and among fewer, which are looked at in two ways.
    for (const std::string_view around : {"ab", "0123456789 {}~xyz!:;", ""}) {
      std::string text(around);
      AppendUtf8(static_cast<char32_t>(c), text);
      text += around;
      const bool found = FirstDisguised(text) == around.size() && ToPlain(text) == std::string(around) + std::string(around);
      if (!found && ++wrong < 10) FAIL_CHECK("U+" << std::hex << c << " is seen");
    }
  }
  CHECK(wrong == 0);
  CHECK(tried > 900'000);
}

TEST_CASE("Every byte of ASCII is told from those that are not seen, wherever it stands among sixteen") {
  const std::string_view around = "ab\ncd\t~z{ 0123 <=>?@[]^_`|}A\r\v\fZ!#$%&()*";
  for (int c = 0; c < 0x80; ++c) {
    const bool unseen = (c < ' ' && (c < '\t' || c > '\r')) || c == 0x7F;
    for (std::size_t at = 0; at <= around.size(); ++at) {
      std::string text(around);
      text.insert(at, 1, static_cast<char>(c));
      INFO(c << " at " << at);
      REQUIRE(FirstDisguised(text) == (unseen ? at : text.size()));
      REQUIRE(ToPlain(text) == (unseen ? around : std::string_view(text)));
    }
  }
}

TEST_CASE("Every byte of a plain text leads back to the character that gave it") {
  const std::string_view text = "a\u200b\uff11b\ufb01\u200b\u00e9";  // a(0) zwsp(1) 1(4) b(7) fi(8) zwsp(11) é(14)
  for (const std::size_t split : {0, 1, 4, 7, 8, 11, 14}) {
    PlainText plain;
    std::string out = plain.Append(text.substr(0, split));
    out += plain.Append(text.substr(split));
    REQUIRE(out == "a1bfi\u00e9");
    const std::int64_t begins[] = {0, 4, 7, 8, 8, 14}, ends[] = {1, 7, 8, 11, 11};
    for (std::int64_t i = 0; i < 6; ++i) CHECK(plain.RawBegin(i) == begins[i]);
    for (std::int64_t i = 0; i < 5; ++i) CHECK(plain.RawEnd(i + 1) == ends[i]);
    CHECK(plain.RawEnd(7) == 16);
    CHECK(plain.RawBegin(7) == 16);
    plain.Forget(3, 8);
    CHECK(plain.RawBegin(3) == 8);
  }
}

TEST_CASE("Whatever quotation marks a text is written with, it reads as with those of ASCII, each in its place") {
  const std::vector<std::string> single = {"\u00b4", "\u02b9", "\u02bb", "\u02bc", "\u2018", "\u2019",
                                           "\u201a", "\u201b", "\u2032", "\u2039", "\u203a", "\uff07"};
  const std::vector<std::string> pairs = {"\u00ab", "\u00bb", "\u201c", "\u201d", "\u201e", "\u201f", "\u2033", "\uff02"};
  std::mt19937_64 random(TestSeed());
  INFO("TOLLGATE_SEED=" << TestSeed());
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    std::string typed, set;
    std::vector<std::int64_t> begins;
    for (std::size_t n = 1 + below(40); n > 0; --n) {
      const char c = "'\"ab 1-"[below(7)];
      typed += c;
      begins.push_back(static_cast<std::int64_t>(set.size()));
      const auto& marks = c == '"' ? pairs : single;
      set += (c == '"' || c == '\'') && below(4) > 0 ? marks[below(marks.size())] : std::string(1, c);
    }
    begins.push_back(static_cast<std::int64_t>(set.size()));
    PlainText plain;
    std::string grown;
    for (std::size_t at = 0, end = 0; at < set.size(); at = end) {
      for (std::size_t n = 1 + below(5); n > 0 && end < set.size(); --n) end += CodePointLength(set, end);
      grown += plain.Append(std::string_view(set).substr(at, end - at), end < set.size());
    }
    REQUIRE(grown == typed);
    REQUIRE(ToPlain(set) == typed);
    for (std::size_t i = 0; i < typed.size(); ++i) {
      REQUIRE(plain.RawBegin(static_cast<std::int64_t>(i)) == begins[i]);
      REQUIRE(plain.RawEnd(static_cast<std::int64_t>(i) + 1) == begins[i + 1]);
    }
  }
}

TEST_CASE("An escape is one character, in whatever pieces it comes, and leads back to all of its bytes") {
  const std::string_view text = R"("a\n\\ud83d\\ude00b\u00)";
  for (std::size_t split = 0; split <= text.size(); ++split) {
    for (std::size_t again = split; again <= text.size(); ++again) {
      PlainText plain;
      std::string out = plain.Append(text.substr(0, split), true);
      out += plain.Append(text.substr(split, again - split), true);
      CHECK(plain.raw_end() + static_cast<std::int64_t>(kEscapeBytesMax) >= static_cast<std::int64_t>(again));
      out += plain.Append(text.substr(again));
      REQUIRE(out == "\"a\n\U0001F600b\\u00");
      CHECK(plain.raw_end() == static_cast<std::int64_t>(text.size()));
      CHECK(plain.RawBegin(2) == 2);
      CHECK(plain.RawEnd(3) == 4);
      CHECK(plain.RawBegin(3) == 4);
      CHECK(plain.RawEnd(7) == 18);
      for (const std::int64_t inside : {4, 5, 11, 17}) CHECK(plain.CharacterBegin(inside) == 4);
      for (const std::int64_t outside : {0, 1, 18, 19, 22}) CHECK(plain.CharacterBegin(outside) == outside);
      CHECK(plain.CharacterBegin(3) == 2);
    }
  }
}

TEST_CASE("Of many unseen characters in a row some are seen") {
  std::string text = "4";
  for (int i = 0; i < PlainText::kUnseenMax - 1; ++i) text += "\u200b";
  CHECK(ToPlain(text + "1") == "41");
  CHECK(ToPlain(text + "\u200b1") == "4\uFFFD1");
  CHECK(ToPlain(text + "\1x") == "4\uFFFDx");
  CHECK(ToPlain(std::string(PlainText::kUnseenMax, '\0')) == "\uFFFD");
}

TEST_CASE("Letters that look Latin are known, others are not") {
  for (const char32_t c : {U'\u0430', U'\u0441', U'\u0440', U'\u03bf', U'\u0410', U'\u0456', U'\u043a'}) CHECK(LooksLatin(c));
  for (const char32_t c : {U'a', U'\u00e9', U'\u0436', U'\u042f', U'\u03a9', U'\uff41', U'1', U'\u4e00'}) CHECK_FALSE(LooksLatin(c));
}

}  // namespace tollgate::policy
