// Output held to a grammar, on tiny generated models that would say anything else.
#include <catch2/catch_test_macros.hpp>

#include <cctype>
#include <cmath>
#include <memory>
#include <string_view>

#include <llama.h>

#include "inference/engines/llama.h"
#include "inference/engines/llama_grammar.h"
#include "inference/engines/llama_library.h"
#include "inference/grammar.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::Hear;
using test::HearAll;
using test::Heard;
using test::Submit;
using test::TinyModel;

// A strict reader of JSON (RFC 8259): whether the whole text is one value.
class JsonReader {
 public:
  static bool Reads(std::string_view text) {
    JsonReader reader(text);
    return reader.Value() && reader.at_ == text.size();
  }

 private:
  explicit JsonReader(std::string_view text) : text_(text) {}
  char Now() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void Space() {
    while (Now() == ' ' || Now() == '\n' || Now() == '\t' || Now() == '\r') ++at_;
  }
  bool Digits() {
    const std::size_t from = at_;
    while (std::isdigit(static_cast<unsigned char>(Now())) != 0) ++at_;
    return at_ > from;
  }
  bool Number() {
    Take("-");
    if (!Take("0") && !Digits()) return false;
    if (Take(".") && !Digits()) return false;
    if (!Take("e") && !Take("E")) return true;
    if (!Take("+")) Take("-");
    return Digits();
  }
  bool String() {
    if (!Take("\"")) return false;
    while (at_ < text_.size() && Now() != '"') {
      if (static_cast<unsigned char>(Now()) < 0x20) return false;
      if (!Take("\\")) {
        ++at_;
      } else if (Take("u")) {
        for (int i = 0; i < 4; ++i, ++at_) {
          if (std::isxdigit(static_cast<unsigned char>(Now())) == 0) return false;
        }
      } else if (std::string_view("\"\\/bfnrt").find(text_[at_++]) == std::string_view::npos) {
        return false;
      }
    }
    return Take("\"");
  }
  template <typename Item>
  bool List(std::string_view end, Item item) {
    Space();
    if (Take(end)) return true;
    do {
      Space();
      if (!item()) return false;
      Space();
    } while (Take(","));
    return Take(end);
  }
  bool Value() {
    Space();
    if (Take("{")) return List("}", [this] { return String() && (Space(), Take(":")) && Value(); });
    if (Take("[")) return List("]", [this] { return Value(); });
    return Take("true") || Take("false") || Take("null") || (Now() == '"' ? String() : Number());
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

struct Fixture {
  tollgate::test::TempDir folder;
  std::unique_ptr<Pool> pool = test::MakePool(TinyModel("llama").WriteTo(folder));

  SequenceRequest Ask(std::uint64_t seed, std::int64_t max_tokens = 200) {
    SequenceRequest request = test::Ask(*pool, "say something");
    request.sampling.seed = seed;
    request.max_tokens = max_tokens;
    return request;
  }
};

TEST_CASE("An output follows its grammar to the letter and ends where the grammar does") {
  Fixture f;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SequenceRequest request = f.Ask(seed);
    request.grammar = "root ::= (\"yes\" | \"no\") \", \" [0-9]{2,4} \".\"";
    const Heard heard = HearAll(*Submit(*f.pool, std::move(request)));
    INFO(heard.text);
    CHECK(heard.end.reason == EndReason::kStop);
    CHECK((heard.text.starts_with("yes, ") || heard.text.starts_with("no, ")));
    CHECK(heard.text.ends_with("."));
    CHECK(heard.text.size() >= 7);
    CHECK(heard.text.size() <= 10);
  }
}

TEST_CASE("Every JSON output that ends is an object, and one that is cut short began as one") {
  Fixture f;
  int whole = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SequenceRequest request = f.Ask(seed, 400);
    request.json = true;
    const Heard heard = HearAll(*Submit(*f.pool, std::move(request)));
    INFO(heard.text);
    CHECK(heard.text.starts_with("{"));
    if (heard.end.reason != EndReason::kStop) continue;
    ++whole;
    CHECK(JsonReader::Reads(heard.text));
  }
  CHECK(whole > 0);
}

TEST_CASE("A sequence under a grammar can be rewound and still follows it") {
  Fixture f;
  SequenceRequest request = f.Ask(3);
  request.grammar = "root ::= [ab]{8} \"!\"";
  request.allowance = 5;
  request.want_tokens = true;
  const auto stream = Submit(*f.pool, std::move(request));
  Heard heard;
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  std::vector<OutputToken> tokens;
  for (const Piece& piece : heard.pieces) tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  REQUIRE(tokens.size() == 5);
  REQUIRE(stream->Rewind(2, {tokens[2].id}));
  stream->Allow(1000, false);
  Heard rest;
  REQUIRE(Hear(*stream, rest) == Taken::kEnd);
  std::string text = heard.text.substr(0, static_cast<std::size_t>(rest.pieces.at(0).text_at)) + rest.text;
  CHECK(text.size() == 9);
  CHECK(text[8] == '!');
  CHECK(text[2] != heard.text[2]);
  CHECK(text.substr(0, 2) == heard.text.substr(0, 2));
}

