#include <random>

#include <re2/re2.h>

#include "policy/fold.h"
#include "policy/pattern.h"
#include "policy/regex_facts.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

RegexNode MustParse(const std::string& regex, bool ignore_case = false) {
  auto tree = ParseRegex(regex, ignore_case);
  INFO(regex << ": " << base::Message(tree.status()));
  REQUIRE(tree.ok());
  return *std::move(tree);
}

std::shared_ptr<const Pattern> MustCompilePattern(const std::string& regex, std::int64_t cap = 0) {
  auto pattern = Pattern::Compile({"", MustParse(regex), cap});
  INFO(regex << ": " << base::Message(pattern.status()));
  REQUIRE(pattern.ok());
  return *std::move(pattern);
}

// The matches of a regex in a text, as "begin-end …".
std::string Matches(const std::string& regex, const std::string& text, bool ignore_case = false) {
  const Width width = WidthOf(MustParse(regex, ignore_case));
  auto pattern = Pattern::Compile({"", MustParse(regex, ignore_case), width.max == RegexNode::kUnbounded ? 4096 : 0});
  INFO(regex << ": " << base::Message(pattern.status()));
  REQUIRE(pattern.ok());
  std::vector<Hit> hits;
  Pattern::Scan scan;
  (*pattern)->Find({text, 0}, INT64_MAX, scan, hits);
  std::string out;
  for (const Hit& hit : hits) out += (out.empty() ? "" : " ") + std::to_string(hit.begin) + "-" + std::to_string(hit.end);
  return out;
}

// RE2 itself, given the regex as it is written.
class Original {
 public:
  explicit Original(const std::string& regex, bool ignore_case = false) : re_(regex, Options(ignore_case)) {
    INFO(regex << ": " << re_.error());
    REQUIRE(re_.ok());
  }
  using Spans = std::vector<std::pair<std::size_t, std::size_t>>;
  Spans Find(const std::string& text) const {
    Spans out;
    re2::StringPiece found;
    for (std::size_t at = 0; re_.Match(text, at, text.size(), re2::RE2::UNANCHORED, &found, 1); at = out.back().second) {
      const auto begin = static_cast<std::size_t>(found.data() - text.data());
      out.emplace_back(begin, begin + found.size());
    }
    return out;
  }

 private:
  static re2::RE2::Options Options(bool ignore_case) {
    re2::RE2::Options options;
    options.set_longest_match(true);
    options.set_log_errors(false);
    options.set_case_sensitive(!ignore_case);
    return options;
  }
  re2::RE2 re_;
};

std::string OriginalMatches(const std::string& regex, const std::string& text, bool ignore_case = false) {
  std::string out;
  for (const auto& [begin, end] : Original(regex, ignore_case).Find(text))
    out += (out.empty() ? "" : " ") + std::to_string(begin) + "-" + std::to_string(end);
  return out;
}

// Every character that RE2's tables know, in order: ours may know newer ones.
const std::string& KnownCharacters() {
  static const std::string known = [] {
    std::string all, out;
    for (char32_t c = 1; c <= 0x10FFFF; ++c) {
      if (c < 0xD800 || c > 0xDFFF) AppendUtf8(c, all);
    }
    for (const auto& [begin, end] : Original("[\\pL\\pM\\pN\\pP\\pS\\pZ\\pC]+").Find(all)) out.append(all, begin, end - begin);
    return out;
  }();
  return known;
}

// The first of these characters that only one of the two classes holds; empty if there is none.
std::string FirstDifference(const std::string& class_regex) {
  const std::string& text = KnownCharacters();
  const Original::Spans ours = Original("(?:" + PrintRegex(MustParse(class_regex)) + ")+").Find(text);
  const Original::Spans theirs = Original("(?:" + class_regex + ")+").Find(text);
  if (ours == theirs) return "";
  std::size_t at = text.size();
  for (std::size_t i = 0; i < std::max(ours.size(), theirs.size()) && at == text.size(); ++i) {
    const auto a = i < ours.size() ? ours[i] : std::pair(text.size(), text.size());
    const auto b = i < theirs.size() ? theirs[i] : std::pair(text.size(), text.size());
    if (a != b) at = a.first != b.first ? std::min(a.first, b.first) : std::min(a.second, b.second);
  }
  std::size_t length = 0;
  return "U+" + std::to_string(static_cast<std::uint32_t>(DecodeAt(text, at, length)));
}

}  // namespace

