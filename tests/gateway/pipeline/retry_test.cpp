// Replies that a rule has written anew: what it found never leaves, what the caller gets goes on behind what was out, and every token is
// billed.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

#include "gateway/pipeline/choice_output.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Reply;

namespace {

// The scripted engine says "other " where a token is forbidden.
std::string Rule(const std::string& regex, const std::string& action, int retry, const std::string& more = "") {
  return "version: 1\nname: house\nrules:\n  - {id: number, where: {direction: "
         "output}, detect: {regex: '" +
         regex + "'}, do: " + action + ", retry: " + std::to_string(retry) + "}\n" + more;
}
constexpr const char* kNumber = "555-\\d{4}";

struct Said {
  std::string text, finish;
  pipeline::Logprobs logprobs;
  v1::EndBody end;
};

Said Say(test::World& world, const v1::ChatRequest& ask, bool streamed) {
  test::RecordingWriter writer;
  const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
  if (const auto* failure = std::get_if<pipeline::Failure>(&outcome)) FAIL(failure->status);
  const Reply& reply = std::get<Reply>(outcome);
  Said out{writer.text + reply.text, v1::FinishReason_Name(reply.end.finish_reason()).substr(14), writer.logprobs,
           world.journal.entries().back().record.end()};
  out.logprobs.insert(out.logprobs.end(), reply.logprobs.begin(), reply.logprobs.end());
  for (const audit::Entry& entry : world.journal.entries()) {
    if (entry.content) CHECK(world.Content(entry).text().find("555-1234") == std::string::npos);
  }
  world.CheckBooks();
  return out;
}

// Counts what it is asked.
class AskedFilter final : public policy::StreamFilter {
 public:
  AskedFilter(std::unique_ptr<policy::StreamFilter> inner, int& asked) : inner_(std::move(inner)), asked_(asked) {}
  absl::StatusOr<std::string> Push(std::string_view raw) override { return inner_->Push(raw); }
  absl::StatusOr<std::string> Finish() override { return inner_->Finish(); }
  bool acts() const override { return inner_->acts(); }
  bool blocked() const override { return inner_->blocked(); }
  const policy::Verdict& verdict() const override { return inner_->verdict(); }
  policy::Verdict VerdictBefore(std::int64_t before) const override { return inner_->VerdictBefore(before); }
  const std::vector<policy::RawSpan>& raw() const override { return inner_->raw(); }
  const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const override { return inner_->replaced(); }
  std::size_t held_bytes() const override { return inner_->held_bytes(); }
  std::int64_t pushed_bytes() const override { return inner_->pushed_bytes(); }
  std::int64_t decided_bytes() const override { return inner_->decided_bytes(); }
  bool LetsOut(std::string_view next) const override {
    ++asked_;
    return inner_->LetsOut(next);
  }

 private:
  const std::unique_ptr<policy::StreamFilter> inner_;
  int& asked_;
};

// However the span is cut into tokens, and wherever it stands.
const char* const kScripts[] = {"!say call 555-1234 now", "!say call 55\\|5-1\\|234 now", "!say call 555-\\|1234", "!say 555-1234 now",
                                "!pace_ms 3\n!say call 5\\|5\\|5\\|-\\|1\\|2\\|3\\|4 now"};

}  // namespace

TEST_CASE(
    "What a rule finds is written anew, and the record says how often "
    "and what it cost") {
  for (const bool streamed : {false, true}) {
    for (const char* script : kScripts) {
      test::World world(Rule(kNumber, "block", 3));
      const Said said = Say(world, world.Ask(script), streamed);
      INFO(script << " -> " << said.text);
      CHECK(said.finish == "STOP");
      CHECK(said.text.find("other") != std::string::npos);
      CHECK(said.text.find("555-1234") == std::string::npos);
      REQUIRE(said.end.retries_size() == 1);
      CHECK(said.end.retries(0).rule_id() == "number");
      CHECK(said.end.retries(0).times() >= 1);
      CHECK_FALSE(said.end.retries(0).gave_up());
      CHECK(said.end.tokens().discarded() >= said.end.retries(0).discarded_tokens());
      CHECK(said.end.tokens().discarded() > 0);
      CHECK(said.end.tokens().delivered() + said.end.tokens().discarded() <= said.end.tokens().output());
      CHECK(said.end.output_verdict().rules_size() == 0);
      bool kept = false;
      const v1::SealedContent content = world.Content(world.journal.entries().back());
      for (const v1::RawSpan& raw : content.raw()) kept = kept || (raw.channel() == "retried" && raw.rule_id() == "number");
      CHECK(kept);
    }
  }
}

