// A tool's result that is JSON with escapes is read twice, and what either reading loses is in neither.
#include "policy/readings.h"

#include <random>

#include "policy/json_parts.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

Message FoundResult(std::string text, std::string tool = "find") {
  return {Role::kTool, "", {std::move(text)}, false, {Part::kToolResult, std::move(tool)}};
}

// A prompt as the gateway lays it before policy: second readings stand behind the conversation.
std::vector<Message> PromptReadTwice(std::vector<Message> messages) {
  const std::size_t count = messages.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (auto reading = SecondReading(messages[i]))
      messages.push_back(Message{Role::kTool, "", *std::move(reading), true, Channel(messages[i].channel)});
  }
  return messages;
}

std::vector<Message> UsedBy(const std::string& yaml, const std::vector<Message>& prompt) {
  const auto inspection = MustCompile("version: 1\nname: t\nrules:\n" + yaml)->Inspect({}, prompt);
  REQUIRE(inspection.ok());
  return inspection->prompt;
}

std::string ResultUsed(const std::string& yaml, const std::string& result) {
  return TextOf(UsedBy(yaml, PromptReadTwice({FoundResult(result)}))[0]);
}

// One code point of a JSON text: as it is written, and as it is read.
struct WrittenUnit {
  std::string written, read;
};

std::vector<WrittenUnit> RandomUnits(std::mt19937_64& random) {
  static const std::vector<WrittenUnit> kInStrings = {
      {"a", "a"},     {"\u00FC", "\u00FC"}, {R"(\n)", "\n"},         {R"(\")", "\""},         {R"(\\)", "\\"},
      {R"(\/)", "/"}, {R"(\u0034)", "4"},   {R"(\u00fC)", "\u00FC"}, {R"(\u20AC)", "\u20AC"}, {R"(\uD83D\uDE00)", "\U0001F600"}};
  std::vector<WrittenUnit> out = {{"[", "["}, {"\"", "\""}};
  for (int literals = 0; literals < 3; ++literals) {
    if (literals > 0) out.insert(out.end(), {{"\"", "\""}, {",", ","}, {"\"", "\""}});
    for (auto n = random() % 8; n > 0; --n) out.push_back(kInStrings[random() % kInStrings.size()]);
  }
  out.insert(out.end(), {{"\"", "\""}, {"]", "]"}});
  return out;
}

TEST_CASE("What is taken out of either reading is taken out of the text as it is written, to the byte, with the whole of its escapes") {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 2000; ++round) {
    const std::vector<WrittenUnit> units = RandomUnits(random);
    std::string json, read;
    std::vector<TextEdit> of_written, of_read;
    std::vector<char> gone;  // Of the bytes that are written.
    bool cut_written = false, cut_read = false;
    const auto add = [](std::int64_t begin, std::size_t end, std::vector<TextEdit>& edits) {
      if (edits.empty() || edits.back().end < begin) edits.push_back({begin, begin, ""});
      edits.back().end = static_cast<std::int64_t>(end);
    };
    for (const WrittenUnit& unit : units) {
      const auto at = static_cast<std::int64_t>(json.size()), read_at = static_cast<std::int64_t>(read.size());
      json += unit.written;
      read += unit.read;
      cut_written = random() % 4 == 0 ? !cut_written : cut_written;
      cut_read = random() % 4 == 0 ? !cut_read : cut_read;
      if (cut_written) add(at, json.size(), of_written);
      if (cut_read) add(read_at, read.size(), of_read);
      gone.insert(gone.end(), unit.written.size(), static_cast<char>(cut_written || cut_read));
    }
    REQUIRE(JsonDecoded(json) == read);
    std::string left;
    for (std::size_t i = 0; i < json.size(); ++i) {
      if (gone[i] == 0) left += json[i];
    }
    INFO(json);
    CHECK(ApplyTextEdits(json, EditsOfBoth(json, of_written, of_read)) == left);
  }
}

