#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

const std::string kMask = "mask\n    keep_last: 4";
const std::string kHash = "hash\n    salt: 0123456789abcdef";

}  // namespace

TEST_CASE("A mask keeps the last characters asked for, and hides how long the value was") {
  struct Row {
    std::string action, text, out;
  };
  const Row rows[] = {
      {kMask, "card 4111 1111 1111 1111.", "card ****1111."},
      {kMask, "4111111111111111", "****1111"},
      {"mask", "4111 1111 1111 1111", "****"},
      {kMask, "5555-5555-5555-4444 and 378282246310005", "****4444 and ****0005"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    CHECK(MustFilter(*MustCompile(OneRule("{personal_data: card}", row.action)), row.text).text == row.out);
  }
  const auto words = MustCompile(OneRule("{keywords: [abcdefg, abcdefgh, \u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9]}", kMask));
  CHECK(MustFilter(*words, "abcdefg").text == "****");  // Shorter than twice what would stay.
  CHECK(MustFilter(*words, "abcdefgh").text == "****efgh");
  CHECK(MustFilter(*words, "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9").text == "****\u00e9\u00e9\u00e9\u00e9");
}

TEST_CASE("A mask keeps nothing of what another rule hides or blocks") {
  const std::string head = "version: 1\nname: t\nrules:\n  - {id: m, detect: {personal_data: card}, do: mask, keep_last: 4}\n";
  const auto redact = MustCompile(head + "  - {id: r, detect: {regex: '1111\\b'}, do: redact}\n");
  CHECK(MustFilter(*redact, "4111 1111 1111 1111").text == "****");
  const auto block = MustCompile(head + "  - {id: b, detect: {regex: '1111 1111\\b'}, do: block}\n");
  CHECK(MustFilter(*block, "4111 1111 1111 1111").text == "****");
  const auto flag = MustCompile(head + "  - {id: f, detect: {regex: '1111\\b'}, do: flag}\n");
  CHECK(MustFilter(*flag, "4111 1111 1111 1111").text == "****1111");
}

TEST_CASE("A hash is the same for the same value, other for another value or salt, and holds neither") {
  const auto policies = MustCompile(OneRule("{personal_data: email}", kHash));
  const std::string once = MustFilter(*policies, "a@example.com").text;
  CHECK(once.size() == std::string("[EMAIL:0123456789ab]").size());
  CHECK(once.starts_with("[EMAIL:"));
  CHECK(MustFilter(*policies, "to a@example.com, a@example.com").text == "to " + once + ", " + once);
  CHECK(MustFilter(*policies, "b@example.com").text != once);
  CHECK(MustFilter(*MustCompile(OneRule("{personal_data: email}", "hash\n    salt: fedcba9876543210")), "a@example.com").text != once);
}

TEST_CASE("Streams write a mask or a hash once the span is whole, at the end of the reply too") {
  for (const std::string& action : {kMask, kHash}) {
    const auto policies = MustCompile(OneRule("{personal_data: [card, email]}", action));
    for (const char* text : {"4111 1111 1111 1111", "x 4111111111111111 y", "a@example.com", "a@example.com,b@example.com",
                             "a@example.com 4111111111111111"}) {
      const Filtered whole = MustFilter(*policies, text);
      for (std::size_t step : {1u, 3u, 100u}) CheckStream(*policies, text, whole, [&] { return step; });
    }
  }
}

TEST_CASE("What belongs to one way of redacting is refused with another") {
  CHECK(CompileError(OneRule("{personal_data: card}", "redact\n    keep_last: 4")).find("'keep_last' is for 'do: mask'") !=
        std::string::npos);
  CHECK(CompileError(OneRule("{personal_data: card}", "mask\n    keep_last: 9")).find("from 0 to 8") != std::string::npos);
  CHECK(CompileError(OneRule("{personal_data: card}", "hash")).find("needs a 'salt'") != std::string::npos);
  CHECK(CompileError(OneRule("{personal_data: card}", "replace")).find("needs a 'replacement'") != std::string::npos);
  CHECK(CompileError(OneRule("{personal_data: card}", "mask\n    replacement: x")).find("'replacement' is for") != std::string::npos);
}

}  // namespace tollgate::policy