TEST_CASE("After its last try a rule does what it says, and that is on record") {
  for (const bool streamed : {false, true}) {
    test::World block(Rule("555-\\d{4}|other", "block", 2));
    const Said blocked = Say(block, block.Ask("!say call 555-1234 now"), streamed);
    CHECK(blocked.finish == "CONTENT_FILTER");
    CHECK(blocked.text == "call ");
    REQUIRE(blocked.end.retries_size() == 1);
    CHECK(blocked.end.retries(0).times() == 2);
    CHECK(blocked.end.retries(0).gave_up());
    CHECK(blocked.end.output_verdict().action() == "block");
    test::World redact(Rule("555-\\d{4}|other", "redact", 2));
    const Said redacted = Say(redact, redact.Ask("!say call 555-1234 now"), streamed);
    CHECK(redacted.finish == "STOP");
    CHECK(redacted.text == "call [REDACTED] now");
    CHECK(redacted.end.retries(0).gave_up());
  }
}

TEST_CASE(
    "Discarded tokens count against quota and money, and not against "
    "max_tokens") {
  for (const bool streamed : {false, true}) {
    test::World world(Rule(kNumber, "block", 3));
    v1::ChatRequest ask = world.Ask("!say one two 555-1234 three four five");
    ask.set_max_tokens(4);
    const Said said = Say(world, ask, streamed);
    CHECK(said.text == "one two other three ");
    CHECK(said.finish == "LENGTH");
    CHECK(said.end.tokens().output() - said.end.tokens().discarded() == 4);
    CHECK(said.end.amount_nanos() == said.end.tokens().input() + 2 * said.end.tokens().output());

    test::World small(Rule(kNumber, "block", 3));
    const std::int64_t input = said.end.tokens().input();
    small.SetQuota("tokens", "day", input + 5);
    const Said short_one = Say(small, small.Ask("!say one two 555-1234 three four five"), streamed);
    CHECK(short_one.end.tokens().input() + short_one.end.tokens().output() <= input + 5);
    CHECK(short_one.text.find("555-1234") == std::string::npos);
  }
}

TEST_CASE(
    "Nothing of what was taken back leaves as a log-probability, and "
    "those that do are of what the caller has") {
  for (const bool streamed : {false, true}) {
    test::World world(Rule(kNumber, "block", 3));
    v1::ChatRequest ask = world.Ask("!alt never\n!say call me at 555-1234 now");
    ask.set_logprobs(true);
    ask.set_top_logprobs(3);
    const Said said = Say(world, ask, streamed);
    CHECK(said.text == "call me at other now");
    std::string tokens, all;
    for (const v1::TokenLogprob& token : said.logprobs) {
      tokens += token.token();
      for (const v1::TokenLogprob& top : token.top()) all += top.token() + "|";
    }
    CHECK(tokens == said.text);
    CHECK(all.find("555") == std::string::npos);
  }
}

TEST_CASE("What is taken back is made anew on the executor for large work where each of its tokens is judged by itself") {
  for (const bool logprobs : {false, true}) {
    boost::asio::io_context cpu;
    auto guard = boost::asio::make_work_guard(cpu);
    int works = 0;
    std::thread thread([&] {
      while (cpu.run_one() > 0) ++works;
    });
    {
      test::World world(Rule(kNumber, "block", 3));
      world.cpu = cpu.get_executor();
      v1::ChatRequest ask = world.Ask("!say call me at 555-1234 now");
      ask.set_logprobs(logprobs);  // Without alternatives, which would be work of their own.
      CHECK(Say(world, ask, /*streamed=*/false).text == "call me at other now");
    }
    guard.reset();
    thread.join();
    CHECK((works > 0) == logprobs);
  }
}