TEST_CASE("The syntax means what RE2 means by it, leftmost-longest") {
  struct Row {
    const char *regex, *text, *matches;
  };
  const Row rows[] = {
      {"abc", "xabcabc", "1-4 4-7"},
      {"a|ab|abc", "abcd", "0-3"},
      {"a.c", "abc a\nc", "0-3"},
      {"(?s)a.c", "a\nc", "0-3"},
      {"[a-c]+", "xabcdab", "1-4 5-7"},
      {"[^a-c]", "abx\n", "2-3 3-4"},
      {"[]a]", "]a", "0-1 1-2"},
      {"[a\\]-]", "]-b", "0-1 1-2"},
      {"\\d{2,3}", "1 12 1234", "2-4 5-8"},
      {"x{2}", "xxx", "0-2"},
      {"x{,2}", "x{,2}", "0-5"},
      {"a{1,2}b?", "aaab", "0-2 2-4"},
      {"\\w+", "caf\xC3\xA9 x", "0-3 6-7"},
      {"\\bfoo\\b", "foo food foo", "0-3 9-12"},
      {"^a", "aa", "0-1"},
      {"(?m)^a", "a\na", "0-1 2-3"},
      {"a$", "a\na", "2-3"},
      {"(?m)a$", "a\na", "0-1 2-3"},
      {"\\x41\\x{e9}", "A\xC3\xA9", "0-3"},
      {"caf.", "caf\xC3\xA9", "0-5"},
      {"[\xC3\xA0-\xC3\xBF]", "x\xC3\xA9", "1-3"},
      {"(?i)stra\xC3\x9F"
       "e",
       "STRA\xC3\x9F"
       "E",
       "0-7"},
      {"(?i)\xC3\xA9t\xC3\xA9", "\xC3\x89T\xC3\x89", "0-5"},
      {"(?i)\xC8\x9B"
       "ar\xC4\x83",
       "\xC8\x9A"
       "AR\xC4\x82",
       "0-6"},
      {"(?i)\u10d0\u1c91", "\u1c90\u10d1", "0-6"},
      {"(?i)[\u1ea3-\u1ea4]+", "\u1ea2\u1ea5", "0-6"},
      {"(?i)\u03c3+", "\u03a3\u03c3\u03c2", "0-6"},
      {"(?i)\u03a3+", "\u03a3\u03c3\u03c2", "0-6"},
      {"(?i)\u03b8+", "\u0398\u03b8\u03d1", "0-6"},
      {"(?i)\u01c5", "\u01c4 \u01c6", "0-2 3-5"},
      {"(?i)\u1e9e", "\u1e9e \u00df", "0-3 4-6"},
      {"(?i)\u212a", "k K", "0-1 2-3"},
      {"(?i)[^\u021b]", "\u021a", ""},
      {"(?i:a)b", "Ab AB", "0-2"},
      {"a(?i)b|c", "aB C", "0-2 3-4"},
      {"(?P<year>\\d{4})", "2026", "0-4"},
      {"[[:digit:][:upper:]]{2}", "A1 a1", "0-2"},
      {"\\.\\*", ".*", "0-2"},
      {"\\S\\s\\D", "a b1", "0-3"},
      {"[[:graph:]]+[[:cntrl:]]", "ab\t c", "0-3"},
      {"[[:^ascii:]][[:print:]]", "a\u00e9 ", "1-4"},
      {"\\pL+", "caf\u00e9 x1", "0-5 6-7"},
      {"\\p{Lu}\\p{Ll}+", "\u00c9t\u00e9 x", "0-5"},
      {"\\pN", "1 \u00bd \u0663", "0-1 2-4 5-7"},
      {"\\p{Greek}+", "abc \u03b1\u03b2\u03b3 d", "4-10"},
      {"\\p{Han}{2}", "\u6f22\u5b57", "0-6"},
      {"\\PL+", "ab 12\u00e9", "2-5"},
      {"\\P{Greek}+", "a\u03b1", "0-1"},
      {"\\p{^Greek}+", "a\u03b1", "0-1"},
      {"\\P{^Greek}+", "a\u03b1", "1-3"},
      {"\\p{Any}", "x", "0-1"},
      {"[\\p{L}\\d_-]+", "\u00e9-1_ !", "0-5"},
      {"[^\\p{L}\\s]+", "a !? b", "2-4"},
      {"[\\PL]", "a1", "1-2"},
      {"(?i)\\p{Lu}", "a1", "0-1"},
      {"(?i)\\P{Lu}", "aA1", "2-3"},
      {"(?i)[^\\P{Lu}]", "aA1", "0-1 1-2"},
      {"\\Qa.b*\\E+", "a.b** aab", "0-5"},  // The last character is repeated.
      {"\\Qa|b)", "a|b)", "0-4"},
      {"(?i)\\Qx(\\E\\)", "X()", "0-3"},
      {"\\Q\\d\\\\E", "\\d\\", "0-3"},
      {"a\\Q\\Eb", "ab", "0-2"},
      {"\\101\\1024", "AB4", "0-3"},
      {"[\\101-\\103]+", "ABCD", "0-3"},
      {"\\377\\060", "\u00ff0", "0-3"},
  };
  for (const Row& row : rows) {
    INFO(row.regex << " in " << row.text);
    CHECK(Matches(row.regex, row.text) == row.matches);
    CHECK(OriginalMatches(row.regex, row.text) == row.matches);
  }
  CHECK(Matches("[^k]", "Kk", true).empty());
  CHECK(OriginalMatches("[^k]", "Kk", true).empty());
}

