// Nothing leaves a reply that is held before its verdict; what is asked is what would leave.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <random>

#include "gateway/pipeline/semantic_filter.h"
#include "tests/support/random.h"

using namespace tollgate;
using pipeline::QuestionAnswer;
using pipeline::QuestionAsk;
using pipeline::SemanticFilter;

namespace {

constexpr const char* kMail = "  - {id: mail, detect: {personal_data: email}, do: redact}\n";

struct Bed {
  explicit Bed(const std::string& detect, bool streamed = true, const std::string& more = "") {
    const policy::PolicySource source{
        "house", "version: 1\nname: house\nrules:\n  - {id: guard, detect: {external: g" + detect + "}, do: block}\n" + more};
    auto compiled = policy::PolicySet::Compile({&source, 1});
    INFO(compiled.status());
    REQUIRE(compiled.ok());
    policies = *compiled;
    filter = std::make_unique<SemanticFilter>(policies->OpenOutput({}), policies, policies->QuestionsOfOutput({}), streamed);
  }
  std::string Push(const std::string& raw) {
    filter->Count(++tokens);
    const auto out = filter->Push(raw);
    REQUIRE(out.ok());
    return *out;
  }
  // The text that is asked about; "" if nothing is.
  std::string Asked() {
    const std::vector<QuestionAsk> asks = filter->TakeAsks();
    return asks.empty() ? "" : asks[0].messages->front().parts[0];
  }
  std::string Answer(bool hit, std::int64_t out = 0, std::vector<policy::Span> spans = {}) {
    QuestionAnswer answer;
    answer.answer.spans = std::move(spans);
    answer.answer.id = "guard";
    answer.answer.hit = hit;
    REQUIRE(filter->Answer(answer, out).ok());
    return filter->TakeApproved();
  }

  std::shared_ptr<const policy::PolicySet> policies;
  std::unique_ptr<SemanticFilter> filter;
  std::int64_t tokens = 0;
};

}  // namespace

TEST_CASE("Sentence by sentence, each waits for its verdict, and a block keeps what it is about inside") {
  Bed bed(", at: sentence");
  CHECK(bed.Push("All is").empty());
  CHECK(bed.Asked().empty());
  CHECK(bed.Push(" well.").empty());
  CHECK(bed.Push(" And").empty());
  CHECK(bed.Asked() == "All is well.");
  CHECK(bed.Asked().empty());  // One at a time.
  CHECK(bed.Push(" then? ").empty());
  CHECK(bed.Answer(false) == "All is well.");
  CHECK(bed.filter->decided_bytes() == 12);
  CHECK(bed.Asked() == "All is well. And then?");
  CHECK(bed.Answer(true, 12).empty());
  CHECK(bed.filter->blocked());
  CHECK(bed.Push("more").empty());
  REQUIRE(bed.filter->raw().size() == 1);
  CHECK(bed.filter->raw()[0].rule_id == "guard");
  CHECK(bed.filter->raw()[0].offset == 12);
  CHECK(bed.filter->raw()[0].bytes == " And then? more");
  CHECK(bed.filter->verdict().action == policy::Action::kBlock);
  const v1::GuardOutcome outcome = bed.filter->outcomes()[0];
  CHECK(outcome.hit());
  CHECK(outcome.asked() == 2);
  CHECK(outcome.bytes_out() == 12);
}

TEST_CASE("At the end alone, everything waits; a reply with nothing in it asks nobody") {
  Bed bed("");
  CHECK(bed.Push("One. Two.\n").empty());
  CHECK(bed.Asked().empty());
  CHECK(bed.filter->Finish()->empty());
  CHECK(bed.filter->waiting());
  CHECK(bed.Asked() == "One. Two.\n");
  CHECK(bed.Answer(false) == "One. Two.\n");
  CHECK_FALSE(bed.filter->waiting());
  Bed empty("");
  CHECK(empty.filter->Finish()->empty());
  CHECK(empty.Asked().empty());
  CHECK_FALSE(empty.filter->waiting());
}

TEST_CASE("Every so many tokens; what came since the last verdict is asked about at the end") {
  Bed bed(", at: 2 tokens");
  CHECK(bed.Push("a ").empty());
  CHECK(bed.Asked().empty());
  CHECK(bed.Push("b ").empty());
  CHECK(bed.Asked() == "a b ");
  CHECK(bed.Answer(false) == "a b ");
  CHECK(bed.Push("c").empty());
  CHECK(bed.filter->Finish()->empty());
  CHECK(bed.Asked() == "a b c");
  CHECK(bed.Answer(false) == "c");
  CHECK_FALSE(bed.filter->waiting());
}

TEST_CASE("Observing holds nothing, and stops what comes after a hit") {
  Bed bed(", at: sentence, stream: observe");
  CHECK(bed.Push("One. ") == "One. ");
  CHECK(bed.Asked() == "One.");
  CHECK(bed.Push("Two. ") == "Two. ");
  CHECK(bed.Answer(true, 10).empty());
  CHECK(bed.filter->blocked());
  CHECK(bed.Push("Three.").empty());
  CHECK(bed.filter->raw()[0].offset == 10);
  CHECK(bed.filter->outcomes()[0].bytes_out() == 10);
}