TEST_CASE("A span that one reading alone shows whole is hidden whole, whatever the other one finds") {
  const std::string member =
      "  - {id: diagnosis, where: {parts: tool_results}, "
      R"(detect: {regex: '"diagnosis":\s{0,4}"(?:[^"\\]|\\.)*"'}, cap: 4096, do: redact})";
  CHECK(ResultUsed(member + "\n", R"({"id":7,"diagnosis":"so-called \"carcinoma in situ\", stage 0","by":"Dr. X"})") ==
        R"({"id":7,[REDACTED],"by":"Dr. X"})");
  const std::string lines =
      "  - {id: secret, detect: {regex: 'CONFIDENTIAL.{1,500}END', as_written: true}, do: redact}\n"
      "  - {id: mail, detect: {personal_data: email}, do: redact}\n";
  CHECK(ResultUsed(lines, R"({"a":"x CONFIDENTIAL one\ntwo END y","b":"to bob@example.com"})") ==
        R"({"a":"x [REDACTED] y","b":"to [EMAIL]"})");
  const std::string quote = "  - {id: quote, detect: {regex: 'q\"[a-z]{1,9}\"'}, do: replace, replacement: 'a \"b\"'}\n";
  CHECK(ResultUsed(quote, R"({"a":"say q\"abc\" and \u0041"})") == R"({"a":"say a \"b\" and \u0041"})");
}

TEST_CASE("Both readings are of the same text afterwards: what others are asked about is what the model is given") {
  const std::string rules =
      "  - {id: secret, detect: {regex: 'CONFIDENTIAL.{1,500}END', as_written: true}, do: redact}\n"
      "  - {id: mail, detect: {personal_data: email}, do: redact}\n";
  const auto used = UsedBy(rules, PromptReadTwice({FoundResult(R"({"a":"CONFIDENTIAL \n END","b":"bob\u0040example.com \u00fc"})")}));
  REQUIRE(used.size() == 2);
  CHECK(TextOf(used[0]) == R"({"a":"[REDACTED]","b":"[EMAIL] \u00fc"})");
  CHECK(TextOf(used[1]) == "{\"a\":\"[REDACTED]\",\"b\":\"[EMAIL] \u00FC\"}");
}

TEST_CASE("Of bytes that rules of both readings hide, no mask and no pseudonym shows any") {
  const std::vector<TextEdit> mask = {{2, 12, "****cret", "****", 0, true}};
  const std::string json = R"(["a b secret\n c"])";
  const auto put = [&](const TextEdit& read) { return EditsOfBoth(json, mask, std::vector<TextEdit>{read}); };
  CHECK(put({2, 12, "****cret", "****", 0, true}).size() == 1);
  CHECK(put({2, 12, "****cret", "****", 0, true})[0].text == "****cret");
  CHECK(put({2, 12, "[X]", "[X]", 1, true})[0].text == "****");       // Another rule's.
  CHECK(put({2, 12, "****", "****", 0, false})[0].text == "****");    // Another rule's, too.
  CHECK(put({6, 13, "****et", "****", 0, true})[0].text == "****");   // Not the same bytes.
  CHECK(put({6, 13, "****et", "****", 0, true})[0].end == 14);        // With the escape behind it.
  CHECK(put({13, 14, "[\"]", "[\"]", 1, true}).size() == 1 + 1);      // Beside it.
  CHECK(put({13, 14, "[\"]", "[\"]", 1, true})[1].text == "[\\\"]");  // Within the string.
  CHECK(put({15, 17, "[\"]", "[\"]", 1, true})[1].text == "[\"]");    // Behind it.
}

TEST_CASE("Each second reading is of its own result, and one that is of none is refused") {
  const std::string rule = "  - {id: mail, detect: {personal_data: email}, do: redact}\n";
  // The first reads, as it is written, as the second one does; the third is in two parts.
  Message parts = FoundResult(R"({"m":"bob\u0040exam)");
  parts.parts.push_back(R"(ple.com","n":"\u0041"})");
  std::vector<Message> prompt =
      PromptReadTwice({FoundResult(R"({"m":"b"})"), FoundResult(R"({"m":"\u0062"})"), parts, FoundResult("no \\ json")});
  REQUIRE(prompt.size() == 6);
  const auto pairs = ReadTwiceIn(prompt);
  REQUIRE(pairs.ok());
  REQUIRE(pairs->size() == 2);
  CHECK(((*pairs)[0].written == 1 && (*pairs)[0].read == 4));
  CHECK(((*pairs)[1].written == 2 && (*pairs)[1].read == 5));
  const auto used = UsedBy(rule, prompt);
  CHECK(TextOf(used[1]) == R"({"m":"\u0062"})");
  CHECK(TextOf(used[2]) == R"({"m":"[EMAIL]","n":"\u0041"})");
  prompt[5].parts.back() += " ";
  CHECK(ReadTwiceIn(prompt).status().code() == absl::StatusCode::kInternal);
  CHECK_FALSE(MustCompile("version: 1\nname: t\nrules:\n" + rule)->Inspect({}, prompt).ok());
}

}  // namespace
}  // namespace tollgate::policy
