// The bodies of /v1/embeddings and /v1/rerank: every form of input, every refusal, and vectors that come back to the bit.
#include "gateway/http/embed_body.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstring>
#include <random>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "tests/support/random.h"

using namespace tollgate;
using namespace tollgate::http_front;
namespace json = boost::json;

namespace {

std::string Shape(const v1::EmbedRequest& request) {
  std::string out;
  for (const v1::EmbedInput& input : request.inputs()) {
    if (!input.has_tokens()) {
      out += '"' + input.text() + "\" ";
      continue;
    }
    for (const int id : input.tokens().ids()) out += std::to_string(id) + ' ';
    out += "| ";
  }
  return out;
}

pipeline::EmbedAnswer AnswerOf(std::vector<float> numbers, std::int64_t dimensions) {
  pipeline::EmbedAnswer answer;
  answer.head.model = "bge";
  answer.numbers = std::move(numbers);
  answer.dimensions = dimensions;
  answer.end.mutable_usage()->set_input(7);
  return answer;
}

}  // namespace

TEST_CASE("An input is a text, texts, token ids or lists of them, one beside the other") {
  struct Row {
    const char* input;
    const char* shape;
  };
  for (const Row& row : {Row{R"("one")", "\"one\" "}, Row{R"(["one","two"])", "\"one\" \"two\" "}, Row{"[1,2,3]", "1 2 3 | "},
                         Row{"[[1,2],[3]]", "1 2 | 3 | "}, Row{R"(["one",[4]])", "\"one\" 4 | "}}) {
    const auto body = ParseEmbeddings(std::string(R"({"model":"bge","input":)") + row.input + "}");
    REQUIRE(body.ok());
    CHECK(Shape(body->embed) == row.shape);
    CHECK_FALSE(body->base64);
  }
}

TEST_CASE("Fields are taken or refused by name") {
  const auto all = ParseEmbeddings(R"({"model":"bge","input":"x","dimensions":64,"encoding_format":"base64","user":"u1"})");
  REQUIRE(all.ok());
  CHECK(all->embed.model() == "bge");
  CHECK(all->embed.dimensions() == 64);
  CHECK(all->embed.end_user() == "u1");
  CHECK(all->base64);
  const auto demanded = ParseEmbeddings(R"({"model":"bge","input":"x","justification":"Prüfung","accept_terms":"ai@3"})");
  REQUIRE(demanded.ok());
  CHECK(demanded->embed.justification() == "Prüfung");
  CHECK(demanded->embed.accept_terms() == "ai@3");
  const auto ranked = ParseRerank(R"({"model":"r","query":"q","documents":["a"],"justification":"Prüfung","accept_terms":"ai@3"})");
  REQUIRE(ranked.ok());
  CHECK(ranked->justification() == "Prüfung");
  CHECK(ranked->accept_terms() == "ai@3");
  struct Row {
    const char* body;
    const char* reason;
    const char* param;
  };
  for (const Row& row :
       {Row{R"({"input":"x"})", "MISSING_REQUIRED_PARAMETER", "model"}, Row{R"({"model":"m"})", "MISSING_REQUIRED_PARAMETER", "input"},
        Row{R"({"model":"m","input":[]})", "MISSING_REQUIRED_PARAMETER", "input"},
        Row{R"({"model":"m","input":7})", "INVALID_TYPE", "input"}, Row{R"({"model":"m","input":["a",1]})", "INVALID_TYPE", "input[1]"},
        Row{R"({"model":"m","input":[1,-1]})", "INVALID_VALUE", "input[1]"},
        Row{R"({"model":"m","input":[[1],[2,4294967296]]})", "INVALID_VALUE", "input[1][1]"},
        Row{R"({"model":"m","input":"x","dimensions":0})", "INVALID_VALUE", "dimensions"},
        Row{R"({"model":"m","input":"x","encoding_format":"hex"})", "UNSUPPORTED_VALUE", "encoding_format"},
        Row{R"({"model":"m","input":"x","truncate":true})", "UNKNOWN_PARAMETER", "truncate"}, Row{"[]", "INVALID_TYPE", ""}}) {
    INFO(row.body);
    const auto body = ParseEmbeddings(row.body);
    REQUIRE_FALSE(body.ok());
    CHECK(base::DetailOf(body.status())->reason == row.reason);
    CHECK(base::DetailOf(body.status())->param == row.param);
  }
}

TEST_CASE("More texts than a request may have are refused by their number, before anything is built of them") {
  const auto many = [](const std::string& text) {
    std::string out = text;
    for (int i = 0; i < 2048; ++i) out += "," + text;
    return "[" + out + "]";
  };
  for (const auto& [body, param] : {std::pair{R"({"model":"m","input":)" + many("[]") + "}", "input"},
                                    std::pair{R"({"model":"m","input":)" + many("\"a\"") + "}", "input"}}) {
    const absl::Status refused = ParseEmbeddings(body).status();
    CHECK(base::DetailOf(refused)->param == param);
    CHECK(base::Message(refused).find("2049 texts") != std::string::npos);
  }
  const absl::Status refused = ParseRerank(R"({"model":"m","query":"q","documents":)" + many("\"a\"") + "}").status();
  CHECK(base::DetailOf(refused)->param == "documents");
}