TEST_CASE("Of a reply that is made anew no alternative is judged again, and the same are listed") {
  const std::vector<policy::PolicySource> sources = {{"house", Rule(kNumber, "block", 3)}};
  const auto policies = policy::PolicySet::Compile(sources);
  REQUIRE(policies.ok());
  int asked = 0;
  pipeline::OutputPlan plan{
      .open = [&](const policy::Channel& channel) { return std::make_unique<AskedFilter>((*policies)->OpenOutput({}, channel), asked); }};
  plan.logprobs = true;
  plan.retries = {{"number", 3}};
  pipeline::ChoiceOutput output(0, plan);
  inference::Piece all;
  for (const std::string word : {"call ", "me ", "at ", "55", "5-12", "34 ", "now"}) {
    all.text += word;
    inference::OutputToken token{.id = static_cast<std::int32_t>(all.tokens.size()), .bytes = word, .logprob = -1, .top = {}};
    for (const char* other : {"555-1234", "555", "you ", "5"}) token.top.push_back({1000, other, -2});
    token.text_end = static_cast<std::int64_t>(all.text.size());
    all.tokens.push_back(std::move(token));
  }
  REQUIRE(output.Push(all).ok());
  REQUIRE(output.NextFound());
  CHECK(asked == 28);
  inference::Piece kept = all;
  kept.tokens.resize(3);
  kept.text.resize(11);
  auto anew = output.TakenBack(kept);
  REQUIRE(anew != nullptr);
  CHECK(asked == 28);
  // The second has the number, and ends where, a token of what was taken back did: nothing that was said of that holds for it.
  inference::Piece rest;
  rest.text = "no way";
  rest.tokens = {{.id = 9, .bytes = "no", .logprob = -1, .top = {{1000, "555", -2}, {1001, "work ", -2}}, .text_end = 13},
                 {.id = 4, .bytes = " way", .logprob = -1, .top = {{1000, "x ", -2}, {1001, "y ", -2}, {1002, "555", -2}}, .text_end = 17}};
  REQUIRE(anew->Push(rest).ok());
  CHECK(asked == 33);
  REQUIRE(anew->Finish().ok());
  std::string tokens;
  const pipeline::OutputPiece piece = anew->Take();
  for (const v1::TokenLogprob& token : piece.logprobs) {
    tokens += token.token() + "(";
    for (const v1::TokenLogprob& top : token.top()) tokens += top.token();
    tokens += ")";
  }
  CHECK(tokens == "call (you )me (you )at (you )no(work ) way(x y )");
}

TEST_CASE("A reply in a form that has ended is not written anew from its middle, where the form would begin again: the rule acts") {
  for (const bool streamed : {false, true}) {
    test::WatchedPool pool;
    test::World world(Rule(kNumber, "redact", 3));
    pool.inner = &world.pool();
    pool.forms = true;
    world.pool_between = &pool;
    v1::ChatRequest ask = world.Ask("!say {\"phone\":\\| \"555-\\|1234\"}");
    ask.mutable_output_form()->set_json_object(true);
    const Said said = Say(world, ask, streamed);
    INFO(said.text);
    CHECK(said.text.find("555") == std::string::npos);
    CHECK(said.text.find('{') == said.text.rfind('{'));
    for (const auto& work : pool.Take()) CHECK(work.model == "script");
    REQUIRE(said.end.retries_size() == 1);
  }
}

