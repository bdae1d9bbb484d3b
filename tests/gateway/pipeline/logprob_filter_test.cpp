// What of the log-probabilities leaves, for every cut of the text into tokens and pieces.
#include <catch2/catch_test_macros.hpp>

#include <fmt/format.h>

#include "gateway/pipeline/logprob_filter.h"
#include "policy/policy_set.h"
#include "tests/support/random.h"

using namespace tollgate;
using pipeline::Logprobs;
namespace v1 = tollgate::v1;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - id: code
    detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }
    do: redact
    replacement: "[GONE]"
  - id: name
    detect: { keywords: [bluebird] }
    do: block
  - id: greek
    detect: { keywords: ["Ϟ"] }
    do: redact
    replacement: "[G]"
)";

struct Left {
  std::string text;
  std::string tokens;        // Released, with | after each.
  std::string alternatives;  // The same of what stands beside them.
};

struct Part {
  std::string bytes;
  std::vector<std::string> alternatives{};
};

std::shared_ptr<const policy::PolicySet> Compile(const std::string& yaml) {
  const policy::PolicySource source{"house", yaml};
  auto set = policy::PolicySet::Compile(std::span(&source, yaml.empty() ? 0 : 1));
  INFO(set.status().ToString());
  REQUIRE(set.ok());
  return *set;
}

// The tokens as the pool gives them, `per_piece` in a piece, through the LogprobFilter, with a cut after each piece. Up to `early` bytes of
// a token's text come with the piece before it, as where a stop string begins inside of it.
Left Through(const policy::PolicySet& policies, const std::vector<Part>& parts, std::size_t per_piece, std::size_t early = 0) {
  const auto open = [&] { return policies.OpenOutput({}); };
  pipeline::LogprobFilter logprob_filter(true);
  const auto filter = open();
  Left out;
  const auto take = [&] {
    for (const v1::TokenLogprob& token : logprob_filter.Take(*filter)) {
      out.tokens += token.token() + "|";
      for (const v1::TokenLogprob& top : token.top()) out.alternatives += top.token() + "|";
    }
  };
  std::int64_t end = 0;
  std::size_t given = 0;  // Bytes of this token's text that came before.
  inference::Piece piece;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    inference::OutputToken token{.id = static_cast<std::int32_t>(i), .bytes = parts[i].bytes, .logprob = -1, .top = {}};
    for (const std::string& other : parts[i].alternatives) token.top.push_back({1000, other, -2});
    end += static_cast<std::int64_t>(parts[i].bytes.size());
    token.text_end = end;
    piece.text += parts[i].bytes.substr(std::exchange(given, 0));
    piece.tokens.push_back(std::move(token));
    if ((i + 1) % per_piece != 0 && i + 1 < parts.size()) continue;
    if (i + 1 < parts.size()) {
      const std::string& next = parts[i + 1].bytes;
      while (given < std::min(early, next.size()) && static_cast<signed char>(next[given]) >= 0) ++given;
      piece.text += next.substr(0, given);
    }
    const auto clear = logprob_filter.Push(std::exchange(piece, {}), *filter);
    REQUIRE(clear.ok());
    out.text += *clear;
    take();
    if (filter->blocked()) return out;
  }
  const auto rest = logprob_filter.Finish(*filter);
  REQUIRE(rest.ok());
  out.text += *rest;
  take();
  return out;
}

}  // namespace

TEST_CASE("Tokens that went out untouched keep their log-probabilities, whatever stood beside them") {
  const auto policies = Compile(kPolicy);
  for (const std::size_t per_piece : {1, 2, 3, 100}) {
    INFO(per_piece);
    const Left plain = Through(*policies, {{"so "}, {"it "}, {"is."}}, per_piece);
    CHECK(plain.tokens == "so |it |is.|");
    const Left redacted = Through(*policies, {{"a "}, {"ZQ"}, {"~AB"}, {"CD~"}, {"73"}, {" b"}}, per_piece);
    CHECK(redacted.text == "a [GONE] b");
    CHECK(redacted.tokens == "a | b|");
    const Left straddles = Through(*policies, {{"a Z"}, {"Q~ABCD~73 b"}, {" c"}}, per_piece);
    CHECK(straddles.text == "a [GONE] b c");
    CHECK(straddles.tokens == " c|");
    const Left blocked = Through(*policies, {{"the "}, {"blue"}, {"bird"}, {" sings"}}, per_piece);
    CHECK(blocked.text == "the ");
    CHECK(blocked.tokens == "the |");
    const Left harmless = Through(*policies, {{"the "}, {"blue"}, {"berry"}}, per_piece);
    CHECK(harmless.tokens == "the |blue|berry|");
  }
}

