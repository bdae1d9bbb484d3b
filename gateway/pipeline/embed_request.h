// A request for vectors or relevance: the way of any request (request.h), with inputs for messages and numbers for text. Policy judges each
// input as a user's message; for relevance the query is the first of them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/pipeline/embed_call.h"
#include "gateway/pipeline/request.h"

namespace tollgate::pipeline {

// What is asked, of either kind.
struct EmbedAsk {
  bool rerank = false;
  tollgate::v1::ChatRequest call;                                // Model, end user and what else a chat has too; without messages.
  int inputs = 0;                                                // How many were sent, or documents; of too many, not all are in
  std::vector<std::string> texts;                                // the inputs, or the query and the documents;
  std::vector<std::optional<std::vector<std::int32_t>>> tokens;  // those that came as token ids, in place of their text. Of inputs alone.
  std::int32_t dimensions = 0;                                   // 0: all.
  std::int32_t top_n = 0;                                        // 0: all.
  bool return_documents = false;
};
EmbedAsk AskOf(const tollgate::v1::EmbedRequest& request);
EmbedAsk AskOf(const tollgate::v1::RerankRequest& request);

// The first so many numbers of each vector, brought back to length 1. REQUIRES: 1 to `each`, which is the length of all.
std::vector<float> FirstDimensions(std::span<const float> vectors, std::int64_t each, std::int64_t dimensions);

// The `top_n` (0: all) best, the best first; of equal ones the earlier.
std::vector<tollgate::v1::RankedDocument> Ranked(std::span<const float> relevance, std::int64_t top_n);

// What VectorOutput.sha256 is of.
base::Digest DigestOf(std::span<const float> vectors);
base::Digest DigestOf(std::span<const tollgate::v1::RankedDocument> results);

class EmbedRequest final : public Request {
 public:
  EmbedRequest(Shared& shared, const Caller& caller, identity::Principal principal, const EmbedAsk& ask, Cancellation& cancellation,
               async::Event& event);

  // After Run has given a Reply, which has neither text nor more: once.
  EmbedAnswer TakeVectors(const Reply& reply);
  RerankAnswer TakeResults(const Reply& reply);

 private:
  absl::Status CheckCall() override;
  absl::Status Fits(const inference::ModelInfo& model) const override;
  absl::Status ReadInputs() override;
  std::int64_t Bytes() const override;
  absl::StatusOr<std::vector<std::int32_t>> TokensOf(const std::string& model, std::span<const policy::Message> prompt) const override;
  absl::Status LayOut(std::span<const policy::Message> prompt) override;
  absl::Status CheckRoom() override;
  std::int64_t AnswerBytes() const override;
  void FillRequest(tollgate::v1::RequestBody& body, tollgate::v1::SealedContent& content) const override;
  async::Awaitable<Outcome<Reply>> Generate() override;
  std::vector<OutputPiece> TakeRest() override { return {}; }  // Numbers go by TakeVectors and TakeResults.
  void FillEnd(const Ending& ending, tollgate::v1::EndBody& end) const override;
  bool FillRaw(tollgate::v1::SealedContent& /*content*/) const override { return false; }
  void FillReply(const Ending& /*ending*/, tollgate::v1::ChatEnd& /*end*/) const override {}
  std::chrono::steady_clock::duration EngineTime() const override;

  std::int64_t TextBytes() const;
  absl::Status CheckBytes() const;
  // INVALID_ARGUMENT: one has more than `most` tokens, or all together more than a job may have.
  absl::StatusOr<std::vector<std::vector<std::int32_t>>> InputsOf(const std::string& model, std::span<const policy::Message> prompt,
                                                                  std::int64_t most) const;
  absl::Status TooLong(std::size_t text, std::size_t tokens, std::int64_t most) const;
  async::Awaitable<Ending> Await(inference::TokenStream& stream);
  async::Awaitable<Ending> GiveRanks(Ending ending);
  absl::Status MayGiveDocuments() const;
  absl::Status GiveDocuments();                // Into results_, as policy lets them leave.
  std::string NameOf(std::size_t text) const;  // "input[3]", "query", "documents[2]".

  const EmbedAsk& ask_;
  std::vector<std::vector<std::int32_t>> inputs_;  // As the model gets them.
  std::optional<inference::StreamEnd> job_end_;
  std::int64_t begun_ = 0;  // Where its end did not come: tokens that were worked on.
  std::int64_t dimensions_ = 0;
  std::vector<float> numbers_;                         // What leaves: vectors,
  std::vector<tollgate::v1::RankedDocument> results_;  // or these.
  base::Digest digest_{};
  tollgate::v1::Verdict given_;  // On the documents that are returned; a span's message is the document's index.
};

}  // namespace tollgate::pipeline
