// Every kind of detector finds its span in disguised text, in the bytes as they were written, and a stream agrees.
#include <functional>

#include "policy/plain_form.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Disguiser = std::function<std::string(char, std::size_t)>;

std::string Disguise(std::string_view text, const Disguiser& how) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) out += how(text[i], i);
  return out;
}

std::string Utf8(char32_t c) {
  std::string out;
  out += static_cast<char>(0xE0 | (c >> 12));
  out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
  out += static_cast<char>(0x80 | (c & 0x3F));
  return out;
}

std::string FullWidth(char c, std::size_t) {
  return c > ' ' && c <= '~' ? Utf8(static_cast<char32_t>(c - '!' + 0xFF01)) : std::string(1, c);
}
std::string ZeroWidth(char c, std::size_t i) { return i == 0 ? std::string(1, c) : "\u200b" + std::string(1, c); }
// What a browser or a terminal shows nothing for, and what models of embeddings leave out.
std::string Control(char c, std::size_t i) {
  static const std::string kControls[] = {std::string(1, '\0'), "\x01", "\b", "\x1b", "\x7f", "\u0080", "\u009f"};
  return i == 0 ? std::string(1, c) : kControls[i % std::size(kControls)] + c;
}
std::string NoCharacter(char c, std::size_t i) {
  static const std::string kNone[] = {"\ue000", "\U000F0000", "\ufdd0", "\ufffe", "\ufffc", "\ufffd", "\u0378", "\u0600"};
  return i == 0 ? std::string(1, c) : kNone[i % std::size(kNone)] + c;
}
std::string OthersMarks(char c, std::size_t i) {
  static const std::string kMarks[] = {"\u0592", "\u093e", "\u0e31", "\u3099", "\U0001D165", "\u05b4\u05b4"};
  return i == 0 ? std::string(1, c) : kMarks[i % std::size(kMarks)] + c;
}
std::string Struck(char c, std::size_t) { return c == ' ' ? " " : std::string(1, c) + "\u0337"; }
std::string Cyrillic(char c, std::size_t) {
  switch (c) {
    case 'a': return "\u0430";
    case 'c': return "\u0441";
    case 'e': return "\u0435";
    case 'o': return "\u043e";
    case 'p': return "\u0440";
    case 'A': return "\u0410";
    case 'E': return "\u0415";
    case 'I': return "\u0406";
    default: return std::string(1, c);
  }
}
std::string Exotic(char c, std::size_t) { return c == ' ' ? "\u00a0" : c == '-' ? "\u2011" : std::string(1, c); }
std::string Bidi(char c, std::size_t i) { return i % 3 == 1 ? "\u2066" + std::string(1, c) + "\u2069" : std::string(1, c); }
std::string Arabic(char c, std::size_t) {
  return c >= '0' && c <= '9' ? "\xd9" + std::string(1, static_cast<char>(0xA0 + c - '0')) : std::string(1, c);
}

const std::vector<std::pair<const char*, Disguiser>> kDisguises = {
    {"as it is", [](char c, std::size_t) { return std::string(1, c); }},
    {"full width", FullWidth},
    {"zero width", ZeroWidth},
    {"controls", Control},
    {"private, unassigned and replaced", NoCharacter},
    {"marks of other scripts", OthersMarks},
    {"struck through", Struck},
    {"Cyrillic", Cyrillic},
    {"exotic spaces and hyphens", Exotic},
    {"isolates", Bidi},
    {"Arabic digits", Arabic},
};

}  // namespace