TEST_CASE("A vector that is read back is the same to the bit, as digits and as base64") {
  std::mt19937_64 random(test::Seed());
  std::vector<float> numbers;
  while (numbers.size() < 3000) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(x)) numbers.push_back(x);
  }
  numbers[0] = 0.0F;
  numbers[1] = 1e-45F;
  const pipeline::EmbedAnswer answer = AnswerOf(numbers, 300);
  for (const bool base64 : {false, true}) {
    const json::value root = json::parse(EmbeddingsReply(answer, base64));
    std::vector<float> read;
    const json::array& data = root.at("data").as_array();
    REQUIRE(data.size() == 10);
    for (std::size_t i = 0; i < data.size(); ++i) {
      CHECK(data[i].at("index").as_int64() == static_cast<std::int64_t>(i));
      if (!base64) {
        for (const json::value& number : data[i].at("embedding").as_array()) read.push_back(number.to_number<float>());
        continue;
      }
      const std::string bytes = *base::Base64Decode(std::string(data[i].at("embedding").as_string()));
      REQUIRE(bytes.size() == 300 * 4);
      for (std::size_t at = 0; at < bytes.size(); at += 4) {
        float x = 0;
        std::memcpy(&x, bytes.data() + at, 4);  // As numpy reads it on the machines that we build for.
        read.push_back(x);
      }
    }
    CHECK(read == numbers);
  }
}

TEST_CASE("An answer is OpenAI's object, to the byte") {
  CHECK(EmbeddingsReply(AnswerOf({0.5F, -1.0F, 0.25F, 2.0F}, 2), false) ==
        R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1]},)"
        R"({"object":"embedding","index":1,"embedding":[0.25,2]}],"model":"bge","usage":{"prompt_tokens":7,"total_tokens":7}})");
  CHECK(
      EmbeddingsReply(AnswerOf({1.0F}, 1), true) ==
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"bge","usage":{"prompt_tokens":7,"total_tokens":7}})");
}

TEST_CASE("Reranking has Jina's and Cohere's body, and an answer with the documents where they are wanted") {
  const auto body = ParseRerank(R"({"model":"r","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true})");
  REQUIRE(body.ok());
  CHECK(body->query() == "q");
  CHECK(body->documents(1) == "b");
  CHECK(body->top_n() == 1);
  CHECK(body->return_documents());
  struct Row {
    const char* body;
    const char* param;
  };
  for (const Row& row : {Row{R"({"model":"r","documents":["a"]})", "query"}, Row{R"({"model":"r","query":"q"})", "documents"},
                         Row{R"({"model":"r","query":"q","documents":[{"text":"a","image":"b"}]})", "documents[0]"},
                         Row{R"({"model":"r","query":"q","documents":[1]})", "documents[0]"},
                         Row{R"({"model":"r","query":"q","documents":"a"})", "documents"},
                         Row{R"({"model":"r","query":"q","documents":["a"],"top_n":0})", "top_n"},
                         Row{R"({"model":"r","query":"q","documents":["a"],"max_chunks_per_doc":1})", "max_chunks_per_doc"}}) {
    INFO(row.body);
    CHECK(base::DetailOf(ParseRerank(row.body).status())->param == row.param);
  }
  pipeline::RerankAnswer answer;
  answer.head.model = "r";
  answer.end.mutable_usage()->set_input(9);
  answer.results.emplace_back().set_index(1);
  answer.results.back().set_relevance_score(0.75);
  CHECK(RerankReply(answer, "id") ==
        R"({"id":"rerank-id","model":"r","usage":{"prompt_tokens":9,"total_tokens":9},"results":[{"index":1,"relevance_score":0.75}]})");
  answer.results.back().set_document("b \"c\"");
  CHECK(RerankReply(answer, "id").find(R"("document":{"text":"b \"c\""})") != std::string::npos);
  for (v1::PolicyOutcome* outcome : {answer.end.mutable_input_policy(), answer.end.mutable_output_policy()}) {
    outcome->set_action("redact");
    outcome->add_rules()->set_id(outcome == &answer.end.input_policy() ? "in" : "out");
  }
  CHECK(
      RerankReply(answer, "id")
          .ends_with(
              R"("document":{"text":"b \"c\""}}],"tollgate":{"input_policy":{"action":"redact","rules":[{"id":"in","action":"","because":""}]},)"
              R"("output_policy":{"action":"redact","rules":[{"id":"out","action":"","because":""}]}}})"));
  pipeline::EmbedAnswer embedded = AnswerOf({1.0F}, 1);
  *embedded.end.mutable_input_policy() = answer.end.input_policy();
  CHECK(EmbeddingsReply(embedded, true)
            .ends_with(
                R"("total_tokens":7},"tollgate":{"input_policy":{"action":"redact","rules":[{"id":"in","action":"","because":""}]}}})"));
}
