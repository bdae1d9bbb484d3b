// Where a thought ends: it is decided there to its last byte, leaves before the answer, and what blocks or holds it lets no answer out; and
// a thought that is bounded comes to its end, whatever is held of its text.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "gateway/pipeline/choice_output.h"
#include "gateway/pipeline/relay_context.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::ChoiceOutput;
using test::ReplyOf;

namespace {

constexpr const char* kThoughtRules = R"(version: 1
name: house
rules:
  - { id: code, where: { direction: output }, detect: { regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}' }, do: redact }
  - { id: card, where: { direction: output }, detect: { regex: 'card [0-9]{2,16}' }, do: block }
)";

constexpr const char* kHeld = R"(version: 1
name: house
rules:
  - { id: guard, where: { parts: reasoning }, detect: { external: g, at: end }, do: block }
)";

constexpr const char* kObserved = R"(version: 1
name: house
rules:
  - { id: guard, where: { parts: reasoning }, detect: { external: g, at: end, stream: observe }, do: block }
)";

// Keeps what it is asked; answers when it is told to.
struct LateGuard final : pipeline::QuestionInbox {
  void Ask(pipeline::QuestionAsk ask) override {
    asked.push_back(policy::TextOf(ask.messages->front()));
    pipeline::QuestionAnswer& answer = held.emplace_back();
    answer.answer.id = ask.question.id;
    answer.answer.hit = asked.back().find("evil") != std::string::npos;
  }
  std::vector<pipeline::QuestionAnswer> Take() override {
    return answers ? std::exchange(held, {}) : std::vector<pipeline::QuestionAnswer>();
  }

  bool answers = false;
  std::vector<std::string> asked;
  std::vector<pipeline::QuestionAnswer> held;
};

// A reply of a model that thinks, and what left of it in its order: "{thought}text<call>".
class Thinking {
 public:
  explicit Thinking(const char* rules, pipeline::RetryRules retries = {}) {
    plan_.retries = std::move(retries);
    const std::vector<policy::PolicySource> sources = {{"house.yaml", rules}};
    auto compiled = policy::PolicySet::Compile(sources);
    if (!compiled.ok()) FAIL(base::Message(compiled.status()));
    const auto policies = *std::move(compiled);
    plan_.syntax = {.tools = inference::ToolStyle::kHermes, .names = {"find"}, .thinks = true};
    plan_.open = [policies](const policy::Channel& channel) { return policies->OpenOutput({}, channel); };
    plan_.asks = {.about = [policies](const policy::Channel& channel) { return policies->QuestionsOfOutput({}, channel); },
                  .policies = policies,
                  .inbox = [its = guard] { return its; },
                  .open = plan_.open,
                  .streamed = true};
    output = std::make_unique<ChoiceOutput>(0, plan_);
  }

  // A token for each piece of `size` bytes.
  void Push(const std::string& raw, std::size_t size) {
    for (std::size_t at = 0; at < raw.size(); at += size) {
      inference::Piece piece;
      piece.text = raw.substr(at, size);
      piece.text_at = bytes_;
      bytes_ += static_cast<std::int64_t>(piece.text.size());
      piece.tokens.push_back({.bytes = piece.text, .text_end = bytes_});
      piece.tokens_decoded = piece.tokens_delivered = ++tokens;
      REQUIRE(output->Push(piece).ok());
      Go();
    }
  }
  void Finish() {
    REQUIRE(output->Finish().ok());
    Go();
  }
  // As a relay goes about it.
  void Go() {
    REQUIRE(output->Consult("m", {}, 0).ok());
    const std::int64_t frontier = output->Frontier(), bytes = output->pending_bytes();
    const bool empty = output->empty();
    const pipeline::OutputPiece piece = output->Take();
    if (!piece.thought.empty()) left += "{" + piece.thought + "}";
    left += piece.text;
    for (const v1::ToolCall& call : piece.calls) left += "<" + call.name() + ">";
    CHECK((bytes == 0) == empty);
    CHECK(empty == (piece.thought.empty() && piece.text.empty() && piece.calls.empty()));
    output->Released(frontier);
    for (std::size_t at = left.find("}{"); at != std::string::npos; at = left.find("}{")) left.erase(at, 2);
  }
  // What is on record as not delivered.
  std::string Tail() const {
    v1::SealedContent content;
    output->FillRaw(content);
    std::string tail;
    for (const v1::RawSpan& span : content.raw()) tail += span.channel() == "raw" ? span.text() : "";
    return tail;
  }

