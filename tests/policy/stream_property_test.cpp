// P7 as a property: for every kind of rule, any text in any pieces gives the bytes, the verdict and the raw spans that the whole text
// gives, and what is out at any moment begins the filtered whole.
#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "policy/fold.h"
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {
struct Rules {
  const char* name;
  std::string yaml;
  std::vector<std::string> planted;  // Matches, near misses, and what they are made of.
};
const std::vector<std::string> kFiller = {"\\b",        "\\u0000",
                                          " ",          "\n",
                                          ". ",         ", ",
                                          "the ",       "order ",
                                          "a",          "I ",
                                          "caf\u00e9 ", "\u201cquoted\u201d ",
                                          "\U0001F600", "\u65e5\u672c\u8a9e",
                                          "(",          ")",
                                          "-",          ":",
                                          "@",          "+",
                                          "12",         "7",
                                          "2026-11-25", "v1.2.3.4 ",
                                          "phone ",     "call me ",
                                          "SSN ",       "x",
                                          "_",          "/",
                                          "=",          "\"",
                                          "\u00a0",     "public ",
                                          "sk_",        "eyJ",
                                          "AK",         "gh",
                                          "-----",      "0",
                                          "ABC",        "\t",
                                          "\\",         "\\n",
                                          "\\\"",       "\\\\n",
                                          "\\u0034",    "\\u00",
                                          "\\ud83d",    "\\ude00"};

const std::vector<std::string> kPersonal = {"jane.doe@example.com",
                                            "a@b.co",
                                            "jos\u00e9.p\u00e9rez@mail.example.org",
                                            "bob@example.com.au",
                                            "icon@2x.png",
                                            "git@github.com",
                                            "x@y",
                                            "foo@bar.",
                                            "@example.com",
                                            "4111 1111 1111 1111",
                                            "4111-1111-1111-1111",
                                            "4111111111111111",
                                            "378282246310005",
                                            "4111 1111 1111 1112",
                                            "5555555555554444 12/27",
                                            "1234 4111 1111 1111 1111",
                                            "4111 1111 1111 1111 2024",
                                            "6011000990139424",
                                            "GB82 WEST 1234 5698 7654 32",
                                            "GB82WEST12345698765432 AND",
                                            "DE89370400440532013000",
                                            "de89370400440532013000",
                                            "DE89 3704 0044 0532 0130 00GB82WEST12345698765432",
                                            "GB82 WEST 1234",
                                            "NO9386011117947",
                                            "536-22-8107",
                                            "536 22 8107",
                                            "536228107",
                                            "000-12-3456",
                                            "078-05-1120",
                                            "1-536-22-8107",
                                            "social security number 536228107",
                                            "+49 30 1234567",
                                            "(415) 555-2671",
                                            "tel. 415-555-2671",
                                            "phone: 030/1234567",
                                            "call 1-800-555-0199 now",
                                            "mobile +1 (415) 555 2671",
                                            "192.168.10.254",
                                            "8.8.8.8",
                                            "999.1.1.1",
                                            "2001:db8::ff00:42:8329",
                                            "fe80::1a2b",
                                            "std::vector",
                                            "12:34:56",
                                            "aa:bb:cc:dd:ee:ff",
                                            "1.2.3.4.5"};

const std::vector<std::string> kSecrets = {"AKIAIOSFODNN7EXAMPLE",
                                           "AKIAIOSFODNN7EXAMPL",
                                           "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
                                           "ghp_0123456789",
                                           "AIzaSyD-1234567890abcdefghijklmnopqrstuv",
                                           "xoxb-123456789012-abcdefghijklmnop",
                                           "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
                                           "sk_live_4eC39",
                                           "sk-proj-abc123def456ghi789jkl012",
                                           "hf_abcdefghijklmnopqrstuvwxyz12345678",
                                           "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
                                           "eyJhbGciOiJIUzI1NiJ9.eyJz",
                                           "eyJhbGci",
                                           "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nabc+/=\n-----END RSA PRIVATE KEY-----",
                                           "-----BEGIN PRIVATE KEY-----\nMIIEvQ",
                                           "-----BEGIN PUBLIC KEY-----",
                                           "tg_live_ab12cd34_0123456789abcdefghijklmnopqrstuvwxyzABCDEF_0a1b2c",
                                           "api_key = \"Zx81kQ0pLm29sTuVw3Yb\"",
                                           "password: hunter2hunter2hunter2",
                                           "token=00000000000000000000",
                                           "postgres://app:s3cr3t@db.internal/x",
                                           "https://example.com:8080/a@b",
                                           "npm_0123456789abcdefghijklmnopqrstuvwxyz"};

const std::vector<std::string> kSmall = {"a", "b",      "c",      "d",      "ab",  "bc",     "abc",    "A",  "B",  "-",
                                         " ", "\n",     ":",      "1",      "23",  "x",      "xx",     "y",  "<<", ">>",
                                         ">", "\u00e9", "\u00c9", "\u00fc", "caf", "secret", "SECRET", "ive"};

const std::vector<std::string> kWords = {
    "falcon",      "Falcon",      "FALCON",      "project falcon", "project", "falconry", "New York", "York Times", "New York Times",
    "stra\u00dfe", "\u00c9toile", "\u00e9toile", "\u65e5\u672c",   "c++",     "he",       "she",      "hers",       "ushers"};

// An address or a card in base64, hexadecimal, percent-encoding and two of them, and what resembles them.
const std::vector<std::string> kEncoded = {"amFuZUBleGFtcGxlLmNvbQ==",
                                           "d3JpdGUgdG8gYm9iQGV4YW1wbGUuY29tLg",
                                           "6a616e65406578616d706c652e636f6d",
                                           "jane%40example.com",
                                           "a=jane%40example.com",
                                           "4111%201111%201111%201111",
                                           "NDExMSAxMTExIDExMTEgMTExMQ==",
                                           "Tm1FMk1UWmxOalUwTURZMU56ZzJNVFprTnpBMll6WTFNbVUyTXpabU5tUT0=",
                                           "YW1GdVpVQmxlR0Z0Y0d4bExtTnZiUT09",
                                           "jane@example.com",
                                           "bmFtZT1qYW5lJTQwZXhhbXBsZS5jb20=",
                                           "0x48656c6c6f2c20776f726c64",
                                           "path/to/some_file-name.txt",
                                           "%",
                                           "%4",
                                           "=",
                                           "QUFBQUFBQUFB",
                                           "\r\n"};

const std::vector<std::string> kTricks = {"p\u0430ypal",
                                          "\u0440\u0430ypal",
                                          "SMS\u043a\u0430",
                                          "\u200b",
                                          "\u200d",
                                          "\U0001F468\u200d\U0001F469",
                                          "\u2764\ufe0f",
                                          "\U000E0041\U000E0042",
                                          "\U0001F3F4\U000E0067\U000E007F",
                                          "\u202eab\u202c",
                                          "\uff34\uff4f",
                                          "\U0001D425\U0001D428",
                                          "\u0645\u06cc\u200c\u062e",
                                          "TNF\u03b1",
                                          "\u05d0\u200f",
                                          "x",
                                          "\ufeff"};

// URLs of a listed host and of others, pieces of URLs, and what resembles them.
const std::vector<std::string> kUrls = {"https://acme.example/x",
                                        "https://user:pw@www.acme.example:80/r?u=",
                                        "//acme.example",
                                        "www.acme.example",
                                        "acme.example",
                                        "evil.acme.example.org",
                                        "https://acme.example@evil.example\\x",
                                        "https://\u0430cme.example",
                                        "acme\u200b.example",
                                        "acme%2eexample",
                                        "http://0x7f.1/",
                                        "http://[::1]/",
                                        "3.14",
                                        "https://",
                                        ":",
                                        "/",
                                        "@",
                                        ".",
                                        "?",
                                        "#",
                                        "\\",
                                        "(",
                                        ")",
                                        "e.g.",
                                        "bob@acme.example"};

std::vector<Rules> AllRules() {
  std::vector<Rules> out;
  for (const char* action : {"redact", "block", "flag", "mask\n    keep_last: 2", "hash\n    salt: 0123456789abcdef"}) {
    const std::string act = action;
    out.push_back({"personal data", OneRule("{personal_data: all}", act), kPersonal});
    out.push_back({"secrets", OneRule("{secrets: all}", act), kSecrets});
    out.push_back(
        {"keywords",
         OneRule("{keywords: [falcon, project falcon, New York, York Times, new york times, \u00e9toile, c++, \u65e5\u672c]}", act),
         kWords});
    out.push_back(
        {"keywords inside words", OneRule("{keywords: [he, she, hers, Falcon], whole_word: false, ignore_case: false}", act), kWords});
    out.push_back({"encoded", OneRule("{personal_data: [email, card], decode: both}", act), kEncoded});
    out.push_back({"hosts", OneRule("{hosts: [acme.example, 127.0.0.1], decode: both}", act), kUrls});
    out.push_back({"other hosts", OneRule("{hosts_except: acme.example}", act), kUrls});
    out.push_back({"Unicode tricks", OneRule("{unicode: all}", act), kTricks});
    out.push_back({"overlap", OneRule("{regex: ['ab|bc', 'abc?d', 'c+d{0,3}a']}", act, "    cap: 24\n"), kSmall});
    out.push_back({"edges", OneRule("{regex: ['(?m)^\\w+:', 'ab$', '(?m)c$', '\\bx+\\b', '\\Bb\\B']}", act, "    cap: 16\n"), kSmall});
    out.push_back({"capped", OneRule("{regex: '<<[^>]*>>'}", act, "    cap: 32\n"), kSmall});
    out.push_back({"capped run", OneRule("{regex: '(?i)x+(?:a|[b-d]\u00e9)*y'}", act, "    cap: 16\n"), kSmall});
    out.push_back({"any letter", OneRule("{regex: 'caf.|.\u00fc|[^a-z\\s]{3}'}", act), kSmall});
    out.push_back({"no case", OneRule("{regex: '\\bsecret(?:ive)?\\b|\u00e9[a-c]{2,4}', ignore_case: true}", act), kSmall});
  }
  out.push_back({"every identifier", OneRule("{personal_data: all}", "redact"), {}});
  for (const Examples& examples : IdentifierExamples()) {
    for (const std::string& marked : examples.positives) out.back().planted.push_back(Plain(marked));
    for (const std::string& text : examples.negatives) out.back().planted.push_back(text);
  }
  out.push_back({"every secret", OneRule("{secrets: all}", "redact"), {}});
  std::mt19937_64 random(TestSeed());
  for (const SecretTemplate& secret : SecretTemplates()) out.back().planted.push_back(MakeSecret(secret.pattern, random));
  out.push_back({"mixture",
                 "version: 1\nname: m\nrules:\n"
                 "  - {id: ok, detect: {keywords: [jane.doe@example.com, 'abc', 'New York']}, do: allow}\n"
                 "  - {id: mail, detect: {personal_data: email}, do: redact}\n"
                 "  - {id: digits, detect: {regex: '\\d{2,6}[ -]?\\d{2,4}'}, do: redact, replacement: '#'}\n"
                 "  - {id: card, detect: {personal_data: card, decode: both}, do: mask, keep_last: 4}\n"
                 "  - {id: x, detect: {regex: '<<[^>]*>>'}, cap: 20, do: redact}\n"
                 "  - {id: see, detect: {regex: 'b[abc]?'}, do: flag}\n"
                 "  - {id: stop, detect: {keywords: [falcon, york times]}, do: block}\n",
                 {"jane.doe@example.com", "other@example.com", "4111 1111 1111 1111", "12 34", "12345678",
                  "NDExMSAxMTExIDExMTEgMTExMQ==", "<<", ">>", "<<1234>>", "abc", "ab", "falcon", "New York", "New York Times", "a@b.co"}});
  return out;
}

class Texts {
 public:
  explicit Texts(std::uint64_t seed) : random_(seed) {}
  std::size_t Below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  std::string Make(const Rules& rules) {
    std::string text;
    const std::size_t pieces = 2 + Below(18);
    const bool dense = Below(3) == 0;
    if (Below(12) == 0) {  // Long enough for the window to drop its beginning.
      while (text.size() < 1500) text += kFiller[Below(kFiller.size())];
    }
    for (std::size_t i = 0; i < pieces; ++i) {
      const bool plant = dense || Below(3) == 0;
      std::string piece = plant ? rules.planted[Below(rules.planted.size())] : kFiller[Below(kFiller.size())];
      if (Below(12) == 0 && piece.size() > 1) piece.resize(CutAt(piece, Below(piece.size())));  // A near miss.
      if (Below(4) == 0) piece = Disguised(piece);
      for (std::size_t n = Below(20) == 0 ? 1 + Below(30) : 1; n > 0; --n) text += piece;
      if (Below(2) == 0) text += " ";
    }
    return text;
  }

  // Some of the characters as others that read the same, and unseen ones between them, U+0000 too.
  std::string Disguised(std::string_view piece) {
    static constexpr char32_t kUnseen[] = U"\u200b\u00ad\u0301\U000E0041\u200d\1\b\177\u0080\ue000\ufdd0\ufffd\U0010FFFF\u0592\u0940";
    std::string out;
    for (const char c : piece) {
      const bool full_width = c > ' ' && c <= '~' && Below(6) == 0;
      if (full_width) {
        const int at = c - '!' + 0x01;
        out += std::string("\xef") + static_cast<char>(0xBC | (at >> 6)) + static_cast<char>(0x80 | (at & 0x3F));
      } else {
        out += c == 'a' && Below(2) == 0   ? "\u0430"
               : c == 'o' && Below(2) == 0 ? "\u043e"
               : c == ' ' && Below(3) == 0 ? "\u00a0"
                                           : std::string(1, c);
      }
      if (static_cast<signed char>(c) >= 0 && Below(5) == 0) {
        for (std::size_t n = Below(40) == 0 ? 70 : 1; n > 0; --n) AppendUtf8(kUnseen[Below(std::size(kUnseen))], out);
      }
    }
    return out;
  }

  // A way of cutting: one by one, a few at a time, in large pieces, all at once.
  std::size_t Points(std::size_t way) {
    switch (way) {
      case 0: return 1;
      case 1: return 1 + Below(4);
      case 2: return 1 + Below(24);
      default: return 1 + Below(400);
    }
  }

 private:
  static std::size_t CutAt(std::string_view text, std::size_t at) {
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    return at;
  }
  std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("Any pieces of any text give what the whole text gives, for every kind of rule") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  const std::vector<Rules> all = AllRules();
  const std::size_t texts = 24'000 / all.size() / 2;
  Texts make(seed);
  std::size_t cases = 0, hits = 0;
  for (const Rules& rules : all) {
    INFO("rules: " << rules.name << "\n" << rules.yaml);
    const auto policies = MustCompile(rules.yaml);
    for (std::size_t i = 0; i < texts; ++i) {
      const std::string text = make.Make(rules);
      const Filtered whole = MustFilter(*policies, text);
      hits += whole.verdict.rules.empty() ? 0 : 1;
      for (const std::size_t way : {i % 4, (i + 1) % 4}) {
        CheckStream(*policies, text, whole, [&] { return make.Points(way); });
        ++cases;
      }
    }
  }
  CHECK(cases >= 20'000);
  CHECK(hits * 4 > cases / 2);  // The texts are worth something.
}

TEST_CASE("Every split point of every planted match gives what the whole text gives") {
  for (const Rules& rules : AllRules()) {
    INFO("rules: " << rules.name << "\n" << rules.yaml);
    const auto policies = MustCompile(rules.yaml);
    for (const std::string& planted : rules.planted) {
      const bool catalogue = std::string_view(rules.name).starts_with("every");
      for (const char* around : catalogue ? std::vector{" "} : std::vector{"", " ", "a", ". phone "}) {
        const std::string text = around + planted + around;
        const Filtered whole = MustFilter(*policies, text);
        for (std::size_t split = 0, points = 0; split < text.size(); split += CodePointLength(text, split), ++points) {
          bool first = true;
          CheckStream(*policies, text, whole, [&] { return std::exchange(first, false) && points > 0 ? points : text.size(); });
        }
      }
    }
  }
}

TEST_CASE("Patterns made at random hold the property too") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const std::function<std::string(int)> pattern = [&](int depth) -> std::string {
    static const char* const kAtoms[] = {"a", "b", "c", "[ab]", "[^a]", ".", "\\d", "\\b", "\\B", "(?m:^)", "(?m:$)", "\u00e9", "1", "\\w"};
    std::string out;
    for (std::size_t i = 0, n = 1 + below(3); i < n; ++i) {
      std::string atom = depth > 0 && below(3) == 0 ? "(?:" + pattern(depth - 1) + (below(2) == 0 ? "|" + pattern(depth - 1) : "") + ")"
                                                    : kAtoms[below(std::size(kAtoms))];
      static const char* const kRepeats[] = {"", "", "", "?", "{0,3}", "{2}", "{1,4}", "*", "+"};
      if (atom.find("\\b") == std::string::npos && atom.find("\\B") == std::string::npos && atom[0] != '(')
        atom += kRepeats[below(std::size(kRepeats))];
      else if (atom.starts_with("(?:"))
        atom += kRepeats[below(7)];
      out += atom;
    }
    return out;
  };
  static const char* const kLetters[] = {"a", "b", "c", "1", " ", "\n", "\u00e9", "a", "b"};
  int compiled = 0;
  for (int round = 0; round < 1500; ++round) {
    const std::string regex = pattern(2);
    const char* action = std::array{"redact", "mask\n    keep_last: 1", "block", "flag"}[below(4)];
    std::shared_ptr<const PolicySet> policies;
    for (const char* cap : {"", "    cap: 16\n"}) {
      const PolicySource source{"t", OneRule("{regex: '" + regex + "'}", action, cap)};
      if (auto made = PolicySet::Compile({&source, 1}); made.ok()) policies = *std::move(made);
    }
    if (policies == nullptr) continue;  // Matches the empty text.
    ++compiled;
    INFO("regex: " << regex << " do: " << action);
    for (int i = 0; i < 8; ++i) {
      std::string text;
      for (std::size_t n = 1 + below(80); n > 0; --n) text += kLetters[below(std::size(kLetters))];
      const Filtered whole = MustFilter(*policies, text);
      CheckStream(*policies, text, whole, [&] { return std::size_t{1}; });
      CheckStream(*policies, text, whole, [&] { return 1 + below(20); });
    }
  }
  CHECK(compiled > 300);
}

TEST_CASE("What is held ends when the text goes on harmlessly") {
  for (const Rules& rules : AllRules()) {
    INFO("rules: " << rules.name << "\n" << rules.yaml);
    const auto policies = MustCompile(rules.yaml);
    for (const std::string& planted : rules.planted) {
      INFO("planted: " << planted);
      const auto filter = policies->OpenOutput({});
      REQUIRE(filter->Push(planted).ok());
      for (int i = 0; i < 24; ++i) REQUIRE(filter->Push(" . , ; ! ").ok());
      CHECK(filter->held_bytes() <= 8);
    }
  }
}

}  // namespace tollgate::policy
