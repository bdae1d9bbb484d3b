// What tests of the upstream embedder share: texts whose tokens are known by heart, a model of them that a scripted upstream runs, and a
// replica over it.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "inference/engines/upstream_embed_wire.h"
#include "inference/engines/upstream_embedder.h"
#include "inference/replica.h"
#include "tests/inference/support.h"
#include "tests/support/scripted_upstream.h"

namespace tollgate::inference::test {

using tollgate::test::Gate;
using tollgate::test::ScriptedUpstream;
using Exchange = ScriptedUpstream::Exchange;

// Every byte is a token; 256 stands before a text and 257 behind, 258 between a query and a document. "<s>" is how 256 is written.
class ByteTexts final : public UpstreamTexts {
 public:
  explicit ByteTexts(Pooling pooling) {
    facts_.pooling = pooling, facts_.architecture = "bytes";
    facts_.dimensions = pooling == Pooling::kRank ? 1 : 4;
    facts_.vocab_tokens = 300;
  }
  const ModelInfo& Facts() const override { return facts_; }
  std::string Sent(std::string_view text) const override { return BreakNames(text, std::vector<std::string>{"<s>", "</s>"}); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> /*turns*/) const override { return base::Internal("no chats"); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    const std::string sent = facts_.reranks() ? Sent(text) : std::string(text);
    std::vector<std::int32_t> tokens;
    for (const char c : sent) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override {
    std::vector<std::int32_t> tokens{256};
    if (facts_.reranks()) {
      tokens.insert(tokens.end(), text.query.begin(), text.query.end());
      tokens.push_back(258);
    }
    const auto own = *Tokenize(text.text);
    tokens.insert(tokens.end(), own.begin(), own.end());
    tokens.push_back(257);
    return tokens;
  }

 private:
  ModelInfo facts_;
};

inline ModelOptions EmbedUpstream(const std::vector<std::string>& endpoints, Pooling pooling = Pooling::kMean) {
  ModelOptions model;
  model.name = "bytes";
  model.engine = EngineKind::kOpenAi;
  model.file = "none";
  model.pooling = pooling;
  model.context_tokens = 4096;
  model.upstream.endpoints = endpoints;
  model.upstream.model = "upstream-bytes";
  model.upstream.health_interval = std::chrono::milliseconds(0);
  return model;
}

inline std::unique_ptr<Replica> StartEmbedder(const ModelOptions& model, const base::Clock& clock = base::SystemClock()) {
  auto replica =
      Replica::Start(model, clock, 0, [&] { return MakeUpstreamEmbedder(model, std::make_unique<ByteTexts>(model.pooling), clock); });
  INFO(replica.status().ToString());
  REQUIRE(replica.ok());
  return *std::move(replica);
}

inline EmbedJob JobOf(const Replica& replica, const std::vector<std::string>& texts, int tenant = 1) {
  EmbedJob job;
  job.tenant = Team(tenant);
  for (const std::string& text : texts) job.inputs.push_back(*replica.EmbedTokens({text, {}}));
  return job;
}

// The query first.
inline EmbedJob RankJobOf(const Replica& replica, const std::vector<std::string>& texts) {
  EmbedJob job;
  job.tenant = Team(1);
  job.texts = texts;
  const auto query = *replica.Tokenize(texts[0]);
  for (std::size_t i = 1; i < texts.size(); ++i) job.inputs.push_back(*replica.EmbedTokens({texts[i], query}));
  return job;
}

inline std::shared_ptr<TokenStream> EmbedOn(Replica& replica, EmbedJob job) {
  auto stream = replica.Embed(std::move(job));
  INFO(stream.status().ToString());
  REQUIRE(stream.ok());
  return *std::move(stream);
}

inline boost::json::object BodyOf(const ScriptedUpstream::Request& request) { return boost::json::parse(request.body).as_object(); }

// The vector of a text as it is sent, not of length 1: how many tokens it has, its first byte, and two more.
inline std::vector<float> VectorOf(std::size_t tokens, std::int64_t first) {
  return {static_cast<float>(tokens), static_cast<float>(first), 1, -2};
}
inline std::vector<float> OfLengthOne(std::vector<float> vector) {
  double square = 0;
  for (const float x : vector) square += static_cast<double>(x) * x;
  for (float& x : vector) x = static_cast<float>(x / std::sqrt(square));
  return vector;
}

inline boost::json::value Encoded(const std::vector<float>& vector, bool base64) {
  if (!base64) return boost::json::array(vector.begin(), vector.end());
  return boost::json::string(base::Base64Encode({reinterpret_cast<const char*>(vector.data()), vector.size() * 4}));
}

inline boost::json::object Entry(std::int64_t index, const std::vector<float>& vector, bool base64 = false) {
  return {{"object", "embedding"}, {"index", index}, {"embedding", Encoded(vector, base64)}};
}

inline std::string VectorsBody(boost::json::array data, std::int64_t tokens) {
  return boost::json::serialize(
      boost::json::object{{"object", "list"}, {"data", std::move(data)}, {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
}

// A server that embeds as it should, the last input first.
struct ByteModel {
  bool base64 = true;
  std::int64_t lie = 0;  // Added to the usage that it reports.
  void Answer(Exchange& exchange) const {
    const boost::json::object asked = BodyOf(exchange.request());
    const boost::json::array& inputs = asked.at("input").as_array();
    boost::json::array data;
    std::int64_t tokens = lie;
    for (std::size_t i = inputs.size(); i-- > 0;) {
      const boost::json::array& input = inputs[i].as_array();
      tokens += static_cast<std::int64_t>(input.size());
      data.push_back(Entry(static_cast<std::int64_t>(i), VectorOf(input.size(), input.at(1).as_int64()), base64));
    }
    exchange.Reply(200, VectorsBody(std::move(data), tokens));
  }
};

}  // namespace tollgate::inference::test
