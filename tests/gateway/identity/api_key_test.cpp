#include "gateway/identity/api_key.h"

#include <set>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace tollgate;
using identity::Environment;

TEST_CASE("A minted key has its form, parses back and is never the same twice") {
  const Environment environment = GENERATE(Environment::kLive, Environment::kDev);
  std::set<std::string> ids, secrets;
  for (int i = 0; i < 500; ++i) {
    const identity::ApiKey key = identity::MintApiKey(environment);
    const std::string text = identity::FormatApiKey(key);
    const std::string prefix = environment == Environment::kLive ? "tg_live_" : "tg_dev_";
    REQUIRE(text.starts_with(prefix));
    REQUIRE(text.size() == prefix.size() + 8 + 1 + 43 + 1 + 6);
    const auto parsed = identity::ParseApiKey(text);
    REQUIRE(parsed.ok());
    CHECK(parsed->environment == environment);
    CHECK(parsed->public_id == key.public_id);
    CHECK(parsed->secret == key.secret);
    ids.insert(key.public_id);
    secrets.insert(key.secret);
  }
  CHECK(ids.size() == 500);
  CHECK(secrets.size() == 500);
}

TEST_CASE("The text of a key is fixed: a scanner relies on it") {
  const identity::ApiKey key{Environment::kLive, "3kQ9xZ0b", std::string(43, 'A')};
  CHECK(identity::FormatApiKey(key).starts_with("tg_live_3kQ9xZ0b_" + std::string(43, 'A') + "_"));
  CHECK(identity::FormatApiKey(key) == identity::FormatApiKey(key));
}

TEST_CASE("What is no key is refused, and the answer holds none of it") {
  const std::string good = identity::FormatApiKey({Environment::kLive, "3kQ9xZ0b", std::string(43, 'q')});
  struct Row {
    std::string text;
    std::string says;
  };
  const std::string swapped = [&] {
    std::string s = good;
    s[20] = 'Q';
    return s;
  }();
  const auto row = GENERATE_COPY(values<Row>({
      {"", "begin"},
      {"sk-abcdefghijklmnopqrstuvwxyz", "begin"},
      {"tg_", "begin"},
      {"tg_prod_" + good.substr(8), "begin"},
      {"TG_live_" + good.substr(8), "begin"},
      {good + "x", "length"},
      {good.substr(0, good.size() - 1), "length"},
      {" " + good, "begin"},
      {good + "\n", "length"},
      {good.substr(0, 16) + "-" + good.substr(17), "joined"},
      {good.substr(0, 10) + "'" + good.substr(11), "letter or digit"},
      {good.substr(0, 30) + std::string(1, '\0') + good.substr(31), "letter or digit"},
      {good.substr(0, 30) + "\xc3" + good.substr(31), "letter or digit"},
      {swapped, "checksum"},
      {"tg_dev_" + good.substr(8), "checksum"},
      {good.substr(0, good.size() - 1) + (good.back() == '0' ? "1" : "0"), "checksum"},
  }));
  INFO(row.says);
  const auto parsed = identity::ParseApiKey(row.text);
  REQUIRE(absl::IsInvalidArgument(parsed.status()));
  CHECK(base::Message(parsed.status()).find(row.says) != std::string::npos);
  CHECK(base::Message(parsed.status()).find("qqqq") == std::string::npos);
}

TEST_CASE("Every change of one character is caught by the checksum or the form") {
  const std::string good = identity::FormatApiKey(identity::MintApiKey(Environment::kLive));
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = bad[at] == 'z' ? 'y' : 'z';
    INFO("position " << at);
    CHECK_FALSE(identity::ParseApiKey(bad).ok());
  }
}