TEST_CASE("Where a reply ends within what was let out, questions are about what is before, and no span rule behind it counts") {
  Bed bed(", at: sentence, stream: observe", true, "  - {id: fish, detect: {keywords: [swordfish]}, do: block}\n");
  CHECK(bed.Push("One. Two. EN") == "One. Two. EN");
  CHECK(bed.Asked() == "One. Two.");
  CHECK(bed.Push("D three. swordfish,") == "D three. ");
  CHECK(bed.filter->blocked());
  const bool before = GENERATE(false, true);
  bed.filter->EndAt(before ? 4 : 10);
  CHECK_FALSE(bed.filter->blocked());
  CHECK(bed.filter->waiting());
  CHECK(bed.Push(" swordfish four").empty());
  CHECK(bed.filter->Finish()->empty());
  CHECK_FALSE(bed.filter->blocked());
  CHECK(bed.Answer(false).empty());
  CHECK(bed.Asked() == (before ? "" : "One. Two. "));
  if (!before) CHECK(bed.Answer(false).empty());
  CHECK_FALSE(bed.filter->waiting());
  CHECK(bed.filter->unanswered().empty());
}

TEST_CASE("A verdict on what comes behind a reply's end ends nothing") {
  Bed bed(", at: sentence");
  CHECK(bed.Push("One.").empty());
  CHECK(bed.Push(" Two.").empty());
  CHECK(bed.Asked() == "One.");
  CHECK(bed.Push(" ").empty());
  CHECK(bed.Answer(false) == "One.");
  CHECK(bed.Asked() == "One. Two.");
  bed.filter->EndAt(4);
  CHECK_FALSE(bed.filter->waiting());
  CHECK(bed.Answer(true).empty());
  CHECK_FALSE(bed.filter->blocked());
  CHECK(bed.filter->verdict().rules.empty());
}

TEST_CASE("A reply that is not streamed is asked about once") {
  Bed bed(", at: sentence", false);
  CHECK(bed.Push("One. Two. ").empty());
  CHECK(bed.Asked().empty());
  CHECK(bed.filter->Finish()->empty());
  CHECK(bed.Asked() == "One. Two. ");
}

TEST_CASE("All of a long reply is shown, window by window, and nothing leaves before the last verdict") {
  const std::string reply = "FORBIDDEN " + [] {
    std::string text;
    for (int i = 0; text.size() < 50'000; ++i) text += "é" + std::to_string(i) + " ";
    return text;
  }();
  for (const bool streamed : {true, false}) {
    Bed bed("", streamed);
    CHECK(bed.Push(reply).empty());
    CHECK(bed.filter->Finish()->empty());
    std::size_t shown = 0;
    int asks = 0;
    for (std::string asked = bed.Asked(); !asked.empty(); asked = bed.Asked()) {
      ++asks;
      CHECK(asked.size() <= SemanticFilter::kAskedBytesMax);
      const std::size_t at = reply.find(asked);
      REQUIRE(at != std::string::npos);
      CHECK((at == 0 || at + 1'000 < shown));  // It overlaps with what came before.
      shown = at + asked.size();
      const std::string out = bed.Answer(false, 0, {{0, "text", 2, 5}});
      CHECK(out == (shown == reply.size() ? reply : ""));
      CHECK(bed.filter->outcomes()[0].spans(0).begin() == static_cast<std::int64_t>(at) + 2);  // In the reply, not in the window.
    }
    CHECK(shown == reply.size());
    CHECK(asks == 4);
    CHECK_FALSE(bed.filter->waiting());
  }
}

TEST_CASE("What a span rule takes out is never shown, and a span rule's block keeps what waits inside") {
  Bed bed("", true, std::string(kMail) + "  - {id: codename, detect: {keywords: bluebird}, do: block}\n");
  CHECK(bed.Push("Write to bob@example.com now. ").empty());
  CHECK(bed.Push("The bluebird sings").empty());
  CHECK(bed.filter->blocked());
  CHECK(bed.Asked().empty());
  CHECK(bed.filter->TakeApproved().empty());
  REQUIRE(bed.filter->raw().size() == 1);
  CHECK(bed.filter->raw()[0].rule_id == "codename");
  CHECK(bed.filter->raw()[0].bytes == "Write to bob@example.com now. The bluebird sings");
  Bed shown("", true, kMail);
  CHECK(shown.Push("to bob@example.com now").empty());
  CHECK(shown.filter->Finish()->empty());
  CHECK(shown.Asked() == "to [EMAIL] now");
}

TEST_CASE("For any pieces, what leaves with every verdict good is what the span rules alone let out, and never more than was approved") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::string reply =
      "Dear all. Write to ann@example.com! Is it so? Yes: \n\n bob@example.com says so. And no end of it, word by word";
  for (int round = 0; round < 300; ++round) {
    Bed bed(random() % 3 == 0 ? ", at: sentence" : random() % 2 == 0 ? ", at: 3 tokens" : "", true, kMail);
    const std::string whole = bed.policies->FilterWhole({}, reply)->text;
    std::string out, approved;
    for (std::size_t at = 0; at < reply.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 9, reply.size() - at);
      out += bed.Push(reply.substr(at, size));
      at += size;
      if (const std::string asked = bed.Asked(); !asked.empty()) approved = asked;
      CHECK(approved.starts_with(out.substr(0, std::min(out.size(), approved.size()))));
      CHECK(out.size() <= approved.size());
      if (random() % 2 == 0) continue;
      if (bed.filter->outcomes()[0].asked() > 0 && !approved.empty()) {
        QuestionAnswer good;
        good.answer.id = "guard";
        if (bed.filter->Answer(good, 0).ok()) out += bed.filter->TakeApproved();
      }
    }
    out += *bed.filter->Finish();
    for (int i = 0; i < 3 && bed.filter->waiting(); ++i) {
      bed.Asked();
      QuestionAnswer good;
      good.answer.id = "guard";
      bed.filter->Answer(good, 0).IgnoreError();
      out += bed.filter->TakeApproved();
    }
    CHECK_FALSE(bed.filter->waiting());
    CHECK(out == whole);
    CHECK(bed.filter->decided_bytes() == static_cast<std::int64_t>(reply.size()));
  }
}