TEST_CASE("A Unicode class holds what RE2's holds") {
  for (const char* name :
       {"Any",    "C",          "Cc",        "Cf",     "Co",  "L",        "Ll",     "Lm",      "Lo",       "Lt",    "Lu",
        "M",      "Mc",         "Me",        "Mn",     "N",   "Nd",       "Nl",     "No",      "P",        "Pc",    "Pd",
        "Pe",     "Pf",         "Pi",        "Po",     "Ps",  "S",        "Sc",     "Sk",      "Sm",       "So",    "Z",
        "Zl",     "Zp",         "Zs",        "Arabic", "Han", "Common",   "Coptic", "Hangul",  "Hiragana", "Latin", "Greek",
        "Hebrew", "Old_Italic", "Inherited", "Thai",   "Nko", "Cherokee", "Yi",     "Georgian"}) {
    const std::string named = "p{" + std::string(name) + "}";
    CHECK(FirstDifference("\\" + named).empty());
    CHECK(FirstDifference("(?i)\\" + named).empty());
    if (std::string_view(name) != "Any") CHECK(FirstDifference("\\P" + named.substr(1)).empty());
  }
  CHECK(MustCompilePattern("\\b\\p{Lu}[\\pL\\pM'-]{1,100}")->width_max() == 404);
}

TEST_CASE("Whatever regex is taken means what RE2 means by it") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> pieces = {
      "a",        "b",     "[^a]", "[a\\101]",   "\\pL",   "\\p{Lu}",     "\\P{Ll}", "\\p{^Greek}", "[\\PLa]", "[^\\pN ]", "[\\p{Greek}-]",
      "\\Q*(\\E", "\\Qa|", "\\E",  "\\101",      "\\0612", "[\\60-\\62]", "(?i)",    "(?:",         "(",       ")",        "|",
      "+",        "?",     "b{2}", "[aB1]{1,3}", "\\d",    "\\b",         "."};
  const std::vector<std::string> characters = {"a", "b",  "A",      "B",      "1",      "2",      "*",      "(",
                                               " ", "\n", "\u00e9", "\u00c9", "\u03b1", "\u03a3", "\u03c2", "\u5b57"};
  std::size_t compared = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string regex;
    for (std::size_t n = 1 + random() % 6; n > 0; --n) regex += pieces[random() % pieces.size()];
    const auto tree = ParseRegex(regex, false);
    if (!tree.ok() || WidthOf(*tree).min == 0) continue;
    std::string text;
    for (int n = 0; n < 30; ++n) text += characters[random() % characters.size()];
    INFO(regex << " in " << text);
    CHECK(Matches(regex, text) == OriginalMatches(regex, text));
    ++compared;
  }
  CHECK(compared > 200);
}

