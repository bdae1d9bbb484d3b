// Keywords and regexes that look right and would find nothing: they are read as they are meant, or refused.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/bundle.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

// What a rule with this `detect` leaves of `text`, whole and in pieces.
std::string Filter(const std::string& detect, const std::string& text) {
  const auto policies = MustCompile(OneRule(detect, "replace", "    replacement: '#'\n"));
  const Filtered whole = MustFilter(*policies, text);
  for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, text, whole, [points = points] { return points; });
  return whole.text;
}

}  // namespace

TEST_CASE("What stands at a keyword's edges and is not seen there is not of it, unless it is looked for inside words") {
  const std::string text = "a falcon, the falcon. falcon";
  for (const std::string edge : {" ", "\\t", "\\n", "\\r\\n", "\\u00a0", "\\uFEFF", "\\u200b", "\\u3000", "\\b", "\\u00ad \\u00a0"}) {
    INFO(edge);
    CHECK(Filter("{keywords: [\"falcon" + edge + "\"]}", text) == "a #, the #. #");
    CHECK(Filter("{keywords: \"" + edge + "falcon\"}", text) == "a #, the #. #");
    CHECK_THAT(CompileError(OneRule("{keywords: [\"" + edge + "\"]}", "flag")), ContainsSubstring("not blank"));
    const std::string list =
        "version: 1\nname: t\nlists: {a: [\"falcon" + edge + "\"]}\nrules:\n- {id: r, detect: {list: a}, do: redact}\n";
    CHECK(MustFilter(*MustCompile(list), "the falcon.").text == "the [REDACTED].");
  }
  CHECK(Filter("{keywords: [' of '], whole_word: false}", "one of them, of") == "one#them, of");
}

TEST_CASE("A keyword written with a no-break space, a soft hyphen or a typographic hyphen is the one of ordinary text") {
  for (const char* word :
       {"project\u00a0falcon", "project\u2003falcon", "project fal\u00adcon", "\ufeffproject falcon", "project\u200b falcon"}) {
    INFO(word);
    CHECK(Filter(std::string("{keywords: ['") + word + "']}", "Project falcon; project\n falcon") == "#; #");
    CHECK(Filter(std::string("{keywords: ['") + word + "']}", std::string("the ") + word + ".").ends_with("#."));
    CHECK(Filter(std::string("{keywords: ['") + word + "'], ignore_case: false}", "project falcon Project Falcon") == "# Project Falcon");
  }
  CHECK(Filter("{keywords: ['x\u2011ray']}", "x-ray x\u2011ray x\u2010ray xray") == "# # # xray");
  // Letters are not what they look like.
  CHECK(Filter("{keywords: ['\u0441\u043e\u0440']}", "cop \u0441\u043e\u0440") == "cop #");
  CHECK(Filter("{keywords: ['e\u0301t\u00e9']}", "ete \u00e9t\u00e9 e\u0301te\u0301") == "ete # #");
}