TEST_CASE("A token that is forbidden comes all the same where the grammar allows no other") {
  Fixture f;
  SequenceRequest request = f.Ask(3);
  request.grammar = "root ::= \"a!\"";
  request.want_tokens = true;
  const Heard once = HearAll(*Submit(*f.pool, SequenceRequest(request)));
  REQUIRE(once.text == "a!");
  const std::int32_t first = once.pieces.at(0).tokens.at(0).id;
  request.banned_first = {first};
  const Heard again = HearAll(*Submit(*f.pool, std::move(request)));
  CHECK(again.end.status.ok());
  CHECK(again.text == "a!");
}

TEST_CASE("Grammars that are none, that could hurt, or that an engine does not have are refused before anything is queued") {
  Fixture f;
  const auto refused = [&](Pool& pool, const std::string& grammar, bool json) {
    SequenceRequest request = test::Ask(pool, "x");
    request.grammar = grammar;
    request.json = json;
    return pool.Submit(std::move(request)).status();
  };
  CHECK(refused(*f.pool, "root ::= foo", false).code() == absl::StatusCode::kInvalidArgument);
  CHECK(refused(*f.pool, "root ::= root \"a\"", false).code() == absl::StatusCode::kInvalidArgument);
  CHECK(refused(*f.pool, "root ::= \"a\"", true).code() == absl::StatusCode::kInvalidArgument);
  const auto scripted = test::MakePool(test::Scripted());
  CHECK(refused(*scripted, "root ::= \"a\"", false).code() == absl::StatusCode::kUnimplemented);
  CHECK(refused(*scripted, "", true).code() == absl::StatusCode::kUnimplemented);
}

struct Given {
  std::string text;
  absl::Status status;
};

// The next token of each of so many slots, from the first one on.
std::vector<Given> Next(Engine& engine, int slots, std::int64_t prompt_tokens) {
  std::vector<EngineWork> work;
  for (int slot = 0; slot < slots; ++slot) work.push_back({slot, prompt_tokens});
  std::vector<EngineOutput> outputs;
  REQUIRE(engine.Step(work, outputs).ok());
  REQUIRE(outputs.size() == work.size());
  std::vector<Given> given(work.size());
  for (const EngineOutput& output : outputs) given[static_cast<std::size_t>(output.slot)] = {std::string(output.bytes), output.status};
  return given;
}

TEST_CASE("A grammar that has too many readings ends its own sequence, and no other") {
  const tollgate::test::TempDir folder;
  const auto made = MakeLlamaEngine(TinyModel("llama").WriteTo(folder), "");
  REQUIRE(made.ok());
  Engine& engine = **made;
  const std::vector<std::int32_t> prompt = {40, 41, 42};
  REQUIRE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "root ::= root \"a\" | \"b\""}).ok());  // None of a caller's.
  REQUIRE(engine.Open(1, {.prompt_tokens = prompt}).ok());
  const std::vector<Given> given = Next(engine, 2, 3);
  CHECK(given[1].status.ok());
  CHECK(given[0].status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(base::Message(given[0].status).find("less ambiguous") != std::string::npos);
}

TEST_CASE(
    "A grammar that was read when it was checked is not read again when its sequence opens; a process that is told the text reads it") {
  const tollgate::test::TempDir folder;
  const auto made = MakeLlamaEngine(TinyModel("llama").WriteTo(folder), "");
  REQUIRE(made.ok());
  Engine& engine = **made;
  const std::vector<std::int32_t> prompt = {40, 41, 42};
  const auto follow = [&](std::int64_t prompt_tokens) {
    std::string text;
    for (std::int64_t left = prompt_tokens; text.size() < 3; left = 0) {
      const Given given = Next(engine, 1, left)[0];
      REQUIRE(given.status.ok());
      text += given.text;
    }
    return text;
  };
  auto read = engine.CheckGrammar("root ::= \"yes\"");
  REQUIRE(read.ok());
  REQUIRE(*read != nullptr);
  REQUIRE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "no grammar at all", .read = *std::move(read)}).ok());
  CHECK(follow(3) == "yes");
  REQUIRE(engine.Rewind(0, 0, {}).ok());
  CHECK(follow(0) == "yes");
  engine.Close(0);
  CHECK_FALSE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "no grammar at all"}).ok());
  engine.Close(0);
  REQUIRE(engine.Open(0, {.prompt_tokens = prompt, .grammar = "root ::= \"not\""}).ok());
  CHECK(follow(3) == "not");
}

