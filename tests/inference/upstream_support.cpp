// Tested by tests/inference/upstream_engine_test.cpp.
#include "tests/inference/upstream_support.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include "inference/engines/upstream_engine.h"

namespace tollgate::inference::test {

namespace json = boost::json;

namespace {

class Words final : public Tokenizer {
 public:
  Words() {
    for (std::int32_t id = 0; id < 1000; ++id) {
      bytes_.push_back(id < 256 ? std::string(1, static_cast<char>(id)) : id < kWords ? "" : fmt::format("w{} ", id - kWords));
    }
  }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override {
    std::vector<std::int32_t> tokens;
    for (const Turn& turn : turns) {
      tokens.push_back(257);
      const auto text = *Tokenize(turn.text);
      tokens.insert(tokens.end(), text.begin(), text.end());
      tokens.push_back(kEndTurn);
    }
    tokens.push_back(257);
    return tokens;
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    while (!text.empty()) {
      std::int32_t found = static_cast<unsigned char>(text[0]);
      for (std::int32_t word = kWords; text[0] == 'w' && word < 1000; ++word) {
        if (text.starts_with(bytes_[static_cast<std::size_t>(word)])) found = word;
      }
      tokens.push_back(found);
      text.remove_prefix(bytes_[static_cast<std::size_t>(found)].size());
    }
    return tokens;
  }
  std::string_view Bytes(std::int32_t token) const override { return bytes_[static_cast<std::size_t>(token)]; }
  bool EndsTurn(std::int32_t token) const override { return token == kEndTurn; }
  std::int64_t tokens() const override { return 1000; }
  const base::Digest& digest() const override { return digest_; }
  std::string format() const override { return "words"; }
  std::string architecture() const override { return "words"; }

 private:
  std::vector<std::string> bytes_;
  base::Digest digest_ = base::Sha256("words");
};

}  // namespace

std::unique_ptr<Tokenizer> WordTokenizer() { return std::make_unique<Words>(); }

std::string Event(const std::string& text, const std::vector<std::int32_t>& tokens, const std::string& finish) {
  json::object choice{{"index", 0}, {"text", text}, {"finish_reason", nullptr}};
  if (!tokens.empty()) choice["token_ids"] = json::array(tokens.begin(), tokens.end());
  if (!finish.empty()) choice["finish_reason"] = finish;
  return "data: " + json::serialize(json::object{{"id", "x"}, {"choices", json::array{choice}}}) + "\n\n";
}

std::string UsageEvent(std::int64_t input, std::int64_t output) {
  return fmt::format("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{},\"completion_tokens\":{}}}}}\n\n", input, output);
}

Asked::Asked(const std::string& text) {
  const json::object body = json::parse(text).as_object();
  for (const json::value& token : body.at("prompt").as_array()) prompt.push_back(static_cast<std::int32_t>(token.as_int64()));
  max_tokens = body.at("max_tokens").as_int64();
  if (body.contains("cache_salt")) salt = body.at("cache_salt").as_string().c_str();
  if (body.contains("priority")) priority = body.at("priority").as_int64();
  if (!body.contains("logit_bias")) return;
  for (const auto& bias : body.at("logit_bias").as_object()) banned.push_back(std::stoi(std::string(bias.key())));
}

void WordModel::Answer(Exchange& exchange) const {
  const Asked asked(exchange.request().body);
  std::int32_t next = 0;
  for (const std::int32_t token : asked.prompt) next = token >= kWords ? token - kWords + 1 : 0;
  exchange.Begin();
  std::int64_t given = 0;
  for (; next < words && given < asked.max_tokens; ++next) {
    if (given == 0 && std::find(asked.banned.begin(), asked.banned.end(), kWords + next) != asked.banned.end()) continue;
    before_word(next);
    exchange.Write(Event(Said(next, next + 1), names_tokens ? std::vector<std::int32_t>{kWords + next} : std::vector<std::int32_t>()));
    ++given;
  }
  const bool stops = given < asked.max_tokens;
  exchange.Write(
      Event("", stops && names_tokens ? std::vector<std::int32_t>{kEndTurn} : std::vector<std::int32_t>(), stops ? "stop" : "length"));
  given += stops ? 1 : 0;
  exchange.Write(UsageEvent(static_cast<std::int64_t>(asked.prompt.size()) + lie_input, given + lie_output));
  exchange.Write(kDone);
  exchange.End();
}

std::string Said(int from, int to) {
  std::string text;
  for (int word = from; word < to; ++word) text += fmt::format("w{} ", word);
  return text;
}

ModelOptions Upstream(const std::vector<std::string>& endpoints, int slots) {
  ModelOptions model;
  model.name = "words";
  model.engine = EngineKind::kOpenAi;
  model.file = "none";
  model.slots = slots;
  model.context_tokens = 4096;
  model.upstream.endpoints = endpoints;
  model.upstream.model = "upstream-words";
  return model;
}

std::unique_ptr<Replica> StartUpstream(const ModelOptions& model, const base::Clock& clock) {
  auto replica = Replica::Start(model, clock, 0, [&] { return MakeUpstreamEngine(model, WordTokenizer(), clock); });
  INFO(replica.status().ToString());
  REQUIRE(replica.ok());
  return *std::move(replica);
}

SequenceRequest AskUpstream(const Replica& replica, const std::string& text) {
  SequenceRequest request;
  request.model = "words";
  const Turn turn{"user", "", text};
  request.prompt_tokens = *replica.Render(std::span(&turn, 1));
  request.allowance = 1'000'000;
  std::array<std::uint8_t, 16> team{};
  team[15] = 1;
  request.tenant = base::TeamId(base::Uuid(team));
  return request;
}

std::shared_ptr<TokenStream> SubmitTo(Replica& replica, SequenceRequest request) {
  auto stream = replica.Submit(std::move(request));
  INFO(stream.status().ToString());
  REQUIRE(stream.ok());
  return *std::move(stream);
}

}  // namespace tollgate::inference::test