TEST_CASE("A keyword that is marks alone is about these marks, and about no others") {
  struct Row {
    const char *word, *text, *filtered;
  };
  const Row rows[] = {
      {"\u00ab", "say \"x\" \u00aby\u00bb", "say \"x\" #y\u00bb"},
      {"\u2033", "12\" 12\u2033", "12\" 12#"},
      {"\u2010", "a-b a\u2010b", "a-b a#b"},
      {"\uff1a", "a:b a\uff1ab", "a:b a#b"},
      {"\u201c-\u201d", "a \"-\" b \u201c-\u201d", "a \"-\" b #"},
      {"--\u200b>", "a --> b", "a # b"},  // What is not seen is nothing here too.
      {"5\u2033", "a 5\" pipe, a 5\u2033 pipe", "a # pipe, a # pipe"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(Filter(std::string("{keywords: ['") + row.word + "'], whole_word: false}", row.text) == row.filtered);
  }
}

TEST_CASE("A block's last line end is not of a keyword or a regex, and its lines are no list") {
  const std::string head = "version: 1\nname: \u00e9\nrules:\n  - id: r\n    do: redact\n    detect:\n";
  for (const char* detect :
       {"      keywords: |\n        falcon\n", "      keywords: >\n        falcon\n\n", "      keywords:\n        - |\n          falcon\n",
        "      keywords: &a |\n        falcon\n", "      keywords: |-\n        falcon\n", "      regex: |\n        \\bfalcon\\b\n",
        "      regex: !!str >\n        \\bfalcon\\b\n", "      regex:\n        - x\n        - |\n          falcon\n"}) {
    for (const char* mark : {"", "\ufeff"}) {
      INFO(mark << detect);
      const auto policies = MustCompile(mark + head + detect);
      CHECK(MustFilter(*policies, "the falcon is. falcon, a falcon").text == "the [REDACTED] is. [REDACTED], a [REDACTED]");
    }
  }
  CHECK_THAT(CompileError(head + "      keywords: |\n        falcon\n        eagle\n"),
             ContainsSubstring("test.yaml:7:17: the lines of a block are one keyword; write a list"));
  CHECK_THAT(CompileError(head + "      keywords: |+\n\n\n"), ContainsSubstring("not blank"));
  CHECK(MustFilter(*MustCompile(head + "      keywords: \"new\\nyork\"\n"), "in New York").text == "in [REDACTED]");
  // Where a line's end is written in the pattern, it is meant.
  CHECK(MustFilter(*MustCompile(head + "      regex: \"falcon\\n\"\n"), "falcon. falcon\n").text == "falcon. [REDACTED]");
}

TEST_CASE("A regex that holds what its author does not see is refused, with what YAML made of it and what to write") {
  struct Row {
    const char *regex, *says;
  };
  const Row rows[] = {
      {"\"\\bfalcon\\b\"", "U+0008, as YAML makes them of \\b and \\P in double quotes; put the pattern in single quotes, or write \\x{8}"},
      {"[x, \"fal\\0con\"]", "U+0000"},
      {"\"[\\b]x\"", "U+0008"},
      {"\"\\P{L}x\"", "U+2029"},
      {"\"x\\Ly\"", "U+2028"},
      {"\"x\\Ny\"", "is not valid UTF-8"},
      {"\"x\\u00a0y\"", "U+00A0, which reads as a blank; write a blank, or \\x{A0}"},
      {"'project\u00a0falcon'", "U+00A0, which reads as a blank"},
      {"'\ufefffalcon'", "U+FEFF, which reads as nothing; write the pattern without it, or \\x{FEFF}"},
      {"'fal\u00adcon'", "U+00AD, which reads as nothing"},
  };
  for (const Row& row : rows) {
    INFO(row.regex);
    CHECK_THAT(CompileError(OneRule(std::string("{regex: ") + row.regex + "}", "flag")), ContainsSubstring(row.says));
  }
  for (const char* good : {"'\\bfalcon\\b'", "\"\\tx\"", "\"x\\ny\"", "'[ \u00a0]x'", "'[]\u00a0]x'", "'[^]\u200b]x'", "'\\x{FEFF}x'",
                           "'\\\\\u2013x'", "'cafe\u0301'", "'\u0645\u06cc\u200c\u062e'", "'x\u2013y'"}) {
    INFO(good);
    MustCompile(OneRule(std::string("{regex: ") + good + "}", "flag"));
  }
  CHECK_THAT(CompileError(OneRule("{regex: '[a]\u00a0[b]'}", "flag")), ContainsSubstring("U+00A0"));
  // A rule that reads what is written finds them.
  for (const char* seen : {"a\u00a0b", "a\ufeffb", "a\ue000b", "\u06dd12"}) {
    INFO(seen);
    CHECK(Filter(std::string("{regex: '") + seen + "', as_written: true}", std::string("a b, ab, ") + seen) == "a b, ab, #");
  }
  CHECK_THAT(CompileError(OneRule("{regex: \"\\bfalcon\", as_written: true}", "flag")), ContainsSubstring("U+0008"));
}

TEST_CASE("A list's file may begin with a byte order mark, and have blanks of any kind around its terms") {
  const std::vector<Bundle::File> files = {{"terms.txt", "\ufeff# ours\r\nglobex\r\n\u00a0initech\u200b\r\n\u3000\r\n"},
                                           {"more.txt", "\ufeffhooli\n"}};
  const auto yaml = WriteBundle(
      "version: 1\nname: t\nlists: {a: {file: terms.txt}, b: {file: more.txt}}\nrules:\n- {id: r, detect: {list: [a, b]}, do: redact}\n",
      files);
  REQUIRE(yaml.ok());
  const auto policies = MustCompile(*yaml);
  CHECK(policies->Describe()[0].detect == "3 keywords");
  CHECK(MustFilter(*policies, "# ours: globex, Initech, Hooli").text == "# ours: [REDACTED], [REDACTED], [REDACTED]");
}

}  // namespace tollgate::policy
