// A chat: the way of any request (request.h), with a relay between the pool's tokens and what the caller gets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/pipeline/output_plan.h"
#include "gateway/pipeline/relay.h"
#include "gateway/pipeline/relay_context.h"
#include "gateway/pipeline/request.h"
#include "inference/schema_part.h"
#include "inference/token_stream.h"

namespace tollgate::pipeline {

class ChatRequest final : public Request {
 public:
  using Request::Request;

 private:
  absl::Status CheckCall() override;
  absl::Status Fits(const inference::ModelInfo& model) const override;
  absl::Status ReadInputs() override;  // They are text already; a form is read.
  std::int64_t Bytes() const override;
  absl::StatusOr<std::vector<std::int32_t>> TokensOf(const std::string& model, std::span<const policy::Message> prompt) const override;
  absl::Status LayOut(std::span<const policy::Message> prompt) override;
  absl::Status CheckRoom() override;
  std::int64_t AnswerBytes() const override;
  void FillRequest(tollgate::v1::RequestBody& body, tollgate::v1::SealedContent& content) const override;
  async::Awaitable<Outcome<Reply>> Generate() override;
  std::vector<OutputPiece> TakeRest() override;
  void FillEnd(const Ending& ending, tollgate::v1::EndBody& end) const override;
  bool FillRaw(tollgate::v1::SealedContent& content) const override;
  void FillReply(const Ending& ending, tollgate::v1::ChatEnd& end) const override;
  std::chrono::steady_clock::duration EngineTime() const override;

  std::size_t Choices() const;
  void MakePlan();                                                       // plan_: how replies are told apart and judged,
  void AskAbout(const std::shared_ptr<const policy::Subject>& subject);  // and which others are asked about them.
  bool RulesAct() const;                                                 // On what is generated.
  bool MayRetry() const;
  async::Awaitable<absl::Status> HoldMore();  // Of a model that does not resume.
  std::int64_t Step() const;                  // Of each reply's extensions.
  bool GuardsAsked() const;
  std::int64_t ThoughtTokensMax() const;        // Where something may be thought: the caller's bound, else the cap; 0: none.
  inference::SequenceRequest Sequence() const;  // What the model is given, but for whose it is and how far it may go.
  Sequences MakeSequences() const;
  absl::Status Submit(Sequences& sequences);

  inference::SamplingParams sampling_;
  std::string limited_by_;                   // Whose limit left less for the output than was wanted, where one did.
  std::int64_t published_tokens_ = 0;        // Of the prompt's.
  tollgate::v1::OutputForm form_;            // As policy left it.
  inference::SchemaGrammar output_grammar_;  // Until LayOut: of the request as it came.
  OutputPlan plan_;
  std::optional<RelayContext> context_;
  std::unique_ptr<Relay> relay_;  // Once the pool has taken it.
};

}  // namespace tollgate::pipeline
