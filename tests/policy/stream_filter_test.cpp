#include <fmt/format.h>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Push(StreamFilter& filter, std::string_view text) {
  auto out = filter.Push(text);
  REQUIRE(out.ok());
  return *out;
}

std::string Finish(StreamFilter& filter) {
  auto out = filter.Finish();
  REQUIRE(out.ok());
  return *out;
}

}  // namespace

TEST_CASE("At the verdict on a span no byte at or behind its beginning has left, whatever the action and the pieces") {
  const std::string text = "Ask bob@example.com or, of project falcon, ann@example.org: key_0123456789 falcon";
  for (const char* action : {"redact", "mask, keep_last: 2", "hash, salt: 0123456789abcdef", "flag", "block"}) {
    for (const char* detect : {"personal_data: email", "keywords: [falcon, project falcon]", "regex: 'key_[0-9]{4,10}'"}) {
      const auto policies =
          MustCompile(fmt::format("version: 1\nname: t\nrules:\n  - {{id: r, detect: {{{}}}, do: {}}}\n", detect, action));
      for (std::size_t size = 1; size < 12; ++size) {
        INFO(action << " " << detect << " in pieces of " << size);
        const auto filter = policies->OpenOutput({});
        std::string given;
        std::size_t judged = 0;
        for (std::size_t at = 0; at <= text.size(); at += size) {
          const std::int64_t out = filter->decided_bytes();
          const std::size_t bytes = given.size();
          given += Push(*filter, std::string_view(text).substr(at, size));
          if (at + size > text.size()) given += Finish(*filter);
          if (filter->verdict().rules.empty()) continue;
          const std::vector<Span>& spans = filter->verdict().rules[0].spans;
          if (judged == 0) CHECK(static_cast<std::int64_t>(bytes) <= spans[0].begin);
          for (; judged < spans.size(); ++judged) CHECK(out <= spans[judged].begin);
        }
        CHECK(judged == MustFilter(*policies, text).verdict.rules[0].spans.size());
        CHECK(given == MustFilter(*policies, text).text);
      }
    }
  }
}