TEST_CASE("What is disguised is found, and its bytes are hidden, by every kind of detector") {
  struct Row {
    const char *detect, *value;
  };
  const Row rows[] = {
      {"{personal_data: card}", "4111 1111 1111 1111"},   {"{personal_data: card}", "4111-1111-1111-1111"},
      {"{personal_data: email}", "jane.doe@example.com"}, {"{personal_data: iban}", "GB82 WEST 1234 5698 7654 32"},
      {"{secrets: all}", "AKIAIOSFODNN7EXAMPLE"},         {"{keywords: [project falcon]}", "project falcon"},
      {"{keywords: [project falcon]}", "Project Falcon"}, {"{regex: '\\bcase [A-Z]{2}-\\d{3}\\b'}", "case PE-123"},
  };
  for (const Row& row : rows) {
    const auto policies = MustCompile(OneRule(row.detect, "replace", "    replacement: '#'\n"));
    for (const auto& [name, how] : kDisguises) {
      const std::string disguised = Disguise(row.value, how), text = "So \u00e9 " + disguised + ", \u00fc.";
      INFO(name << ": " << text);
      const Filtered whole = MustFilter(*policies, text);
      REQUIRE(whole.verdict.rules.size() == 1);
      CHECK(whole.verdict.rules[0].count == 1);
      REQUIRE(whole.raw.size() == 1);
      CHECK(whole.raw[0].offset == 6);
      CHECK(disguised.starts_with(whole.raw[0].bytes));
      CHECK(ToPlain(disguised.substr(whole.raw[0].bytes.size())).empty());
      CHECK(whole.text.starts_with("So \u00e9 #"));
      for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, text, whole, [points = points] { return points; });
      const Message message{Role::kUser, "", {text}};
      const auto inspection = policies->Inspect({}, {&message, 1});
      REQUIRE(inspection.ok());
      CHECK(inspection->prompt[0].parts[0] == whole.text);
    }
  }
}