  std::shared_ptr<LateGuard> guard = std::make_shared<LateGuard>();
  std::unique_ptr<ChoiceOutput> output;
  std::string left;
  std::int64_t tokens = 0;

 private:
  pipeline::OutputPlan plan_;
  std::int64_t bytes_ = 0;
};

}  // namespace

TEST_CASE("The last of a thought leaves before the answer begins, and what has left is delivered, whatever it might have become") {
  for (const std::size_t size : {1, 2, 3, 5, 100}) {
    CAPTURE(size);
    Thinking thinks(kThoughtRules);
    thinks.Push("<think>I ask ZQ~AB</think>\n\nfour it is.", size);
    CHECK(thinks.left == "{I ask ZQ~AB}four it is.");
    // Nothing more comes: the client has gone.
    CHECK(thinks.output->delivered_tokens() == thinks.tokens);
    CHECK(thinks.Tail().empty());
    Thinking cut(kThoughtRules);
    cut.Push("<think>I ask ZQ~AB", size);
    CHECK(cut.left == "{I ask }");
    cut.Finish();
    CHECK(cut.left == "{I ask ZQ~AB}");
  }
}

TEST_CASE("Each token of a thought that the reply's end cuts counts once, white space and a begun marker at its end too") {
  for (const std::size_t size : {1, 2, 3, 100}) {
    for (const std::string raw : {"<think>four", "<think>four\n\n", "<think>four</thi", "<think>\n\n", "<think>four \n</think>"}) {
      CAPTURE(size, raw);
      Thinking cut(kThoughtRules);
      cut.Push(raw, size);
      cut.Finish();
      CHECK(cut.output->reasoning_tokens() == cut.tokens);
    }
  }
}

TEST_CASE("A block at the very end of a thought lets nothing of the answer out, however the reply is cut") {
  for (const std::size_t size : {1, 2, 3, 5, 100}) {
    for (const std::string answer : {"", "</think>", "</think>four it is", "</think>ZQ",
                                     "</think><tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>four"}) {
      CAPTURE(size, answer);
      Thinking thinks(kThoughtRules);
      thinks.Push("<think>my card 4111" + answer, size);
      if (!answer.empty()) CHECK(thinks.output->blocked());
      thinks.Finish();
      CHECK(thinks.output->blocked());
      CHECK(thinks.left == "{my }");
      CHECK(thinks.output->calls() == 0);
      const v1::Verdict verdict = thinks.output->Verdict();
      REQUIRE(verdict.rules_size() == 1);
      CHECK(verdict.rules(0).rule_id() == "card");
      CHECK(thinks.Tail().starts_with("card 4111"));
    }
  }
}

TEST_CASE("What a rule wants written anew at the end of a thought is found before the answer begins") {
  for (const std::size_t size : {1, 2, 3, 5, 100}) {
    CAPTURE(size);
    Thinking thinks(kThoughtRules, {{"card", 3}});
    thinks.Push("<think>see:card 4111</think>four it is.", size);
    const auto found = thinks.output->NextFound();
    REQUIRE(found);
    CHECK(found->rule_id == "card");
    CHECK(found->raw_begin == 11);
    CHECK(thinks.left == "{see:}");
    inference::Piece kept;
    kept.text = "<think>see:";
    CHECK(thinks.output->TakenBack(kept) != nullptr);
  }
}

