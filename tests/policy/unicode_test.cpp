// The `unicode` detector: tricks, and honest text that looks like them.
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

struct Row {
  const char *kind, *text, *out;
};

}  // namespace

TEST_CASE("Tricks with Unicode are found") {
  const Row rows[] = {
      {"invisible", "pass\u200bword", "pass[INVISIBLE]word"},
      {"invisible", "a\u2060\u2061\ufeffb", "a[INVISIBLE]b"},
      {"invisible", "a\u200db", "a[INVISIBLE]b"},
      {"invisible", "x\ufe0fy", "x[INVISIBLE]y"},
      {"invisible", "hi\U000E0101\U000E0102\U000E0103", "hi[INVISIBLE]"},
      {"invisible", "left\u200eright", "left[INVISIBLE]right"},
      {"invisible", "sword\1\2fish\177", "sword[INVISIBLE]fish[INVISIBLE]"},
      {"invisible", "in\ufdd0\uffffside\U0010FFFE", "in[INVISIBLE]side[INVISIBLE]"},
      {"bidi", "if (admin\u202e // \u2066", "if (admin[BIDI] // [BIDI]"},
      {"tags", "hello\U000E0069\U000E0067\U000E006E", "hello[TAGS]"},
      {"homoglyph", "log in to p\u0430ypal now", "log in to [HOMOGLYPH] now"},
      {"homoglyph", "\u0440\u0430ypal", "[HOMOGLYPH]"},
      {"homoglyph", "micr\u03bfsoft", "[HOMOGLYPH]"},
      {"full_width", "call \uff14\uff11\uff11 \uff41\uff20\uff42", "call [FULL_WIDTH] [FULL_WIDTH]"},
      {"styled", "\U0001D425\U0001D428\U0001D420 in", "[STYLED] in"},
      {"all", "p\u0430y\u200b", "[HOMOGLYPH][INVISIBLE]"},
  };
  for (const Row& row : rows) {
    INFO(row.kind << ": " << row.text);
    const auto policies = MustCompile(OneRule(std::string("{unicode: ") + row.kind + "}", "redact"));
    const Filtered whole = MustFilter(*policies, row.text);
    CHECK(whole.text == row.out);
    CheckStream(*policies, row.text, whole, [] { return std::size_t{1}; });
  }
}

TEST_CASE("Honest text that uses the same characters is left alone") {
  const auto policies = MustCompile(OneRule("{unicode: [invisible, bidi, tags, homoglyph, styled]}", "redact"));
  for (const char* text :
       {"plain", "\U0001F468\u200d\U0001F469\u200d\U0001F467 family", "\u2764\ufe0f heart, 1\ufe0f\u20e3 and #\ufe0f\u20e3",
        "\U0001F441\ufe0f\u200d\U0001F5E8\ufe0f", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937",
        "\u05e9\u05dc\u05d5\u05dd (a)\u200f.", "\ufeffstarts with a mark",
        "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F wins", "Donau\u00addampf",
        "SMS\u043a\u0430 \u0438 PDF\u043a\u0430", "TNF\u03b1 and IL-1\u03b2", "\u03a9m, \u03bcm",
        "\u041f\u0440\u0438\u0432\u0435\u0442, world", "\u0441\u043e\u0440 \u043f\u0430\u0440\u0430",
        "caf\u00e9 na\u00efve \u0141\u00f3d\u017a", "\u845b\U000E0100\u98fe"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
}

TEST_CASE("Controls, private characters and what stands for others are no tricks where honest text has them") {
  const auto policies = MustCompile(OneRule("{unicode: all}", "redact"));
  for (const char* text :
       {"tabs\tand\vlines\f\r\n", "\33[31mred\33[0m", "it\u0092s \u0093quoted\u0094", "\uf0b7 item \uf8ff", "fa\ufffdade \ufffc"}) {
    INFO(text);
    CHECK(MustFilter(*policies, text).text == text);
  }
}

TEST_CASE("A million invisible characters are one placeholder") {
  const auto policies = MustCompile(OneRule("{unicode: invisible}", "redact"));
  std::string text = "a";
  for (int i = 0; i < 1'000'000; ++i) text += "\u200b";
  const Filtered whole = MustFilter(*policies, text + "b");
  CHECK(whole.text == "a[INVISIBLE]b");
  CheckStream(*policies, text + "b", whole, [] { return std::size_t{997}; });
}

}  // namespace tollgate::policy
