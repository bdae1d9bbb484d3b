// Calls for vectors and relevance, and a company that has models for both: of the tests of embed_request.h.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error_detail.h"
#include "gateway/pipeline/embed_request.h"
#include "tests/gateway/pipeline/world.h"

namespace tollgate::test {

inline constexpr const char* kEmbedPolicy = R"(version: 1
name: house
rules:
  - id: codename
    where: { direction: both }
    detect: { keywords: [bluebird], ignore_case: true }
    do: block
    because: Project names stay inside.
  - id: mail
    where: { direction: both }
    detect: { personal_data: [email] }
    do: redact
    replacement: "[MAIL]"
)";

inline tollgate::v1::EmbedRequest Texts(const std::vector<std::string>& texts, const std::string& model = "vec") {
  tollgate::v1::EmbedRequest request;
  request.set_model(model);
  for (const std::string& text : texts) request.add_inputs()->set_text(text);
  return request;
}

inline tollgate::v1::RerankRequest Rank(const std::string& query, const std::vector<std::string>& documents,
                                        const std::string& model = "rank") {
  tollgate::v1::RerankRequest request;
  request.set_model(model);
  request.set_query(query);
  for (const std::string& document : documents) request.add_documents(document);
  return request;
}

struct EmbedWorld : World {
  explicit EmbedWorld(const std::string& policy = "") : World(policy) {
    LoadEmbedder("vec");
    LoadEmbedder("rank", inference::Pooling::kRank);
  }
  pipeline::EmbedAnswer Vectors(const tollgate::v1::EmbedRequest& request) {
    auto outcome = Embed(request);
    if (const auto* failure = std::get_if<pipeline::Failure>(&outcome)) FAIL(failure->status);
    return std::get<pipeline::EmbedAnswer>(outcome);
  }
  pipeline::Failure Refused(const tollgate::v1::EmbedRequest& request, std::shared_ptr<pipeline::Cancellation> cancellation = nullptr) {
    auto outcome = Embed(request, std::move(cancellation));
    REQUIRE(std::holds_alternative<pipeline::Failure>(outcome));
    return std::get<pipeline::Failure>(outcome);
  }
};

inline std::string ReasonOf(const pipeline::Failure& failure) { return ReasonOf(failure.status); }

inline std::string ParamOf(const pipeline::Failure& failure) {
  const auto detail = base::DetailOf(failure.status);
  return detail ? detail->param : "";
}

}  // namespace tollgate::test
