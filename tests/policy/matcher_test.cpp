// A search has its automaton, whatever stands beside it; what cannot have one is refused. Counted by what RE2 says.
#include "policy/matcher.h"

#include <unistd.h>

#include <cstdio>
#include <iterator>
#include <random>

#include <fmt/format.h>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/budget.h"
#include "policy/packs.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

// Searches that had to do without an automaton, which could not be built or was given up, of what was compiled since it began.
class Failures {
 public:
  Failures() {
    std::fflush(stderr);
    dup2(fileno(told_), STDERR_FILENO);
    Matcher::TellFailures(true);
  }
  Failures(const Failures&) = delete;
  Failures& operator=(const Failures&) = delete;
  ~Failures() {
    Matcher::TellFailures(false);
    std::fflush(stderr);
    dup2(stderr_, STDERR_FILENO);
    close(stderr_);
    std::fclose(told_);
  }
  std::size_t count() const {
    std::fflush(stderr);
    std::string all;
    std::rewind(told_);
    for (int c = 0; (c = std::fgetc(told_)) != EOF;) all += static_cast<char>(c);
    std::size_t out = 0;
    for (std::size_t at = 0; (at = all.find("DFA out of memory", at)) != std::string::npos; ++at) ++out;
    return out;
  }

 private:
  const int stderr_ = dup(STDERR_FILENO);
  std::FILE* const told_ = std::tmpfile();
};

std::string Prose(std::size_t bytes) {
  static const char* const kWords[] = {"the",     "Invoice", "of", "Müller", "is",   "due",  "on",     "2026-11-28", "see",   "ticket",
                                       "AB-1234", "and",     "a",  "key",    "for",  "prod", "Zürich", "please",     "send",  "it",
                                       "to",      "us",      "by", "mail",   "over", "12",   "items",  "O’Neil",     "says,", "thanks."};
  std::mt19937_64 random(TestSeed());
  std::string out;
  while (out.size() < bytes) out += std::string(kWords[random() % std::size(kWords)]) + (random() % 9 == 0 ? "\n" : " ");
  return out;
}

// The packs, and seventy regexes of a bank's own.
std::vector<PolicySource> Bank() {
  std::vector<PolicySource> out;
  for (const Pack& pack : Packs()) out.push_back({std::string(pack.name), std::string(pack.yaml)});
  std::string own = "version: 1\nname: own\nrules:\n";
  for (int i = 0; i < 69; ++i)
    own += fmt::format("- {{id: own{}, detect: {{regex: '\\b[A-Z]{{2}}{}-[0-9]{{4,8}}\\b'}}, do: redact}}\n", i, i);
  own += "- {id: names, detect: {regex: '\\b\\p{Lu}[\\p{L}\\x{2019}\\x27-]{1,20}\\b'}, do: flag}\n";
  out.push_back({"own", own});
  return out;
}

}  // namespace

// Red with memory that only lets it compile: 512 KiB for what comes behind the first gibibyte, and no look at what the automaton has.
TEST_CASE("Under all packs and seventy regexes no search does without its automaton, in prompts and in streams") {
  const Failures failures;
  const auto sources = Bank();
  const auto policies = PolicySet::Compile(sources, RunTests::kNo);
  INFO(base::Message(policies.status()));
  REQUIRE(policies.ok());
  const Message message{Role::kUser, "", {Prose(64 << 10)}};
  CHECK((*policies)->Inspect({}, {&message, 1}).ok());
  CHECK(failures.count() == 0);
  const auto filter = (*policies)->OpenOutput({});
  const std::string text = Prose(4 << 10);
  for (std::size_t at = 0, end; at < text.size(); at = end) {
    end = std::min(text.size(), at + 4);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    REQUIRE(filter->Push(std::string_view(text).substr(at, end - at)).ok());
  }
  CHECK(filter->Finish().ok());
  CHECK(failures.count() == 0);
}

TEST_CASE("A regex of any size that compiles has its automaton, however many were compiled before it") {
  const std::string text = Prose(2000);
  for (const char* regex : {"abc", "[a-z]{1,200}@x", "\\p{L}{1,3}", "\\p{L}{1,20}", "\\p{L}{1,60}", "[^x]{1,400}y"}) {
    INFO(regex);
    for (const bool many : {false, true}) {
      Budget budget;
      if (many) REQUIRE(budget.TakeMatcher(std::int64_t{1} << 30).ok());
      for (const auto use : {Matcher::Use::kSearch, Matcher::Use::kSuffix}) {
        const bool suffix = use == Matcher::Use::kSuffix;
        const Failures failures;
        const auto made = Matcher::Compile(suffix ? fmt::format("(?:{})\\z", regex) : regex, use, &budget);
        REQUIRE(made.ok());
        std::size_t begin = 0, end = 0;
        (*made)->Match(text, 0, text.size(), begin, end);
        CHECK(failures.count() == 0);
      }
    }
  }
}

TEST_CASE("What is told of a search without an automaton is heard here") {
  const Failures failures;
  Budget budget;
  REQUIRE(budget.TakeMatcher(std::int64_t{1} << 30).ok());
  const auto made = Matcher::Compile("a[ab]{400}c", Matcher::Use::kSearch, &budget);  // Its states are more than memory holds.
  REQUIRE(made.ok());
  std::string text;
  for (std::uint32_t x = 1; text.size() < (64 << 10);) text += (x = x * 1664525 + 1013904223) >> 31 == 0 ? 'a' : 'b';
  std::size_t begin = 0, end = 0;
  CHECK_FALSE((*made)->Match(text, 0, text.size(), begin, end));
  CHECK(failures.count() > 0);
}

TEST_CASE("What no automaton can be built for is refused, with the remedy") {
  Budget budget;
  const auto made = Matcher::Compile("(?:\\p{L}\\p{N}?){1,300}", Matcher::Use::kSearch, &budget);
  CHECK_THAT(base::Message(made.status()), ContainsSubstring("too large to run") && ContainsSubstring("smaller repeats"));
  CHECK_FALSE(budget.over());
}

TEST_CASE("What runs for each token has a share of its own, however much the other regexes took") {
  Budget budget;
  const std::int64_t first = budget.MatcherBytes(Matcher::Use::kSearch);
  REQUIRE(budget.TakeMatcher(std::int64_t{2} << 30).ok());
  CHECK(budget.MatcherBytes(Matcher::Use::kSearch) < first);
  CHECK(budget.MatcherBytes(Matcher::Use::kSuffixOfAll) == first);
  while (budget.MatcherBytes(Matcher::Use::kSuffixOfAll) == first) REQUIRE(budget.TakeMatcher(first, Matcher::Use::kSuffixOfAll).ok());
  CHECK(budget.TakeMatcher(std::int64_t{1} << 30).ok());  // That share counts apart.
  CHECK_FALSE(budget.TakeMatcher(1).ok());
}

}  // namespace tollgate::policy
