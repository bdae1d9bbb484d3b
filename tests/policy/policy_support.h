// Helpers of the policy tests: compile or fail, stream in pieces, make texts.
#pragma once

#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include "policy/policy_set.h"

namespace tollgate::policy {

inline std::uint64_t TestSeed() {
  const char* given = std::getenv("TOLLGATE_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 20261125;
}

inline std::shared_ptr<const PolicySet> MustCompile(std::string yaml) {
  const PolicySource source{"test.yaml", std::move(yaml)};
  auto compiled = PolicySet::Compile({&source, 1});
  INFO(source.yaml);
  INFO(base::Message(compiled.status()));
  REQUIRE(compiled.ok());
  return *std::move(compiled);
}

// The error of a policy that must not compile.
inline std::string CompileError(std::string yaml) {
  const PolicySource source{"test.yaml", std::move(yaml)};
  const auto compiled = PolicySet::Compile({&source, 1});
  INFO(source.yaml);
  REQUIRE_FALSE(compiled.ok());
  CHECK(compiled.status().code() == absl::StatusCode::kInvalidArgument);
  return base::Message(compiled.status());
}

// A policy of one rule: `detect` and `action` as YAML, `more` as further fields.
inline std::string OneRule(const std::string& detect, const std::string& action, const std::string& more = "") {
  return "version: 1\nname: t\nrules:\n  - id: r\n    detect: " + detect + "\n    do: " + action + "\n" + more;
}

inline std::size_t CodePointLength(std::string_view text, std::size_t at) {
  std::size_t length = 1;
  while (at + length < text.size() && (static_cast<unsigned char>(text[at + length]) & 0xC0) == 0x80) ++length;
  return length;
}

// What a stream gave, and whether each step kept its promises.
struct Streamed {
  std::string text;
  bool blocked = false;
  Verdict verdict;
  std::vector<RawSpan> raw;
  std::size_t held_max = 0;
};

// Pushes `text` in pieces of `points()` code points; checks at each step that what is out begins `whole`.
template <typename Points>
Streamed StreamInPieces(const PolicySet& policies, std::string_view text, std::string_view whole, Points&& points,
                        const Subject& subject = {}) {
  Streamed out;
  const auto filter = policies.OpenOutput(subject);
  const auto take = [&](absl::StatusOr<std::string> released) {
    REQUIRE(released.ok());
    out.text += *released;
    if (!whole.starts_with(out.text)) FAIL("released what the whole text does not begin with: \"" << out.text << "\"");
    out.held_max = std::max(out.held_max, filter->held_bytes());
  };
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    for (std::size_t n = points(); n > 0 && end < text.size(); --n) end += CodePointLength(text, end);
    take(filter->Push(text.substr(at, end - at)));
    at = end;
  }
  take(filter->Finish());
  REQUIRE(filter->held_bytes() == 0);
  REQUIRE(filter->pushed_bytes() == static_cast<std::int64_t>(text.size()));
  out.blocked = filter->blocked();
  out.verdict = filter->verdict();
  out.raw = filter->raw();
  return out;
}

// Streams and compares everything with the whole text's judgement.
template <typename Points>
void CheckStream(const PolicySet& policies, std::string_view text, const Filtered& whole, Points&& points, const Subject& subject = {}) {
  INFO("text: " << text);
  const Streamed streamed = StreamInPieces(policies, text, whole.text, points, subject);
  if (streamed.text == whole.text && streamed.blocked == whole.blocked && streamed.verdict == whole.verdict && streamed.raw == whole.raw)
    return;
  CHECK(streamed.text == whole.text);
  CHECK(streamed.blocked == whole.blocked);
  CHECK(streamed.verdict == whole.verdict);
  CHECK(streamed.raw.size() == whole.raw.size());
  for (std::size_t i = 0; i < std::min(streamed.raw.size(), whole.raw.size()); ++i) CHECK(streamed.raw[i].bytes == whole.raw[i].bytes);
  FAIL("the stream differs from the whole text");
}

inline Filtered MustFilter(const PolicySet& policies, std::string_view text, const Subject& subject = {}) {
  auto whole = policies.FilterWhole(subject, text);
  REQUIRE(whole.ok());
  return *std::move(whole);
}

}  // namespace tollgate::policy