TEST_CASE("An alternative leaves only if the filter would have let it out at once") {
  const auto policies = Compile(kPolicy);
  struct Row {
    std::vector<Part> parts;
    std::string alternatives;
  };
  const Row rows[] = {
      {{{"so ", {"no ", "not ", "but "}}, {"be"}, {" it"}}, "no |not |but |"},
      {{{"so ", {"bluebird", "bluebird ", "a bluebird.", "blueberry "}}}, "blueberry |"},
      {{{"blue"}, {"berry", {"bird", "b", "bell "}}}, "bell |"},            // With what stands before it,
      {{{"blue"}, {"bell", {"bird"}}}, ""},                                 // not with the token's own beginning.
      {{{"ZQ~ABCD"}, {"!", {"~73", "~7", "E", "?"}}}, "?|"},                // What could still become a match stays inside,
      {{{"ZQ~AB~7", {"ZQ~AB~73"}}, {"x", {"3", "4", " "}}}, " |"},          // so that no run of alternatives spells it.
      {{{"a", {"\xCF", "\xCF\x9E", "\x9E", "\xCF\xA0"}}}, "\xCF\xA0|"},     // Halves of code points cannot be judged.
      {{{"ZQ~AB~73", {"harmless "}}, {" ", {"harmless "}}}, "harmless |"},  // None beside a token that is gone.
  };
  for (const Row& row : rows) {
    for (const std::size_t per_piece : {1, 2, 100}) {
      for (const std::size_t early : {0, 1, 2, 3}) {
        INFO(row.parts[0].bytes << " " << per_piece << " " << early);
        CHECK(Through(*policies, row.parts, per_piece, early).alternatives == row.alternatives);
      }
    }
  }
}

TEST_CASE("While a capped redaction is swallowed no alternative leaves, nor at the token that ends it") {
  const auto policies =
      Compile("version: 1\nname: house\nrules:\n  - {id: note, detect: {regex: '<<internal[^>]*>>'}, cap: 512, do: redact}\n");
  for (const char* step : {"secret ", "\u200Bsecret ", "s\u0435cret "}) {  // As written, and in its plain form.
    std::vector<Part> parts = {{"<<internal "}};
    for (int i = 0; i < 400; ++i) parts.push_back({step, {"and more of it "}});
    parts.push_back({">>", {"the rest of the secret "}});
    parts.push_back({" ok", {" harmless "}});
    for (const std::size_t per_piece : {1, 3, 1000}) {
      INFO(step << per_piece);
      const Left left = Through(*policies, parts, per_piece);
      CHECK(left.text == "[REDACTED]>> ok");
      CHECK(left.tokens == ">>| ok|");
      CHECK(left.alternatives == " harmless |");
    }
  }
}

TEST_CASE("An alternative is judged behind the whole reply, however far back stands what names it, or opens a string") {
  const auto identifiers = Compile("version: 1\nname: house\nrules:\n  - {id: id, detect: {personal_data: all}, do: redact}\n");
  std::vector<Part> list = {{"German passport numbers:"}};
  for (int i = 0; i < 16; ++i) list.push_back({fmt::format(" C{:08},", 41939071 + 3141593 * i)});
  list.push_back({" unknown ", {" C414", " C41451369, ", " none, "}});
  const auto codes = Compile(kPolicy);
  std::string opened = "{\"a\": \"";
  for (int i = 0; i < 60; ++i) opened += "plain ";
  const std::vector<Part> string = {{opened}, {"word ", {"\\u005aQ~AB~12 ", "\\u005", "\\u005aQ ", "other "}}};
  for (const std::size_t per_piece : {1, 3, 1000}) {
    INFO(per_piece);
    CHECK(Through(*identifiers, list, per_piece).alternatives == " none, |");
    CHECK(Through(*codes, string, per_piece).alternatives == "\\u005aQ |other |");
  }
}

TEST_CASE("Without rules everything leaves") {
  const Left all = Through(*Compile(""), {{"a", {"b", "c"}}, {"ZQ~AB~73", {"bluebird"}}}, 1);
  CHECK(all.tokens == "a|ZQ~AB~73|");
  CHECK(all.alternatives == "b|c|bluebird|");
}

