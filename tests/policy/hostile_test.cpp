// Bounded time and memory, whatever the text. No timed assertions: what is quadratic here would not end within the test's limit.
#include <algorithm>
#include <iterator>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kLine = 10 << 20, kStream = 64 << 10;
constexpr std::string_view kInvisible = "\u200b";
constexpr std::size_t kMillionInvisible = 1'000'000 * kInvisible.size();

// Of these a line has ten megabytes; of the others a sixteenth, for the sake of the tests' time, and of invisible ones a million.
constexpr std::string_view kLong[] = {"a", "1", "-", "(", "fal", "4111 1111 1111 1111 ", "secret token key abcdefghijklmnopqr AKIA "};

std::string Repeat(std::string_view piece, std::size_t bytes) {
  std::string out;
  out.reserve(bytes + piece.size());
  while (out.size() < bytes) out += piece;
  return out;
}

const std::vector<std::string>& HostilePieces() {
  static const std::vector<std::string> pieces = {"a",
                                                  "1",
                                                  "@",
                                                  "a@",
                                                  "a@a.",
                                                  "1.",
                                                  "1:",
                                                  "4111 1111 1111 1111 ",
                                                  "-----BEGIN PRIVATE KEY-----\n",
                                                  "eyJaaaaaaaaaaa.",
                                                  "AB12 ",
                                                  "phone ",
                                                  "+1",
                                                  "\u200b",
                                                  "\u00e9",
                                                  "(",
                                                  "token=",
                                                  "AKIA",
                                                  "x@y.co ",
                                                  "falcon ",
                                                  "fal",
                                                  "sk_live_",
                                                  "xoxb-1-",
                                                  "\U0001F600",
                                                  "-",
                                                  "0-",
                                                  "::1 ",
                                                  "key=aaaaaaaaaaaaaaaaaaaaaaaaaa",
                                                  "secret token key abcdefghijklmnopqr AKIA ",
                                                  "\"\\n4111",
                                                  "\"\\u0034\\ud83d",
                                                  "\"" + std::string(1000, '\\')};
  return pieces;
}

}  // namespace

TEST_CASE("A line of ten megabytes of anything is judged in linear time") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n"
      "  - {id: p, detect: {personal_data: all}, do: redact}\n  - {id: s, detect: {secrets: all}, do: redact}\n"
      "  - {id: k, detect: {keywords: [falcon, fal, f]}, do: redact}\n  - {id: c, detect: {regex: 'key=[a-z]+'}, cap: 512, do: redact}\n");
  for (const std::string& piece : HostilePieces()) {
    INFO("piece: " << piece);
    const bool is_long = std::find(std::begin(kLong), std::end(kLong), piece) != std::end(kLong);
    const std::string text = Repeat(piece, is_long ? kLine : piece == kInvisible ? kMillionInvisible : kLine / 16);
    const Message message{Role::kUser, "", {text}};
    const auto out = policies->Inspect({}, {&message, 1});
    REQUIRE(out.ok());
    for (const RuleOutcome& rule : out->verdict.rules) CHECK(rule.spans.size() <= RuleOutcome::kSpansMax);
  }
}

TEST_CASE("A stream of anything holds a bounded number of bytes") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n"
      "  - {id: p, detect: {personal_data: all}, do: redact}\n  - {id: s, detect: {secrets: all}, do: redact}\n"
      "  - {id: k, detect: {keywords: [falcon]}, do: redact}\n  - {id: c, detect: {regex: 'key=[a-z]+'}, cap: 512, do: redact}\n");
  std::int64_t longest = 0;
  for (const RuleDescription& rule : policies->Describe()) longest = std::max(longest, rule.hold_bytes_max);
  for (const std::string& piece : HostilePieces()) {
    INFO("piece: " << piece);
    const auto filter = policies->OpenOutput({});
    const std::string many = Repeat(piece, 2048);
    for (std::size_t pushed = 0; pushed < kStream;) {  // As tokens come at first; then more at once.
      const std::string& next = pushed < (16 << 10) ? piece : many;
      REQUIRE(filter->Push(next).ok());
      pushed += next.size();
      if (filter->held_bytes() > static_cast<std::size_t>(longest) + next.size()) FAIL("held " << filter->held_bytes());
    }
    REQUIRE(filter->Finish().ok());
  }
}

TEST_CASE("Patterns that ruin backtracking matchers are linear here") {
  const std::string text = Repeat("a", 256 << 10) + "!";
  for (const char* regex : {"(?:a|a)*b", "(?:a+)+b", "(?:a*)*b", "(?:a|aa)+\\z", "a{0,200}a{200}b", "[a-z]{1,400}@x", "(?:\\w+\\s?)+\\z"}) {
    INFO(regex);
    std::shared_ptr<const PolicySet> policies;
    for (const char* cap : {"", "    cap: 1024\n"}) {
      const PolicySource source{"t", OneRule("{regex: '" + std::string(regex) + "'}", "redact", cap)};
      if (auto made = PolicySet::Compile({&source, 1}); made.ok()) policies = *made;
    }
    REQUIRE(policies != nullptr);
    const Filtered whole = MustFilter(*policies, text);
    CheckStream(*policies, text, whole, [] { return std::size_t{4096}; });
  }
}

TEST_CASE("Ten thousand keywords compile and are found") {
  std::string list;
  for (int i = 0; i < 10'000; ++i) list += (i == 0 ? "term" : ", term") + std::to_string(i) + "x";
  const auto policies = MustCompile(OneRule("{keywords: [" + list + "]}", "redact"));
  CHECK(MustFilter(*policies, "a term4711x, term4711xx").text == "a [REDACTED], term4711xx");
}

}  // namespace tollgate::policy
