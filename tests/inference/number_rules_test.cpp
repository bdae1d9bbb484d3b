// Which numbers a schema's bounds let through, by what follows the grammar when a model writes: all within, none beyond.
#include "inference/number_rules.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "inference/grammar_follower.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

absl::StatusOr<NumberRule> RuleOf(const std::string& schema, bool integers) {
  return NumbersWithin(json::parse(schema).as_object(), integers);
}

// Those texts that the rule takes whole.
class Follows {
 public:
  Follows(const std::string& schema, bool integers) {
    INFO(schema);
    const auto rule = RuleOf(schema, integers);
    INFO(rule.status().ToString());
    REQUIRE(rule.ok());
    auto rules = ReadGrammar("root ::= " + rule->body + "\n");
    INFO(rule->body << " " << rules.status().ToString());
    REQUIRE(rules.ok());
    CHECK(rule->body.size() < 3000);
    follower_.emplace(*std::move(rules));
  }

  bool operator()(const std::string& text) {
    follower_->Restart();
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto takes = follower_->Takes(text.substr(i, 1));
      REQUIRE(takes.ok());
      if (!*takes) return false;
      REQUIRE(follower_->Accept(text.substr(i, 1)).ok());
    }
    return follower_->MayEnd();
  }

 private:
  std::optional<GrammarFollower> follower_;
};

std::string Bounds(std::int64_t least, std::int64_t most) { return fmt::format(R"({{"minimum":{},"maximum":{}}})", least, most); }

}  // namespace

TEST_CASE("Integers within their bounds are taken, and none beyond") {
  for (const std::int64_t least : {-1005, -1000, -999, -101, -10, -7, -1, 0, 1, 2, 9, 10, 11, 99, 100, 123, 1000}) {
    for (const std::int64_t most : {-1000, -100, -11, -1, 0, 1, 5, 9, 10, 12, 99, 100, 101, 456, 999, 1000, 1203}) {
      if (most < least) continue;
      Follows taken(Bounds(least, most), true);
      INFO(least << " to " << most);
      std::vector<std::int64_t> all;
      for (std::int64_t n = -130; n <= 130; ++n) all.push_back(n);
      for (std::int64_t n = -1300; n <= 1300; n += 37) all.push_back(n);
      for (const std::int64_t n : {least, most}) all.insert(all.end(), {n - 1, n, n + 1, n - 10, n + 10, n * 10, -n});
      for (const std::int64_t n : all) {
        if (taken(std::to_string(n)) != (least <= n && n <= most)) FAIL_CHECK(n);
      }
      for (const char* other : {"", "-", "00", "01", "-0", "-01", "1.0", "1e2", "+1", "10000", "-10000"}) CHECK_FALSE(taken(other));
    }
  }
}

TEST_CASE("Large bounds are exact, within sixteen digits or those of the bounds") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Follows safe(Bounds(-9007199254740991, 9007199254740991), true);
  for (const char* text : {"0", "-1", "9007199254740991", "-9007199254740991", "8999999999999999", "42"}) CHECK(safe(text));
  for (const char* text : {"9007199254740992", "-9007199254740992", "9007199254741000", "9100000000000000", "10000000000000000"})
    CHECK_FALSE(safe(text));
  for (int round = 0; round < 200; ++round) {
    const auto draw = [&] { return static_cast<std::int64_t>(random() >> (random() % 60)) * (random() % 2 == 0 ? 1 : -1); };
    const std::int64_t a = draw(), b = draw();
    const std::int64_t least = std::min(a, b), most = std::max(a, b);
    Follows taken(Bounds(least, most), true);
    const auto near = [](std::int64_t n) { return n >= -9'999'999'999'999'999 && n <= 9'999'999'999'999'999; };
    INFO(least << " to " << most);
    CHECK(taken(std::to_string(least)) == (near(least) || most < -9'999'999'999'999'999 || least > 9'999'999'999'999'999));
    CHECK(taken(std::to_string(most)) == (near(most) || least > 9'999'999'999'999'999 || most < -9'999'999'999'999'999));
    if (least > INT64_MIN) CHECK_FALSE(taken(std::to_string(least - 1)));
    if (most < INT64_MAX) CHECK_FALSE(taken(std::to_string(most + 1)));
    const auto between = static_cast<std::int64_t>(static_cast<std::uint64_t>(least) +
                                                   random() % (static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least) + 1));
    if (near(between)) CHECK(taken(std::to_string(between)));
  }
  Follows ends(R"({"minimum":9223372036854775806})", true);
  CHECK(ends("9223372036854775806"));
  CHECK(ends("9223372036854775807"));
  CHECK_FALSE(ends("9223372036854775808"));
  Follows beginning(R"({"maximum":-9223372036854775807})", true);
  CHECK(beginning("-9223372036854775808"));
  CHECK_FALSE(beginning("-9223372036854775809"));
  CHECK_FALSE(beginning("-9223372036854775806"));
}

