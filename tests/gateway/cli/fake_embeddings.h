// Vectors and ranks from memory.
#pragma once

#include "tollgate/v1/embeddings.grpc.pb.h"

class FakeEmbeddings final : public tollgate::v1::Embeddings::Service {
 public:
  grpc::Status Embed(grpc::ServerContext*, const tollgate::v1::EmbedRequest* request, tollgate::v1::EmbedReply* reply) override {
    embed = *request;
    for (int i = 0; i < request->inputs_size(); ++i) {
      tollgate::v1::Vector* vector = reply->add_vectors();
      vector->add_values(static_cast<float>(i));
      vector->add_values(0.5F);
    }
    return grpc::Status::OK;
  }
  grpc::Status Rerank(grpc::ServerContext*, const tollgate::v1::RerankRequest* request, tollgate::v1::RerankReply* reply) override {
    rerank = *request;
    for (int i = request->documents_size() - 1; i >= 0; --i) {
      tollgate::v1::RankedDocument* result = reply->add_results();
      result->set_index(i);
      result->set_relevance_score(0.25 * (i + 1));
    }
    return grpc::Status::OK;
  }
  tollgate::v1::EmbedRequest embed;
  tollgate::v1::RerankRequest rerank;
};