TEST_CASE("What stands behind or in escapes of JSON is found, in any pieces, and what is put in its place breaks no JSON") {
  struct Row {
    const char *detect, *text, *filtered;
  };
  const Row rows[] = {
      {"{personal_data: card}", R"({"text":"Card:\n4111 1111 1111 1111"})", R"({"text":"Card:\n#"})"},
      {"{personal_data: card}", R"({"text":"Card:\t4111 1111 1111 1111\nand"})", R"({"text":"Card:\t#\nand"})"},
      {"{personal_data: card}", R"({"n":"\u0034\u0031\u0031\u0031 1111 1111 \uff11111."})", R"({"n":"#."})"},
      {"{personal_data: card}", R"({"a":"{\"b\":\"x\\n4111 1111 1111 1111\"}"})", R"({"a":"{\"b\":\"x\\n#\"}"})"},
      {"{personal_data: card}", "{\"a\":1}\n{\"b\":\"x\\n4111 1111 1111 1111\"}\n", "{\"a\":1}\n{\"b\":\"x\\n#\"}\n"},
      {"{personal_data: iban}", R"({"t":"IBAN:\nDE89370400440532013000"})", R"({"t":"IBAN:\n#"})"},
      {"{personal_data: email}", R"({"t":"mail:\nbob@example.com"})", R"({"t":"mail:#"})"},
      {"{personal_data: email}", R"({"t":"mail \"bob\u0040example.com\""})", R"({"t":"mail \"#\""})"},
      {"{secrets: all}", R"({"t":"here:\nghp_0123456789abcdefghijklmnopqrstuvwxyz"})", R"({"t":"here:\n#"})"},
      {"{keywords: [falcon]}", R"({"t":"see\nfalcon now, \tFalcon\r\n"})", R"({"t":"see\n# now, \t#\r\n"})"},
      {"{keywords: [project falcon]}", R"({"t":"pr\u043eject f\u0061lcon"})", R"({"t":"#"})"},
      {"{regex: 'a\"b'}", R"({"t":"a\"b a\u0022b"})", R"({"t":"# #"})"},
      {"{keywords: [swordfish]}", R"({"t":"sword\u0000fish sw\bord\\u0001fish s\x7fwordfish"})", R"({"t":"# # #"})"},
      {"{personal_data: card}", R"({"n":"4111 1111 11\u001b11 11\ud80011"})", R"({"n":"#"})"},
      {"{keywords: [eta, ew]}", R"($\beta$ in C:\new)", R"($\beta$ in C:\new)"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto policies = MustCompile(OneRule(row.detect, "replace", "    replacement: '#'\n"));
    const Filtered whole = MustFilter(*policies, row.text);
    CHECK(whole.text == row.filtered);
    for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, row.text, whole, [points = points] { return points; });
    const Message message{Role::kUser, "", {row.text}};
    const auto inspection = policies->Inspect({}, {&message, 1});
    REQUIRE(inspection.ok());
    CHECK(inspection->prompt[0].parts[0] == whole.text);
  }
}

TEST_CASE("A word beside a number counts in disguise too") {
  const auto policies = MustCompile(OneRule("{personal_data: us_ssn}", "redact"));
  CHECK(MustFilter(*policies, "\uff33\uff33\uff2e 536228107").text.ends_with(" [US_SSN]"));
  CHECK(MustFilter(*policies, "s\u200bs\u200bn 536228107").text.ends_with(" [US_SSN]"));
  CHECK(MustFilter(*policies, "536228107").text == "536228107");
}

TEST_CASE("Accents may be characters of their own in keywords") {
  const auto policies = MustCompile(OneRule("{keywords: [\u00e9toile, \u0441\u043e\u043a\u043e\u043b]}", "redact"));
  CHECK(MustFilter(*policies, "une \u00e9toile").text == "une [REDACTED]");
  CHECK(MustFilter(*policies, "une e\u0301toile").text == "une [REDACTED]");
  CHECK(MustFilter(*policies, "\u0441\u043e\u200b\u043a\u043e\u043b").text == "[REDACTED]");
  CHECK(MustFilter(*policies, "etoile cokol").text == "etoile cokol");
}

TEST_CASE("Kana are found in half width, and with their marks as characters of their own") {
  const std::string full = "\u30d1\u30b9\u30ef\u30fc\u30c9", half = "\uff8a\uff9f\uff7d\uff9c\uff70\uff84\uff9e";
  const std::string parted = "\u30cf\u309a\u30b9\u30ef\u30fc\u30c8\u3099";
  for (const std::string& word : {full, half, parted}) {
    for (const std::string& detect : {"{keywords: ['" + word + "']}", "{regex: '" + word + "'}"}) {
      if (detect.starts_with("{regex: '\uff8a")) continue;  // It says which width it means.
      const auto policies = MustCompile(OneRule(detect, "redact"));
      for (const std::string& written : {full, half, parted}) {
        INFO(detect << " in " << written);
        const std::string text = "\u65e5" + written + "\u306f " + written;
        const Filtered whole = MustFilter(*policies, text);
        CHECK(whole.text == "\u65e5[REDACTED]\u306f [REDACTED]");
        for (const std::size_t points : {1, 2, 3}) CheckStream(*policies, text, whole, [points] { return points; });
      }
    }
  }
  const auto other = MustCompile(OneRule("{keywords: [\u30cf\u30b9]}", "redact"));
  CHECK(MustFilter(*other, "\uff8a\uff9f\uff7d").text == "\uff8a\uff9f\uff7d");
}

TEST_CASE("Typographic quotation marks are those of a rule, and those of a rule any") {
  struct Row {
    const char *detect, *text, *filtered;
  };
  const char* const sotheby = "\u00e9 Sotheby's Sotheby\u2019s SOTHEBY\u02bcS Sotheby\uff07s Sotheby\u00b4s Sothebys";
  const char* const filtered = "\u00e9 # # # # # Sothebys";
  const Row rows[] = {
      {"{keywords: [\"Sotheby's\"]}", sotheby, filtered},
      {"{keywords: [Sotheby\u2019s]}", sotheby, filtered},
      {"{regex: 'Sotheby''s', ignore_case: true}", sotheby, filtered},
      {"{regex: 'Sotheby\u2019s', ignore_case: true}", sotheby, filtered},
      {"{regex: '\\bSotheby\u2019?s\\b', ignore_case: true}", sotheby, "\u00e9 # # # # # #"},
      {"{keywords: ['say \"go\" now']}", "say \u201cgo\u201d now, say \u201ego\u201c now, say \u00abgo\u00bb now", "#, #, #"},
      {"{keywords: ['say \u201cgo\u201d now']}", "say \"go\" now, say \u201ego\u201c now", "#, #"},
      {"{regex: 'pin: [\"'']?\\d{4}[\"'']?'}", "pin: \u201c4821\u201d pin: \u20184821\u2019.", "# #."},
      {"{secrets: assigned_password}", "password: \u201cSummer-2024-rain!\u201d, ok", "#\u201d, ok"},
      // A rule about the marks themselves is about no others.
      {"{regex: '[\u2018\u2019]'}", "it's it\u2019s", "it's it#s"},
      {"{regex: '\u2014'}", "a-b a\u2014b", "a-b a#b"},
      {"{keywords: [Sotheby\u2019s], as_written: true}", "Sotheby's Sotheby\u2019s", "Sotheby's #"},
  };
  for (const Row& row : rows) {
    INFO(row.detect << " in " << row.text);
    const auto policies = MustCompile(OneRule(row.detect, "replace", "    replacement: '#'\n"));
    const Filtered whole = MustFilter(*policies, row.text);
    CHECK(whole.text == row.filtered);
    for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, row.text, whole, [points] { return points; });
    for (const RawSpan& raw : whole.raw)
      CHECK(std::string_view(row.text).substr(static_cast<std::size_t>(raw.offset)).starts_with(raw.bytes));
  }
}

TEST_CASE("A regex finds its letters with their accents on them or behind them, whichever way it is written") {
  struct Row {
    const char *detect, *text, *filtered;
  };
  const Row rows[] = {
      {"{regex: caf\u00e9}", "caf\u00e9 cafe\u0301 cafe", "# # cafe"},
      {"{regex: cafe\u0301}", "caf\u00e9 cafe\u0301 cafe", "# # cafe"},
      {
          "{regex: 'caf\u00e9+!'}",
          "caf\u00e9e\u0301\u00e9! cafe\u0301e\u0301! cafe\u0301\u0301!",
          "# # cafe\u0301\u0301!",
      },
      {"{regex: '\u00e9t\u00e9', ignore_case: true}", "E\u0301TE\u0301 \u00c9te\u0301 ete", "# # ete"},
      {"{regex: 'e\u0301te\u0301', ignore_case: true}", "E\u0301TE\u0301 \u00c9te\u0301 ete", "# # ete"},
      {"{regex: 'n[\u00e9\u00e8]e'}", "n\u00e9e ne\u0301e ne\u0300e nee ne\u0308e", "# # # nee ne\u0308e"},
      {"{regex: 'm\u1ead.t?'}", "m\u1eadt ma\u0323\u0302t ma\u0302t", "# # ma\u0302t"},
      {"{regex: 'ma\u0323\u0302t'}", "m\u1eadt ma\u0323\u0302t ma\u0302t", "# # ma\u0302t"},
      {"{regex: '\ud55c\uae00'}", "\ud55c\uae00 \u1112\u1161\u11ab\u1100\u1173\u11af", "# #"},
      {"{regex: '[^\u00e9]x'}", "\u00e9x ex", "\u00e9x #"},
      {"{regex: '[\u00c0-\u00ff]x'}", "\u00e9x e\u0301x", "# e\u0301x"},
      {"{regex: caf\u00e9, as_written: true}", "caf\u00e9 cafe\u0301", "# cafe\u0301"},
      {"{regex: cafe\u0301, as_written: true}", "caf\u00e9 cafe\u0301", "caf\u00e9 #"},
  };
  for (const Row& row : rows) {
    INFO(row.detect << " in " << row.text);
    const bool bounded = std::string_view(row.detect).find('+') == std::string_view::npos;
    const auto policies =
        MustCompile(OneRule(row.detect, "replace", std::string("    replacement: '#'\n") + (bounded ? "" : "    cap: 64\n")));
    const Filtered whole = MustFilter(*policies, row.text);
    CHECK(whole.text == row.filtered);
    for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, row.text, whole, [points] { return points; });
  }
}

TEST_CASE("A regex that is too wide with its accents behind their letters is compiled as it is written") {
  std::string wide;
  for (int i = 0; i < 8; ++i) wide += "\u00e9{1000}";
  const auto policies = MustCompile(OneRule("{regex: '" + wide + "'}", "redact"));
  std::string text;
  for (int i = 0; i < 8000; ++i) text += "\u00e9";
  CHECK(MustFilter(*policies, text).text == "[REDACTED]");
}

TEST_CASE("A rule may ask for text as it is written") {
  const std::string disguised = "pr\u043eject falcon \u2013 \uff50roject falcon";
  const auto plain = MustCompile(OneRule("{keywords: [project falcon], as_written: true}", "redact"));
  CHECK(MustFilter(*plain, disguised).text == disguised);
  CHECK(MustFilter(*plain, "project falcon").text == "[REDACTED]");
  const auto both = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: a, detect: {keywords: [falcon], as_written: true}, do: redact}\n"
      "  - {id: b, detect: {regex: 'fal'}, do: redact, replacement: '#'}\n");
  CHECK(MustFilter(*both, "f\u200balcon falcon").text == "#con [REDACTED]");
}

TEST_CASE("An exception covers what it covers as written; what only looks like it is none") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: desk, detect: {keywords: help@acme.example}, do: allow}\n"
      "  - {id: mail, detect: {personal_data: email}, do: redact}\n");
  for (const char* text : {"help@acme.example", "help@acme.example \u00a0", "\uff21sk help@acme.example"})
    CHECK(MustFilter(*policies, text).text == text);
  for (const char* text : {"help@\u0430cme.example", "he\u200blp@acme.example", "help\uff20acme.example", "he\u200blp@acme2.example"}) {
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text.ends_with("[EMAIL]"));
    for (const std::size_t points : {1, 3}) CheckStream(*policies, text, whole, [points = points] { return points; });
  }
}