TEST_CASE("What is not supported is refused with the place and a remedy") {
  struct Row {
    const char *regex, *says;
  };
  const Row rows[] = {{"a*?", "lazy quantifiers"},
                      {"a++", "possessive"},
                      {"(?=a)", "look-around"},
                      {"(?<!a)b", "look-around"},
                      {"(a)\\1", "back-references"},
                      {"a\\8", "back-references"},
                      {"\\p{l}", "general category"},
                      {"\\p{greek}", "\\p{Greek}"},
                      {"\\p{Cn}", "general category"},
                      {"\\p{Letter}", "general category"},
                      {"[\\p{Klingon}]", "script"},
                      {"\\p{}", "general category"},
                      {"\\p", "general category"},
                      {"\\p{L", "add '}'"},
                      {"\\p{Cs}", "matches nothing"},
                      {"\\P{Any}", "matches nothing"},
                      {"[^\\p{Any}]", "matches nothing"},
                      {"(a", "add ')'"},
                      {"a)", "unmatched ')'"},
                      {"[a", "add ']'"},
                      {"*a", "nothing to repeat"},
                      {"a**", "repeat of a repeat"},
                      {"a{5,2}", "n <= m"},
                      {"a{2000}", "at most 1000"},
                      {"[b-a]", "lower to the higher"},
                      {"\\", "cannot end"},
                      {"(?x)a", "flags are i, m and s"},
                      {"\\q", "unknown escape"},
                      {"[[:foo:]]", "POSIX"},
                      {"\\C", "unknown escape"},
                      {"a\\E", "unknown escape"},
                      {"[\\Qa\\E]", "unknown escape"}};
  for (const Row& row : rows) {
    INFO(row.regex);
    const auto tree = ParseRegex(row.regex, false);
    REQUIRE_FALSE(tree.ok());
    CHECK(base::Message(tree.status()).find(row.says) != std::string::npos);
    CHECK(base::Message(tree.status()).starts_with("at character "));
  }
  CHECK_FALSE(ParseRegex(std::string(5000, 'a'), false).ok());
  CHECK_FALSE(ParseRegex(std::string(60, '(') + std::string(60, ')'), false).ok());
}

TEST_CASE("Widths, required literals and bytes are derived from the tree") {
  const auto width = [](const char* regex) {
    const Width w = WidthOf(MustParse(regex));
    return std::to_string(w.min) + ".." + std::to_string(w.max);
  };
  CHECK(width("abc?") == "2..3");
  CHECK(width("(?:a|bcd){2,3}") == "2..9");
  CHECK(width("a+") == "1..-1");
  CHECK(width("\xC3\xA9.") == "3..6");
  CHECK(width("\\b$") == "0..0");
  CHECK(width("(?i)ks\u00df") == "4..4");  // Not the Kelvin sign, the old s, the capital of three bytes.

  const auto literals = [](const char* regex) {
    std::string out;
    for (const std::string& word : RequiredLiterals(MustParse(regex))) out += word + " ";
    return out;
  };
  CHECK(literals("\\bAKIA[A-Z]{16}") == "akia ");
  CHECK(literals("gh[pso]_[a-z]{3}") == "gho_ ghp_ ghs_ ");
  CHECK(literals("(?:foo|barbar)\\d+") == "barbar foo ");
  CHECK(literals("\\d+@\\d+") == "@ ");
  CHECK(literals("a?b*").empty());
  CHECK(literals("(?:foo|\\d+)").empty());
  CHECK(literals("(?:secret)+") == "secret ");
  CHECK(literals("(?i)\u0164AJN\u00c9 \u03a3\u03a3\u03a3") == "\u0165ajn\u00e9 \u03c3\u03c3\u03c3 ");
  CHECK(literals("(?:\\b|_)gh[pso]_[a-z]{3}") == "gho_ ghp_ ghs_ ");

  CHECK(UnboundedBytes(MustParse("ab*[0-9]+c"))['b']);
  CHECK(UnboundedBytes(MustParse("ab*[0-9]+c"))['7']);
  CHECK_FALSE(UnboundedBytes(MustParse("ab*[0-9]+c"))['a']);
  CHECK(RequiredBytes(MustParse("[A-Z]{3}-\\d+")).front()['-']);
}