TEST_CASE("Others are asked about a thought when it is over, and where they hold it the answer waits behind it, or stays inside") {
  const std::string behind = "</think>four <tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>";
  for (const std::size_t size : {1, 3, 200}) {
    for (const bool evil : {false, true}) {
      CAPTURE(size, evil);
      const std::string thought = evil ? "an evil plan" : "a kind plan";
      Thinking held(kHeld);
      held.Push("<think>" + thought + behind, size);
      CHECK(held.guard->asked == std::vector<std::string>{thought});
      CHECK(held.left.empty());
      CHECK(held.output->calls() == 0);
      CHECK(held.output->delivered_tokens() < held.tokens);
      held.guard->answers = true;
      held.Go();
      CHECK(held.output->blocked() == evil);
      CHECK(held.left == (evil ? "" : "{a kind plan}four<find>"));
      CHECK(held.output->calls() == (evil ? 0 : 1));
      held.Push(" more", size);
      held.Finish();
      CHECK(held.left == (evil ? "" : "{a kind plan}four<find>more"));
      CHECK(held.Tail() == (evil ? thought + behind + " more" : ""));

      Thinking observed(kObserved);
      observed.Push("<think>" + thought + behind, size);
      CHECK(observed.guard->asked == std::vector<std::string>{thought});
      CHECK(observed.left == "{" + thought + "}four<find>");
      observed.guard->answers = true;
      observed.Go();
      CHECK(observed.output->blocked() == evil);
    }
  }
}

TEST_CASE("A thought that a rule blocks at its last word ends the reply before the answer, streamed or whole") {
  for (const bool streamed : {false, true}) {
    test::World world(kThoughtRules);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(world.Ask("!think so card 4111\n!say four it is"), streamed ? &writer : nullptr);
    const pipeline::Reply& reply = ReplyOf(outcome);
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK(writer.thought + reply.thought == "so ");
    CHECK((writer.text + reply.text).empty());
    world.CheckBooks();
  }
}

