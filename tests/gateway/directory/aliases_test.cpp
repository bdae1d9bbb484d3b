#include "gateway/directory/aliases.h"

#include <map>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/encoding.h"

using namespace tollgate;
using directory::Alias;
using directory::AliasTarget;

namespace {

base::RequestId Request(std::uint64_t number) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(15 - i)] = static_cast<char>(number >> (8 * i));
  return base::RequestId(*base::Uuid::FromBytes(bytes));
}

}  // namespace

TEST_CASE("An alias is checked, and the refusal names what is wrong") {
  struct Row {
    const char* targets;
    const char* fallbacks;
    const char* says;  // "" = good.
  };
  const auto row = GENERATE(values<Row>({
      {"qwen3", "", ""},
      {"qwen3=90 qwen4=10", "smollm2 org/tiny:1", ""},
      {"  qwen3=90   qwen4=10 ", "", ""},
      {"", "", "targets: name 1 to 16 models"},
      {"qwen3=0", "", "use 1 to 1000000"},
      {"qwen3=1000001", "", "use 1 to 1000000"},
      {"qwen3=-1", "", "use 1 to 1000000"},
      {"qwen3=many", "", "write MODEL=WEIGHT"},
      {"qwen3=1x", "", "write MODEL=WEIGHT"},
      {"qwen3=1 qwen3=2", "", "targets: name each model once"},
      {"q!", "", "targets: model name"},
      {"qwen3", "a a", "fallbacks: name each model once"},
      {"qwen3", "a b c d e f g h i", "at most 8"},
  }));
  const auto alias = directory::MakeAlias("chat", row.targets, row.fallbacks);
  INFO(row.targets << " / " << row.fallbacks << ": " << base::Message(alias.status()));
  CHECK(alias.ok() == (row.says[0] == '\0'));
  if (!alias.ok()) CHECK(base::Message(alias.status()).find(row.says) != std::string::npos);
}

TEST_CASE("An alias survives its row") {
  const Alias alias = *directory::MakeAlias("chat", "qwen3=90 qwen4=10", "smollm2 tiny");
  const Alias back = *directory::MakeAlias("chat", TargetsText(alias), FallbacksText(alias));
  CHECK(back.targets == alias.targets);
  CHECK(back.fallbacks == alias.fallbacks);
  CHECK(TargetsText(alias) == "qwen3=90 qwen4=10");
}

TEST_CASE("A request is led to the same target every time, and many in proportion to the weights") {
  const std::vector<AliasTarget> targets = {{"qwen3", 90}, {"qwen4", 9}, {"tiny", 1}};
  std::map<std::string, int> led;
  constexpr int kRequests = 20'000;
  for (int i = 0; i < kRequests; ++i) {
    const auto& chosen = directory::Choose(targets, Request(static_cast<std::uint64_t>(i)));
    CHECK(&chosen == &directory::Choose(targets, Request(static_cast<std::uint64_t>(i))));
    ++led[chosen.model];
  }
  CHECK(std::abs(led["qwen3"] - kRequests * 90 / 100) < kRequests / 100);
  CHECK(std::abs(led["qwen4"] - kRequests * 9 / 100) < kRequests / 100);
  CHECK(led["tiny"] > kRequests / 200);
}

TEST_CASE("Moving weight to the last target moves no other request") {
  const std::vector<AliasTarget> before = {{"qwen3", 95}, {"qwen4", 5}};
  const std::vector<AliasTarget> after = {{"qwen3", 80}, {"qwen4", 20}};
  for (std::uint64_t i = 0; i < 2'000; ++i) {
    if (directory::Choose(before, Request(i)).model == "qwen4") CHECK(directory::Choose(after, Request(i)).model == "qwen4");
  }
}