TEST_CASE("One bound, a bound that is excluded, or between two whole numbers, or far away, says what it says") {
  struct Row {
    const char* schema;
    std::vector<const char*> taken;
    std::vector<const char*> not_taken;
  };
  const Row integers[] = {
      {R"({"minimum":1})", {"1", "2", "9999999999999999"}, {"0", "-1", "10000000000000000"}},
      {R"({"maximum":-1})", {"-1", "-9999999999999999"}, {"0", "1"}},
      {R"({"exclusiveMinimum":0,"exclusiveMaximum":10})", {"1", "9"}, {"0", "10"}},
      {R"({"minimum":1,"exclusiveMinimum":1})", {"2"}, {"1"}},
      {R"({"minimum":3,"exclusiveMinimum":1})", {"3"}, {"2"}},
      {R"({"minimum":0.5,"maximum":2.5})", {"1", "2"}, {"0", "3"}},
      {R"({"exclusiveMinimum":0.5,"exclusiveMaximum":2.5})", {"1", "2"}, {"0", "3"}},
      {R"({"minimum":-2.5,"maximum":10.0})", {"-2", "10"}, {"-3", "11"}},
      {R"({"minimum":-1e300,"maximum":18446744073709551615})", {"-9999999999999999", "0"}, {"10000000000000000"}},
  };
  for (const Row& row : integers) {
    INFO(row.schema);
    Follows taken(row.schema, true);
    for (const char* text : row.taken) CHECK(taken(text));
    for (const char* text : row.not_taken) CHECK_FALSE(taken(text));
  }
  const Row numbers[] = {
      {R"({"minimum":0,"maximum":1})", {"0", "0.0", "0.5", "0.0000000000000001", "1", "1.0"}, {"-0", "-0.5", "1.5", "1.01", "2", "1e0"}},
      {R"({"minimum":0})", {"0", "123456.789", "9999999999999999.5"}, {"-0", "-1"}},
      {R"({"exclusiveMinimum":0})", {"0.1", "0.00000000000001", "1", "7.25"}, {"0", "0.0", "-1", "0.000000000000000"}},
      {R"({"exclusiveMaximum":10})", {"9.9", "9", "-12.5"}, {"10", "10.0", "9.99999999999999999"}},
      {R"({"exclusiveMinimum":0,"exclusiveMaximum":1})", {"0.5"}, {"0", "1", "0.0", "1.0", "-0.5"}},
      {R"({"minimum":-90,"maximum":90})", {"-90", "-90.0", "-89.999", "-0.5", "0", "89.1", "90"}, {"-90.1", "90.1", "91", "-100"}},
      {R"({"minimum":-3,"exclusiveMaximum":-1})", {"-3", "-2.5", "-1.1"}, {"-1", "-1.0", "-3.1", "0", "1"}},
      {R"({"minimum":-1,"exclusiveMaximum":0})", {"-1", "-0.5"}, {"-0", "0", "-0.0", "-1.5"}},
      {R"({"minimum":-5,"maximum":0})", {"0", "-0.5", "-5"}, {"0.5", "-5.5"}},
      {R"({"minimum":7,"maximum":7})", {"7", "7.0"}, {"7.1", "6.9"}},
      {R"({"minimum":10,"maximum":12.0})", {"10.5", "12.00"}, {"9.9", "12.01"}},
  };
  for (const Row& row : numbers) {
    INFO(row.schema);
    Follows taken(row.schema, false);
    for (const char* text : row.taken) CHECK(taken(text));
    for (const char* text : row.not_taken) CHECK_FALSE(taken(text));
  }
}

TEST_CASE("A number that is rounded lies within the bounds still") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto least = static_cast<std::int64_t>(random() % 2'000) - 1'000;
    const std::int64_t most = least + 1 + static_cast<std::int64_t>(random() % (round % 2 == 0 ? 3 : 900'000'000));
    Follows taken(fmt::format(R"({{"exclusiveMinimum":{},"exclusiveMaximum":{}}})", least, most), false);
    for (const std::int64_t at : {least - 1, least, least + 1, most - 1, most}) {
      for (const char digit : {'0', '9'}) {
        for (std::size_t length = 1; length <= 20; ++length) {
          const std::string text = fmt::format("{}.{}{}", at, std::string(length - 1, digit), digit == '0' ? '1' : '9');
          if (!taken(text)) continue;
          const double number = std::strtod(text.c_str(), nullptr);
          INFO(least << " to " << most << ": " << text);
          CHECK(number > static_cast<double>(least));
          CHECK(number < static_cast<double>(most));
        }
      }
    }
  }
}

TEST_CASE("Bounds that cannot be enforced, or leave nothing, are refused") {
  CHECK(RuleOf("{}", true)->body.empty());
  for (const char* schema :
       {R"({"minimum":5,"maximum":4})", R"({"exclusiveMinimum":4,"exclusiveMaximum":5})", R"({"minimum":0.1,"maximum":0.9})",
        R"({"minimum":18446744073709551615})", R"({"maximum":-1e300})", R"({"exclusiveMinimum":9223372036854775807})", R"({"minimum":"1"})",
        R"({"minimum":1,"exclusiveMinimum":true})", R"({"maximum":null})"}) {
    INFO(schema);
    CHECK(RuleOf(schema, true).status().code() == absl::StatusCode::kInvalidArgument);
  }
  for (const char* schema : {R"({"minimum":0.5})", R"({"maximum":-0.25})", R"({"exclusiveMaximum":1000000000})",
                             R"({"exclusiveMinimum":1,"maximum":1})", R"({"exclusiveMinimum":1,"exclusiveMaximum":1})"}) {
    INFO(schema);
    CHECK(RuleOf(schema, false).status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(IsNumberBound("minimum", 0.5, true));
  CHECK_FALSE(IsNumberBound("minimum", 0.5, false));
  CHECK_FALSE(IsNumberBound("exclusiveMinimum", true, true));
}

}  // namespace tollgate::inference
