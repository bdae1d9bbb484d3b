// The bodies of POST /v1/embeddings, as OpenAI's, and of POST /v1/rerank, as Jina's and Cohere's. Pure; thread-safe. Fields are honoured or
// refused by name, as chat_request.h says.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "gateway/pipeline/embed_call.h"
#include "tollgate/v1/embeddings.pb.h"

namespace tollgate::http_front {

struct EmbeddingsBody {
  tollgate::v1::EmbedRequest embed;
  bool base64 = false;  // encoding_format: the vectors as the bytes of little-endian 32-bit floats, which is what OpenAI's SDKs ask for.
};
absl::StatusOr<EmbeddingsBody> ParseEmbeddings(std::string_view body);
std::string EmbeddingsReply(const pipeline::EmbedAnswer& answer, bool base64);

absl::StatusOr<tollgate::v1::RerankRequest> ParseRerank(std::string_view body);
// `id`: the request's.
std::string RerankReply(const pipeline::RerankAnswer& answer, const std::string& id);

}  // namespace tollgate::http_front