TEST_CASE("An exception covers what differs from it by quotation marks alone, of print or escaped, whichever it is written with") {
  struct Row {
    const char *exception, *text;
    bool excused;
  };
  const Row rows[] = {
      {"\"driver's licence\"", "my driver's licence", true},
      {"\"driver's licence\"", "my driver\u2019s licence", true},
      {"\"driver's licence\"", "my Driver\u02bcs Licence.", true},
      {"driver\u2019s licence", "my driver's licence", true},
      {"driver\u2019s licence", "my driver\u2019s licence", true},
      {"driver\u2019s licence", "my driver\u2018s licence", true},
      {"'the \"licence\" file'", "the \u201clicence\u201d file, the \u00ablicence\u00bb file", true},
      {"'the \"licence\" file'", R"({"a":"the \"licence\" file"})", true},
      {"\"driver's licence\"", R"({"a":"my driver\u2019s licence"})", true},
      {"\"driver's licence\"", "\u00e9 my licence", false},
      {"\"driver's licence\"", "my driv\u0435r\u2019s licence", false},
      {"\"driver's licence\"", "my driver\u200b\u2019s licence", false},
      {"\"driver's licence\"", "my driver\u2019\u200bs licence", false},
      {"\"driver's licence\"", "my driver\u2019s\u00a0licence", false},
      {"\"driver's licence\"", "my driver's l\u0456cence", true},  // A disguise that excuses itself.
  };
  for (const Row& row : rows) {
    const std::string exception = std::string("{keywords: ") + row.exception + "}";
    const std::string rule = "  - {id: r, detect: {keywords: licence}, do: replace, replacement: '#'";
    const std::string head = "version: 1\nname: t\nrules:\n";
    for (const std::string& yaml :
         {head + rule + ", unless: " + exception + "}\n", head + "  - {id: fine, detect: " + exception + ", do: allow}\n" + rule + "}\n"}) {
      INFO(yaml << row.text);
      const auto policies = MustCompile(yaml);
      const Filtered whole = MustFilter(*policies, row.text);
      CHECK((whole.text == row.text) == row.excused);
      for (const std::size_t points : {1, 2, 3, 7}) CheckStream(*policies, row.text, whole, [points = points] { return points; });
      const Message message{Role::kUser, "", {row.text}};
      const auto inspection = policies->Inspect({}, {&message, 1});
      REQUIRE(inspection.ok());
      CHECK(inspection->prompt[0].parts[0] == whole.text);
    }
  }
  // Of a pattern, and of what others' exceptions allow.
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: r, detect: {keywords: licence}, do: block, unless: {regex: \"driver's? licen[cs]e\"}}\n");
  CHECK_FALSE(MustFilter(*policies, "a driver\u2019s licence").blocked);
  CHECK(MustFilter(*policies, "a driver\u2019s licence, a licence").blocked);
}

TEST_CASE("A million invisible characters cost linear time and hold a bounded number of bytes") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: p, detect: {personal_data: all}, do: redact}\n  - {id: s, detect: {secrets: all}, do: "
      "redact}\n");
  std::string unseen;
  for (int i = 0; i < 1'000'000; ++i) unseen += i % 2 == 0 ? "\u200b" : "\U000E0041";
  const std::string text = "4111 1111 " + unseen + "1111 1111";
  CHECK(MustFilter(*policies, text).text == text);
  const auto filter = policies->OpenOutput({});
  std::size_t held = 0, out = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(at + 4096, text.size());
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    const auto released = filter->Push(std::string_view(text).substr(at, end - at));
    REQUIRE(released.ok());
    out += released->size();
    held = std::max(held, filter->held_bytes());
    at = end;
  }
  CHECK(held < 64 << 10);
  CHECK(out + filter->held_bytes() == text.size());
}

}  // namespace tollgate::policy
