// The text that comes out of tokens: whole code points, no stop string, the same for any cut.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <optional>

#include "base/encoding.h"
#include "inference/output_text.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

struct Reply {
  std::string text;
  int stop = -1;
};

Reply Through(const std::vector<std::string>& stops, const std::vector<std::string>& tokens) {
  OutputText output(stops);
  Reply reply;
  for (const std::string& token : tokens) {
    const std::size_t before = reply.text.size();
    const bool met = output.Append(token, reply.text);
    CHECK(base::IsValidUtf8(std::string_view(reply.text).substr(before)));
    CHECK(output.delivered() <= output.tokens());
    if (met) break;
  }
  output.Finish(reply.text);
  reply.stop = output.stop_index();
  return reply;
}

// The rule, told over the whole text: repair it, then cut at the stop string that is complete first, the longest if several are.
Reply Reference(const std::vector<std::string>& stops, const std::string& bytes) {
  std::string text;
  Utf8Joiner joiner;
  joiner.Append(bytes, text);
  joiner.Finish(text);
  for (std::size_t end = 1; end <= text.size(); ++end) {
    int met = -1;
    for (std::size_t s = 0; s < stops.size(); ++s) {
      if (!std::string_view(text).substr(0, end).ends_with(stops[s])) continue;
      if (met < 0 || stops[s].size() > stops[static_cast<std::size_t>(met)].size()) met = static_cast<int>(s);
    }
    if (met >= 0) return {text.substr(0, end - stops[static_cast<std::size_t>(met)].size()), met};
  }
  return {text, -1};
}

TEST_CASE("A code point leaves whole, however its bytes are cut, and what is not UTF-8 becomes U+FFFD") {
  struct Row {
    std::vector<std::string> tokens;
    std::string text;
  };
  const Row rows[] = {
      {{"plain"}, "plain"},
      {{"\xC3", "\xA9"}, "\xC3\xA9"},
      {{"a\xF0\x9F", "\x98",
        "\x80"
        "b"},
       "a\xF0\x9F\x98\x80"
       "b"},
      {{"\xFF"}, "\xEF\xBF\xBD"},
      {{"\xC0\x80"}, "\xEF\xBF\xBD\xEF\xBF\xBD"},
      {{"\xE2\x82", "x"}, "\xEF\xBF\xBDx"},
      {{"\xED\xA0\x80"}, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
      {{"\xF4\x90\x80\x80"}, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
      {{"end\xE2\x82"}, "end\xEF\xBF\xBD"},
  };
  for (const Row& row : rows) CHECK(Through({}, row.tokens).text == row.text);
}

TEST_CASE("Each token says up to where it needs the text, one byte more than whole where it ends inside a code point") {
  const std::vector<std::string> tokens = {"ab", "c\xF0\x9F", "\x98", "\x80", "\xE2", "d", ""};
  for (const std::vector<std::string>& stops : {std::vector<std::string>{}, std::vector<std::string>{"bcd", "never"}}) {
    OutputText output(stops);
    std::string text;
    std::vector<std::int64_t> ends;
    for (const std::string& token : tokens) {
      output.Append(token, text);
      ends.push_back(output.token_end());
    }
    CHECK(ends == std::vector<std::int64_t>{2, 4, 4, 7, 8, 11, 11});
  }
}

TEST_CASE("A stop string is never given out, not even its first byte, and ends the text") {
  struct Row {
    std::vector<std::string> stops;
    std::vector<std::string> tokens;
    std::string text;
    int stop;
  };
  const Row rows[] = {
      {{"END"}, {"one E", "N", "D two"}, "one ", 0},
      {{"END"}, {"one E", "N", "X two"}, "one ENX two", -1},
      {{"END"}, {"one EN"}, "one EN", -1},
      {{"aab"}, {"a", "a", "a", "b"}, "a", 0},
      {{"abc", "b"}, {"xab"}, "xa", 1},
      {{"b", "ab"}, {"xab"}, "x", 1},
      {{"\xC3\xA9"}, {"caf\xC3", "\xA9!"}, "caf", 0},
      {{"stop"}, {"stop"}, "", 0},
  };
  for (const Row& row : rows) {
    const Reply reply = Through(row.stops, row.tokens);
    CHECK(reply.text == row.text);
    CHECK(reply.stop == row.stop);
  }
}

TEST_CASE("Tokens count as delivered when their whole text is out") {
  OutputText output({"END"});
  std::string text;
  output.Append("a ", text);
  CHECK(output.delivered() == 1);
  output.Append("xE", text);
  CHECK(output.delivered() == 1);
  output.Append("N", text);
  CHECK(output.delivered() == 1);
  output.Append("O", text);
  CHECK(output.delivered() == 4);
  output.Append("E", text);
  output.Finish(text);
  CHECK(output.delivered() == 5);
  CHECK(text == "a xENOE");
}

TEST_CASE("For any bytes, stops and cuts the text is that of the whole") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  const std::vector<std::string> atoms = {"a",        "b",    "ab",           "\n",  "\xC3\xA9", "\xC3", "\xA9", "\xF0\x9F\x98\x80",
                                          "\xF0\x9F", "\x80", "\xEF\xBF\xBD", "\xFF"};
  const std::vector<std::string> sound = {"a", "b", "ab", "\n", "\xC3\xA9", "\xF0\x9F\x98\x80", "\xEF\xBF\xBD"};
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    for (std::size_t n = pick(24); n > 0; --n) bytes += atoms[pick(atoms.size())];
    std::vector<std::string> stops;
    for (std::size_t n = pick(4); n > 0; --n) {
      std::string stop;
      for (std::size_t m = 1 + pick(4); m > 0; --m) stop += sound[pick(sound.size())];
      stops.push_back(stop);
    }
    std::vector<std::string> tokens;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = std::min(bytes.size() - at, pick(5));
      tokens.push_back(bytes.substr(at, size));
      at += size;
    }
    const Reply expected = Reference(stops, bytes);
    const Reply got = Through(stops, tokens);
    REQUIRE(got.text == expected.text);
    const auto text_of = [&](int index) { return index < 0 ? std::string() : stops[static_cast<std::size_t>(index)]; };
    REQUIRE(text_of(got.stop) == text_of(expected.stop));
  }
}

}  // namespace
}  // namespace tollgate::inference
