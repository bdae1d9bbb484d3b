// What a filter says of a text that is not pushed, and of a reply that ended before its end.
#include <algorithm>
#include <memory>
#include <random>

#include "policy/pseudonyms.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

constexpr const char* kManyForms = R"(version: 1
name: t
rules:
  - {id: code, detect: {regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}', decode: both}, do: redact, unless: {keywords: ['ZQ~AA~11']}}
  - {id: note, detect: {regex: '<<in[^>]*>>'}, cap: 24, do: redact}
  - {id: id, detect: {personal_data: passport_number}, do: mask}
  - {id: bird, detect: {keywords: [bluebird]}, do: flag}
  - {id: fish, detect: {keywords: [swordfish]}, do: block}
)";

Subject SubjectWithPseudonym(std::string& text) {
  auto pseudonyms = std::make_shared<Pseudonyms>(std::string(32, 'k'));
  const auto made = pseudonyms->Add("NAME", "Ada \"A\" Lovelace", "names");
  REQUIRE(made);
  text = *made;
  Subject subject;
  subject.pseudonyms = std::move(pseudonyms);
  return subject;
}

// What comes of pushing it: all of it at once, and as it is.
bool ComesOut(StreamFilter& filter, const std::string& next) {
  const std::int64_t from = filter.pushed_bytes();
  REQUIRE(filter.Push(next).ok());
  const auto changes = [&](const RawSpan& span) { return span.offset + static_cast<std::int64_t>(span.bytes.size()) > from; };
  return !filter.blocked() && filter.held_bytes() == 0 && std::none_of(filter.raw().begin(), filter.raw().end(), changes);
}

}  // namespace

TEST_CASE("A filter says of a text what would come of pushing it, and being asked changes nothing") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto policies = MustCompile(kManyForms);
  std::string pseudonym;
  const Subject subject = SubjectWithPseudonym(pseudonym);
  const std::vector<std::string> words = {"ZQ",
                                          "~AB",
                                          "~1",
                                          "2",
                                          " ",
                                          ", ",
                                          "ZQ~AA~11 ",
                                          "\\u005a",
                                          "Q~AB~12 ",
                                          "\"",
                                          "blue",
                                          "bird",
                                          "sword",
                                          "fish",
                                          "<<in",
                                          "more ",
                                          ">>",
                                          "\u200B",
                                          "\u0405",
                                          "WlF+QUJ+",
                                          "MTIg x",
                                          "passport ",
                                          "C41939071",
                                          "C8954",
                                          "2916 ",
                                          "é",
                                          "plain words that go ",
                                          pseudonym.substr(0, 7),
                                          pseudonym.substr(7),
                                          pseudonym};
  int let_out = 0, kept = 0;
  for (int round = 0; round < 400; ++round) {
    const auto filter = policies->OpenOutput(subject);
    std::vector<std::string> pieces;
    std::string whole, out;
    for (std::uint64_t n = 1 + random() % 12; n > 0; --n) {
      for (int i = 0; i < 2; ++i) {
        const std::string& next = words[random() % words.size()];
        const auto like = policies->OpenOutput(subject);
        for (const std::string& piece : pieces) REQUIRE(like->Push(piece).ok());
        const bool want = ComesOut(*like, next);
        INFO(whole << " | " << next);
        CHECK(filter->LetsOut(next) == want);
        ++(want ? let_out : kept);
      }
      pieces.push_back(words[random() % words.size()]);
      whole += pieces.back();
      const auto more = filter->Push(pieces.back());
      REQUIRE(more.ok());
      out += *more;
    }
    const auto rest = filter->Finish();
    REQUIRE(rest.ok());
    const Filtered complete = MustFilter(*policies, whole, subject);
    INFO(whole);
    CHECK(out + *rest == complete.text);
    CHECK(filter->verdict() == complete.verdict);
    CHECK_FALSE(filter->LetsOut("plain words that go "));  // It has ended.
  }
  CHECK(let_out > 500);
  CHECK(kept > 500);
}

TEST_CASE("The verdict on the beginning of a reply counts what begins there, as if the rest had found nothing") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto policies = MustCompile(kManyForms);
  const std::vector<std::string> words = {"ZQ~AB~12", " ", "bluebird ", "passport C41939071, ", "swordfish", "ZQ~AA~11 ", "plain ", "é"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (std::uint64_t n = 1 + random() % 12; n > 0; --n) text += words[random() % words.size()];
    const auto filter = policies->OpenOutput({});
    REQUIRE(filter->Push(text).ok());
    REQUIRE(filter->Finish().ok());
    INFO(text);
    CHECK(filter->VerdictBefore(INT64_MAX) == filter->verdict());
    const auto before = static_cast<std::int64_t>(random() % (text.size() + 1));
    Verdict want;
    for (RuleOutcome rule : filter->verdict().rules) {
      std::erase_if(rule.spans, [&](const Span& span) { return span.begin >= before; });
      rule.count = static_cast<std::int64_t>(rule.spans.size());
      if (rule.count == 0) continue;
      want.action = std::max(want.action, rule.action);
      want.rules.push_back(rule);
    }
    CHECK(filter->VerdictBefore(before) == want);
  }
}

}  // namespace tollgate::policy