TEST_CASE("Only what could still become a match is held") {
  const auto policies = MustCompile(OneRule("{personal_data: email}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "Hello ") == "Hello ");
  CHECK(Push(*filter, "wor").empty());
  CHECK(filter->held_bytes() == 3);
  CHECK(Push(*filter, "ld ") == "world ");
  CHECK(Push(*filter, "jane@").empty());
  CHECK(Push(*filter, "example").empty());
  CHECK(Push(*filter, ".com").empty());
  CHECK(filter->held_bytes() == 16);
  CHECK(Push(*filter, " and") == "[EMAIL] ");
  CHECK(Finish(*filter) == "and");
  CHECK(filter->held_bytes() == 0);
  REQUIRE(filter->raw().size() == 1);
  CHECK(filter->raw()[0] == RawSpan{"r", 12, "jane@example.com"});
  REQUIRE(filter->replaced().size() == 1);
  CHECK(filter->replaced()[0] == std::pair<std::int64_t, std::int64_t>(12, 19));
  CHECK(filter->verdict().action == Action::kRedact);
  CHECK(filter->verdict().rules[0].count == 1);
}

TEST_CASE("What counts beside a word alone is held behind that word alone") {
  const auto policies = MustCompile(OneRule("{personal_data: us_routing_number}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "Order 0210") == "Order 0210");
  CHECK(Push(*filter, "00021. Routing ") == "00021. Routing ");
  CHECK(Push(*filter, "0210").empty());
  CHECK(filter->held_bytes() == 4);
  CHECK(Push(*filter, "00021.") == "[US_ROUTING_NUMBER].");
}

TEST_CASE("What begins with its own mark is held from its first letter") {
  const auto policies = MustCompile(OneRule("{regex: ['\\bgh[op]_[a-z]{8}', '\\d{2,4} EUR']}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "a g") == "a ");
  CHECK(Push(*filter, "o, sigh") == "go, sigh");
  CHECK(Push(*filter, ". gh").starts_with(". "));
  CHECK(Push(*filter, "p_abcd").empty());
  CHECK(filter->held_bytes() == 8);
  CHECK(Push(*filter, "efgh 12").starts_with("["));
  CHECK(Push(*filter, "34 EU").empty());
  CHECK(filter->held_bytes() == 7);
  CHECK(Push(*filter, "X") == "1234 EUX");
}

TEST_CASE("A block releases what came before, and nothing after it ever") {
  const auto policies = MustCompile(OneRule("{keywords: [project falcon]}", "block", "    because: Not announced.\n"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "It is Project") == "It is ");
  CHECK(Push(*filter, " Falcon").empty());
  CHECK_FALSE(filter->blocked());
  CHECK(Push(*filter, ", I").empty());
  CHECK(filter->blocked());
  CHECK(filter->decided_bytes() == 6);
  CHECK(filter->held_bytes() == 0);
  CHECK(Push(*filter, " think").empty());
  CHECK(Finish(*filter).empty());
  CHECK(filter->pushed_bytes() == 29);
  REQUIRE(filter->raw().size() == 1);
  CHECK(filter->raw()[0] == RawSpan{"r", 6, "Project Falcon, I think"});
  REQUIRE(filter->verdict().rules.size() == 1);
  CHECK(filter->verdict().rules[0].because == "Not announced.");
  CHECK(filter->verdict().action == Action::kBlock);
}

TEST_CASE("A match at the very end is decided by the end") {
  const auto policies = MustCompile(OneRule("{keywords: [falcon]}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "a falcon") == "a ");
  CHECK(Finish(*filter) == "[REDACTED]");
}

TEST_CASE("A capped rule redacts at its cap and swallows the rest of the run") {
  const auto policies = MustCompile(OneRule("{regex: 'key=[a-z]+'}", "redact", "    cap: 32\n    replacement: '***'\n"));
  const std::string text = "the key=" + std::string(500, 'q') + "; done";
  const Filtered whole = MustFilter(*policies, text);
  CHECK(whole.text == "the ***; done");
  CHECK(whole.verdict.rules[0].count == 1);
  const Streamed streamed = StreamInPieces(*policies, text, whole.text, [] { return std::size_t{3}; });
  CHECK(streamed.text == whole.text);
  CHECK(streamed.held_max <= 64 + 3);
  REQUIRE(streamed.raw.size() == 1);
  CHECK(streamed.raw[0].bytes == "key=" + std::string(500, 'q'));
}

TEST_CASE("No byte of a planted canary is ever out, whatever the pieces") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: c, detect: {regex: 'CANARY-[0-9]{6}'}, do: redact}\n  - {id: s, detect: {keywords: "
      "[stopword]}, do: block}\n");
  for (std::size_t n = 1; n < 20; ++n) {
    const std::string text = "ok CANARY-123456 CANARY-12345x CANARY-654321\u00e9 stopword CANARY-111111";
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text == "ok [REDACTED] CANARY-12345x [REDACTED]\u00e9 ");
    CheckStream(*policies, text, whole, [&] { return n; });
  }
}

TEST_CASE("Pieces that are not whole UTF-8 close the filter") {
  const auto policies = MustCompile(OneRule("{keywords: [falcon]}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Push(*filter, "caf\u00e9 ") == "caf\u00e9 ");
  CHECK(filter->Push("\xC3").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(filter->Push("x").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_FALSE(filter->Finish().ok());
}

TEST_CASE("Nothing is pushed after the end") {
  const auto policies = MustCompile(OneRule("{keywords: [falcon]}", "redact"));
  const auto filter = policies->OpenOutput({});
  CHECK(Finish(*filter).empty());
  CHECK(filter->Push("x").status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("Without rules for the subject everything passes at once") {
  const auto policies =
      MustCompile("version: 1\nname: t\nrules:\n  - {id: c, where: {team: a}, detect: {personal_data: email}, do: redact}\n");
  const auto filter = policies->OpenOutput({"", "b", "", "", ""});
  CHECK(Push(*filter, "jane@exa") == "jane@exa");
  CHECK(filter->held_bytes() == 0);
  CHECK(Finish(*filter).empty());
  const auto scoped = policies->OpenOutput({"", "a", "", "", ""});
  CHECK(Push(*scoped, "jane@exa").empty());
}

TEST_CASE("A filter outlives the set that opened it") {
  auto policies = MustCompile(OneRule("{personal_data: email}", "redact"));
  const auto filter = policies->OpenOutput({});
  policies.reset();
  CHECK(Push(*filter, "jane@example.com ") == "[EMAIL] ");
}

}  // namespace tollgate::policy