TEST_CASE("A pattern's beginning goes up to its literal, in each branch") {
  const std::pair<const char*, const char*> rows[] = {
      {"\\bghp_[a-z]{36}\\b", "\\bghp_"},
      {"(?:\\b|_)(?:ghp_[a-z]{36}|xox[bp]-[0-9]{4})(?:z|$)", "(?:\\b|_)(?:ghp_|xox[bp]-)"},
      {"[a-z]{1,8}@[a-z]{2,8}\\.com", "[a-z]{1,8}@[a-z]{2,8}\\.com"},  // ".com" says more than "@".
      {"[a-z]{1,8}::[a-z]{2,8}", "[a-z]{1,8}::"},
      {"[a-z]{3}", "[a-z]{3}"},  // None.
      {"abc", "abc"},
  };
  for (const auto& [regex, beginning] : rows) {
    INFO(regex);
    CHECK(PrintRegex(UpToLiteral(MustParse(regex))) == PrintRegex(MustParse(beginning)));
  }
}

TEST_CASE("The live suffix is exactly what some continuation makes a match") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  // Unbounded patterns use the exact closure; alphabet a, b, '-'.
  const char* const patterns[] = {"ab+",    "a(?:b|-)*a", "\\ba+b", "a+\\b-",          "(?:ab){2}b*-",
                                  "a?b?-+", "(?m)^ab*-",  "b+\\B",  "a{2,3}b*(?:-a)?", "(?:a|b-)+a\\b"};
  const std::string alphabet = "ab-";
  for (const char* regex : patterns) {
    const auto pattern = MustCompilePattern(regex, 16);
    for (int round = 0; round < 60; ++round) {
      std::string text;
      for (std::size_t n = 1 + random() % 7; n > 0; --n) text += alphabet[random() % 3];
      // By brute force: from where can some continuation of at most 4 characters match across the end?
      std::size_t live = text.size();
      for (std::size_t from = 0; from < text.size() && live == text.size(); ++from) {
        for (int code = 0; code < 3 * 3 * 3 * 3 * 5; ++code) {
          std::string longer = text;
          for (int i = 0, rest = code / 5; i < code % 5; ++i, rest /= 3) longer += alphabet[static_cast<std::size_t>(rest % 3)];
          std::vector<Hit> hits;
          Pattern::Scan scan;
          scan.next = static_cast<std::int64_t>(from);
          pattern->Find({longer, 0}, static_cast<std::int64_t>(from) + 1, scan, hits);
          if (!hits.empty() && hits[0].end >= static_cast<std::int64_t>(text.size())) live = from;
          if (live != text.size()) break;
        }
      }
      INFO(regex << " after \"" << text << "\"");
      // What ends a match at the text's end is held too: its right edge is not known yet.
      CHECK(pattern->LiveStart({text, 0}, 0) <= static_cast<std::int64_t>(live));
      const std::string closed = "(?:" + PrintPrefixes(MustParse(regex), false) + ")";
      CHECK(closed.size() > 4);
      if (std::string(regex).find('\\') == std::string::npos) CHECK(pattern->LiveStart({text, 0}, 0) == static_cast<std::int64_t>(live));
    }
  }
}

}  // namespace tollgate::policy