TEST_CASE(
    "Thoughts are written anew as answers are; calls are not, and there "
    "the rule acts at once") {
  for (const bool streamed : {false, true}) {
    test::World world(Rule(kNumber, "block", 3));
    test::RecordingWriter writer;
    // No blank before it: one that has left, and is the last of what would be kept, lets nothing be taken back.
    const auto thought = world.Chat(world.Ask("!think ring:\\|555-1234 then\n!say done"), streamed ? &writer : nullptr);
    REQUIRE(std::holds_alternative<Reply>(thought));
    const std::string thinks = writer.thought + std::get<Reply>(thought).thought;
    CHECK(thinks.find("other") != std::string::npos);
    CHECK(thinks.find("555") == std::string::npos);
    CHECK(writer.text + std::get<Reply>(thought).text == "done");
    v1::ChatRequest ask = world.Ask("!call find {\"q\": \"555-1234\"}");
    ask.add_tools()->set_name("find");
    ask.mutable_tools(0)->set_parameters("{\"type\":\"object\"}");
    const auto call = world.Chat(ask, streamed ? &writer : nullptr);
    REQUIRE(std::holds_alternative<Reply>(call));
    CHECK(std::get<Reply>(call).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    const v1::EndBody end = world.journal.entries().back().record.end();
    REQUIRE(end.retries_size() == 1);
    CHECK(end.retries(0).times() == 0);
    CHECK(end.retries(0).gave_up());
    world.CheckBooks();
  }
}

TEST_CASE("What is written anew after a reply's end goes on for it: it is no newcomer in its team's part of the queue") {
  for (const bool streamed : {false, true}) {
    test::WatchedPool pool;
    test::World world(Rule("555-\\d{4,8}", "block", 3));  // Only the end tells that no digit follows.
    pool.inner = &world.pool();
    world.pool_between = &pool;
    const Said said = Say(world, world.Ask("!say call 555-1234"), streamed);
    CHECK(said.finish == "STOP");
    CHECK(said.text.starts_with("call other"));
    const auto works = pool.Take();
    REQUIRE(works.size() > 1);
    CHECK_FALSE(works[0].goes_on);
    CHECK(std::all_of(works.begin() + 1, works.end(), [](const auto& work) { return work.goes_on; }));
  }
}

TEST_CASE("A reply that has ended is whole, and its rule gives up, where the pool takes nothing that would go on for it") {
  for (const bool streamed : {false, true}) {
    test::WatchedPool pool;
    test::World world(Rule("555-\\d{4,8}", "redact", 3));
    pool.inner = &world.pool();
    pool.rests = base::ResourceExhausted("the queue is full");
    world.pool_between = &pool;
    const Said said = Say(world, world.Ask("!say call 555-1234"), streamed);
    CHECK(said.finish == "STOP");
    CHECK(said.text.starts_with("call "));
    REQUIRE(said.end.retries_size() == 1);
    CHECK(said.end.retries(0).times() == 0);
    CHECK(said.end.retries(0).gave_up());
  }
}

TEST_CASE("Each of several replies is taken back by itself") {
  for (const bool streamed : {false, true}) {
    test::World world(Rule(kNumber, "block", 3));
    v1::ChatRequest ask = world.Ask("!say call 555-1234 now");
    ask.set_choices(3);
    const Said said = Say(world, ask, streamed);
    CHECK(said.text == "call other now");
    CHECK(said.end.retries_size() == 3);
  }
}

TEST_CASE("Where a reply cannot be taken back the rule acts at once") {
  const std::string guard =
      "  - {id: guard, where: {direction: output}, detect: {external: g, "
      "on_error: allow}, do: flag}\n";
  for (const bool streamed : {false, true}) {
    test::World asked(Rule(kNumber, "block", 3, guard));
    CHECK(Say(asked, asked.Ask("!say call 555-1234 now"), streamed).finish == "CONTENT_FILTER");
    test::World stops(Rule(kNumber, "block", 3));
    v1::ChatRequest ask = stops.Ask("!say call 555-1234 now");
    ask.add_stop("END");
    const Said said = Say(stops, ask, streamed);
    CHECK(said.finish == "CONTENT_FILTER");
    REQUIRE(said.end.retries_size() == 1);
    CHECK(said.end.retries(0).times() == 0);
    CHECK(said.end.retries(0).gave_up());
    CHECK(said.end.tokens().discarded() == 0);
  }
}

TEST_CASE("Of a model that cannot take its output back nothing is written anew: the rule acts at once, and that is on record") {
  for (const bool streamed : {false, true}) {
    test::WatchedPool pool;
    test::World world(Rule(kNumber, "block", 3));
    pool.inner = &world.pool();
    pool.rewinds = false;
    world.pool_between = &pool;
    const Said said = Say(world, world.Ask("!say call 555-1234 now"), streamed);
    CHECK(said.finish == "CONTENT_FILTER");
    CHECK(said.text == "call ");
    REQUIRE(said.end.retries_size() == 1);
    CHECK(said.end.retries(0).rule_id() == "number");
    CHECK(said.end.retries(0).times() == 0);
    CHECK(said.end.retries(0).gave_up());
    CHECK(said.end.tokens().discarded() == 0);
    CHECK(pool.Take().size() == 1);
  }
}