TEST_CASE("A LogprobFilter says how many alternatives it would judge") {
  const inference::OutputToken token{.id = 1, .bytes = "a", .logprob = -1, .top = {{2, "b", -2}, {3, "c", -3}}, .text_end = 1};
  inference::Piece piece;
  piece.tokens = {token, token, token};
  const auto policies = Compile(kPolicy);
  CHECK(pipeline::LogprobFilter(true).AlternativesToJudge(piece) == 6);
  CHECK(pipeline::LogprobFilter(false).AlternativesToJudge(piece) == 0);
}

TEST_CASE("Tokens that share a code point leave together, or not at all") {
  const auto policies = Compile(kPolicy);
  for (const bool secret : {false, true}) {
    const auto open = [&] { return policies->OpenOutput({}); };
    pipeline::LogprobFilter logprob_filter(true);
    const auto filter = open();
    inference::Piece piece;
    piece.text = std::string(".") + (secret ? "\xCF\x9E" : "\xCF\xA0") + "!";
    piece.tokens = {{.id = 1, .bytes = ".\xCF", .logprob = -1, .top = {}, .text_end = 2},
                    {.id = 2, .bytes = (secret ? "\x9E" : "\xA0"), .logprob = -1, .top = {}, .text_end = 3},
                    {.id = 3, .bytes = "!", .logprob = -1, .top = {}, .text_end = 4},
                    {.id = 4, .bytes = "", .logprob = -1, .top = {}, .text_end = 4}};
    const auto clear = logprob_filter.Push(piece, *filter);
    REQUIRE(clear.ok());
    REQUIRE(filter->Finish().ok());
    const Logprobs released = logprob_filter.Take(*filter);
    REQUIRE(released.size() == (secret ? 1U : 3U));
    CHECK(released.back().token() == "!");
    CHECK(released.back().token_id() == 3);
  }
}

TEST_CASE("What leaves is rounded to what is stored, and never infinite") {
  const auto policies = Compile("");
  pipeline::LogprobFilter logprob_filter(true);
  const auto filter = policies->OpenOutput({});
  inference::Piece piece;
  piece.text = "ab";
  piece.tokens = {
      {.id = 1, .bytes = "a", .logprob = -0.12345678F, .top = {{2, "z", -std::numeric_limits<float>::infinity()}}, .text_end = 1},
      {.id = 3, .bytes = "b", .logprob = std::numeric_limits<float>::quiet_NaN(), .top = {}, .text_end = 2}};
  REQUIRE(logprob_filter.Push(piece, *filter).ok());
  const Logprobs released = logprob_filter.Take(*filter);
  REQUIRE(released.size() == 2);
  CHECK(released[0].logprob() == -0.123457);
  CHECK(released[0].top(0).logprob() == -9999);
  CHECK(released[1].logprob() == -9999);
}

// The promise, told over the whole: the text does not depend on the LogprobFilter, and what it lists, joined, is in the text that was
// released.
TEST_CASE("For any cut into tokens and pieces the text is the filter's, and every token listed is part of it") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto policies = Compile(kPolicy);
  const std::vector<std::string> words = {"ZQ", "~", "AB", "CD", "7", "3", " ", "blue", "bir", "d", "Ϡ", "Ϟ", "x", "Z", "Q~A", "~42"};
  for (int round = 0; round < 2000; ++round) {
    std::vector<Part> parts;
    std::string whole;
    for (std::uint64_t n = 1 + random() % 14; n > 0; --n) {
      Part part{words[random() % words.size()]};
      for (std::uint64_t a = random() % 3; a > 0; --a) part.alternatives.push_back(words[random() % words.size()]);
      whole += part.bytes;
      parts.push_back(std::move(part));
    }
    const Left left = Through(*policies, parts, 1 + random() % 4, random() % 3);
    const auto filtered = policies->FilterWhole({}, whole);
    REQUIRE(filtered.ok());
    INFO(whole << " -> " << left.text << " / " << left.tokens);
    CHECK(left.text == filtered->text);
    std::size_t at = 0;
    for (std::size_t from = 0; from < left.tokens.size();) {
      const std::size_t to = left.tokens.find('|', from);
      const std::size_t found = left.text.find(left.tokens.substr(from, to - from), at);
      REQUIRE(found != std::string::npos);
      at = found + (to - from);
      from = to + 1;
    }
    CHECK(left.alternatives.find("Ϟ") == std::string::npos);
  }
}