struct FreeSampler {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};

// A random grammar that callers may send.
std::string RandomGrammar(std::mt19937_64& random) {
  const std::vector<std::string> parts = {"\"ab\"", "[a-z]", "[^\\x00-\\x1F]", "(", ")", "|",           "*",        "+",    "?",
                                          "{2}",    "{0,3}", "{1,}",           " ", ".", "\"\\u00e9\"", "[\\]é-ü]", "[^a]", "x",
                                          "y",      "\"日\""};
  for (;;) {
    std::string text = "root ::= ";
    for (std::uint64_t n = 1 + random() % 12; n > 0; --n) text += parts[random() % parts.size()];
    text += "\nx ::= \"q\" | y [0-9]\ny ::= [a-c]{1,3} | \"é\"?\n";
    if (CheckGrammar(text).ok()) return text;
  }
}

// libllama's own reader is asked the same. It knows less of UTF-8, so nothing is taken up that has a byte of more than one character's.
TEST_CASE("What may come next is what libllama's reader of grammars says, token for token") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const tollgate::test::TempDir folder;
  const ModelOptions options = TinyModel("llama").WriteTo(folder);
  REQUIRE(StartLlama("").ok());
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  const LlamaModel model(llama_model_load_from_file(options.file.c_str(), params));
  REQUIRE(model != nullptr);
  auto format = ChatFormat::Choose("chatml", "");
  REQUIRE(format.ok());
  const auto vocab = LlamaVocab::Make(model.get(), *std::move(format));
  REQUIRE(vocab.ok());
  int compared = 0;
  for (int round = 0; round < 300; ++round) {
    const std::string text = round % 3 == 0 ? std::string(JsonGrammar()) : RandomGrammar(random);
    const auto ours = LlamaGrammar::Make(*vocab, text);
    const std::unique_ptr<llama_sampler, FreeSampler> theirs(
        llama_sampler_init_grammar(llama_model_get_vocab(model.get()), text.c_str(), "root"));
    REQUIRE(ours.ok());
    if (theirs == nullptr) continue;  // It takes the repetition of what may be empty for a rule that refers to itself.
    for (int step = 0; step < 20; ++step) {
      std::vector<float> logits(static_cast<std::size_t>(vocab->tokens()), 0);
      REQUIRE((*ours)->Mask(logits).ok());
      std::vector<llama_token_data> candidates;
      for (std::int32_t token = 0; token < vocab->tokens(); ++token) candidates.push_back({token, 0, 0});
      llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
      llama_sampler_apply(theirs.get(), &array);
      std::vector<std::int32_t> next;
      for (const llama_token_data& candidate : candidates) {
        const std::string_view bytes = vocab->Bytes(candidate.id);
        const bool may = !std::isinf(logits[static_cast<std::size_t>(candidate.id)]);
        CHECK(*(*ours)->Allows(candidate.id) == may);
        const bool plain = !bytes.empty() && static_cast<unsigned char>(bytes[0]) < 0x80;
        if (!plain && !vocab->EndsTurn(candidate.id)) continue;
        INFO(text << " / token " << candidate.id << " " << bytes);
        CHECK(may == !std::isinf(candidate.logit));
        ++compared;
        if (may && plain) next.push_back(candidate.id);
      }
      if (next.empty()) break;
      const std::int32_t token = next[random() % next.size()];
      REQUIRE((*ours)->Accept(token).ok());
      llama_sampler_accept(theirs.get(), token);
    }
  }
  CHECK(compared > 10'000);
}

TEST_CASE("Whatever text passes the check is read, and an output follows it or is ended") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Fixture f;
  const std::vector<std::string> parts = {
      "root ::= ", "\n", "x ::= ", "x",           "\"ab\"", "[a-z]", "[^\\x00-\\x1F]", "(", ")", "|", "*", "+", "?", "{2}",
      "{0,3}",     " ",  ".",      "\"\\u00e9\"", "[\\]]",  "#c\n",  "y ::= \"q\" | ", "y"};
  int read = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = "root ::= ";
    for (std::uint64_t n = 1 + random() % 12; n > 0; --n) text += parts[random() % parts.size()];
    if (!CheckGrammar(text).ok()) continue;
    SequenceRequest request = f.Ask(random(), 6);
    request.grammar = text;
    auto stream = f.pool->Submit(std::move(request));
    if (!stream.ok()) continue;
    ++read;
    const Heard heard = HearAll(**stream);
    INFO(text);
    CHECK((heard.end.reason == EndReason::kStop || heard.end.reason == EndReason::kLength || heard.end.reason == EndReason::kEngineFailed));
  }
  CHECK(read > 50);
}

}  // namespace
}  // namespace tollgate::inference