TEST_CASE("A thought that is closed at its bound is judged there, and no sequence goes on behind one that is blocked") {
  test::WatchedPool pool;
  test::World world(kThoughtRules);
  pool.inner = &world.pool();
  world.pool_between = &pool;
  v1::ChatRequest request = world.Ask("!think so card 41\\|11 and on\n!say four it is");
  request.set_max_reasoning_tokens(3);
  const auto outcome = world.Chat(request);
  CHECK(ReplyOf(outcome).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
  CHECK(ReplyOf(outcome).thought == "so ");
  CHECK(ReplyOf(outcome).text.empty());
  CHECK(ReplyOf(outcome).end.usage().output() == 3);
  CHECK(pool.Take().size() == 1);
  world.CheckBooks();
}

TEST_CASE("A bounded thought is closed though a stop string may need the text of its last token, and that token is gone on from") {
  struct Row {
    const char* stop;
    int bound;
    const char* thought;
    int reasoning;      // More than the bound where no text told that it is a thought.
    bool ends = false;  // By itself, with the bound's last token: it is not closed once more.
  };
  for (const Row& row : {Row{"b c Z", 2, "a b", 2}, Row{"a b c Z", 3, "a b c", 3}, Row{"<think>a b Z", 1, "a b c", 3},
                         Row{"</think>Z", 4, "a b c d", 4, true}}) {
    CAPTURE(row.stop, row.bound);
    test::WatchedPool pool;
    test::World world;
    pool.inner = &world.pool();
    world.pool_between = &pool;
    world.options.deadline_default = std::chrono::seconds(60);
    v1::ChatRequest request = world.Ask("!pace_ms 10\n!think a b c d\n!say four is it");  // So that each piece is taken by itself.
    request.set_max_reasoning_tokens(row.bound);
    request.add_stop(row.stop);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(request, &writer);
    const pipeline::Reply& reply = ReplyOf(outcome);
    CHECK(writer.thought + reply.thought == row.thought);
    CHECK(writer.text + reply.text == "four is it");
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
    CHECK(reply.end.usage().reasoning() == row.reasoning);
    CHECK(reply.end.usage().output() == row.reasoning + 3);
    const auto work = pool.Take();
    REQUIRE(work.size() == 2);
    const std::size_t closing = row.ends ? 0 : world.pool().Tokenize("script", pipeline::kThoughtEnd)->size();
    CHECK(work[1].prompt_tokens == work[0].prompt_tokens + static_cast<std::size_t>(row.reasoning) + closing);
    world.CheckBooks();
  }
}

TEST_CASE("A bounded thought is closed though its last token is part of a character") {
  test::WatchedPool pool;
  test::World world;
  pool.inner = &world.pool();
  world.pool_between = &pool;
  world.options.deadline_default = std::chrono::seconds(60);
  v1::ChatRequest request = world.Ask("!pace_ms 20\n!think abcd ~~~~ e\n!say four is it");
  request.set_choices(2);
  request.set_max_tokens(50);
  request.set_max_reasoning_tokens(2);
  // In place of ~~~~ a character in two tokens, as the script's own encoding has its bytes one by one.
  const std::int32_t tildes = world.pool().Tokenize("script", "~~~~")->front(), whole = world.pool().Tokenize("script", "é")->front();
  const std::int32_t one = (1 << 28) | (1 << 24);
  REQUIRE(whole == ((1 << 28) | (2 << 24) | 0xA9C3));
  pool.each = [&](std::size_t, inference::SequenceRequest& sequence) {
    std::vector<std::int32_t>& prompt = sequence.prompt_tokens;
    const auto at = std::find(prompt.begin(), prompt.end(), tildes);
    REQUIRE(at != prompt.end());
    *at = one | 0xA9;
    const std::int32_t ends = world.pool().Tokenize("script", "\\|")->front();
    prompt.insert(at, {one | 0xC3, ends});
  };
  test::RecordingWriter writer;
  const auto outcome = world.Chat(request, &writer);
  const pipeline::Reply& reply = ReplyOf(outcome);
  REQUIRE(reply.more.size() == 1);
  CHECK(writer.text + reply.text == "four is it");
  CHECK(writer.others[1] + reply.more[0].text == "four is it");
  const std::string thoughts = writer.thought + reply.thought + reply.more[0].thought;  // Of both, as they came.
  const std::string half = "\xEF\xBF\xBD";
  CHECK(thoughts.size() == 2 * ("abcd " + half).size());
  CHECK(thoughts.find(half) != thoughts.rfind(half));
  CHECK(reply.end.usage().reasoning() == 4);
  world.CheckBooks();
}

TEST_CASE("A bounded thought is closed, and the answer comes, while its model is being unloaded") {
  base::ManualClock clock;
  inference::PoolOptions options;
  options.models.push_back({.name = "script", .engine = inference::EngineKind::kScripted, .context_tokens = 4096});
  options.clock = &clock;
  const auto own = inference::Pool::Create(std::move(options));
  REQUIRE(own.ok());
  std::thread unload;
  test::WatchedPool pool;
  pool.inner = own->get();
  pool.submitted = [&] {
    if (unload.joinable()) return;
    unload = std::thread([&] { CHECK((*own)->Unload("script", base::MonoTime::max()).ok()); });
    while ((*own)->Find("script").ok()) std::this_thread::yield();
  };
  test::World world;
  world.pool_between = &pool;
  world.options.deadline_default = std::chrono::seconds(60);
  v1::ChatRequest request = world.Ask("!think a b c d\n!say four is it");
  request.set_max_reasoning_tokens(2);
  test::RecordingWriter writer;
  const auto outcome = world.Chat(request, &writer);
  unload.join();
  const pipeline::Reply& reply = ReplyOf(outcome);
  CHECK(writer.thought + reply.thought == "a b");
  CHECK(writer.text + reply.text == "four is it");
  CHECK(reply.end.finish_reason() == v1::FINISH_REASON_STOP);
  world.CheckBooks();
}
