// UpstreamRequest: one request to an upstream and its answer as it comes: tokens to take, how it ended, and whether what the upstream says
// of itself holds. One thread. Internal to the upstream engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/http_client.h"
#include "inference/engines/event_stream.h"
#include "inference/engines/upstream_answer.h"
#include "inference/engines/upstream_wire.h"
#include "inference/token_stream.h"
#include "inference/tokenizer.h"

namespace tollgate::inference {

struct UpstreamToken {
  std::int32_t id = 0;
  std::string bytes;
  bool ends = false;  // The model's turn.
};

class UpstreamRequest final : public base::HttpSink {
 public:
  // Text that is not taken may be so long; an upstream that sends more is not what it says it is.
  static constexpr std::size_t kUntakenBytesMax = 4 << 20;

  // `end_token`: what counts for the end of a turn that the upstream tells without a token.
  UpstreamRequest(const Tokenizer& tokenizer, std::int64_t prompt_tokens, std::int64_t max_tokens, std::int32_t end_token,
                  std::size_t event_bytes_max)
      : tokenizer_(tokenizer),
        prompt_tokens_(prompt_tokens),
        max_tokens_(max_tokens),
        end_token_(end_token),
        event_bytes_max_(event_bytes_max),
        stream_(event_bytes_max) {}

  bool OnBody(int http_status, std::string_view bytes) override;
  void OnRetryAfter(std::chrono::seconds wait) override;
  void OnEnd(int http_status, const absl::Status& status) override;

  std::deque<UpstreamToken>& tokens() { return tokens_; }  // Not taken yet.
  std::int64_t prompt_tokens() const { return prompt_tokens_; }
  std::int64_t given() const { return given_; }  // Tokens that came, at most max_tokens.
  std::int64_t seen() const { return given_ - unseen_; }
  bool all_given() const { return given_ == max_tokens_; }
  bool told_end() const { return bad_.ok() && given_ > 0 && !finish_.empty(); }  // Usage may come still, and the goodbye.

  // The answer is whole, or there will be no more of it.
  bool over() const { return over_; }
  bool stopped() const { return finish_ == "stop"; }  // REQUIRES: over. The model's turn ended, rather than the tokens it was allowed.

  // REQUIRES: over. Not OK: the answer broke off or was refused; nothing of its content is in the message.
  const absl::Status& status() const { return status_; }
  bool may_retry() const { return may_retry_; }  // Another endpoint may do better.
  bool endpoint_failed() const { return endpoint_failed_; }
  bool silent() const { return silent_; }              // The engine gave it up.
  bool disliked() const { return disliked_; }          // The upstream takes no such request.
  std::chrono::seconds wait() const { return wait_; }  // The endpoint asks to be left alone for so long.

  const std::optional<std::int64_t>& reported_input() const { return reported_input_; }
  const std::optional<std::int64_t>& reported_output() const { return reported_output_; }
  bool usage_absurd() const { return absurd_; }              // What was reported is no count, or more came than was asked for.
  bool whole() const { return status_.ok() && !too_many_; }  // REQUIRES: over. It came to its end by itself.

  // The engine gives it up, for nothing more of it has come. `others_got_on`: its endpoint has gone on with others meanwhile.
  void GiveUp(const absl::Status& status, bool others_got_on, bool may_retry);

 private:
  absl::Status Take(UpstreamEvent event);
  absl::Status Add(const UpstreamEvent& event);
  std::vector<std::string> Share(std::string_view text, const std::vector<std::int32_t>& ids) const;
  void Refused(UpstreamRefusal refusal);
  void Conclude();
  void EndTurn();
  void AddUnseen();

  const Tokenizer& tokenizer_;
  const std::int64_t prompt_tokens_;
  const std::int64_t max_tokens_;
  const std::int32_t end_token_;
  const std::size_t event_bytes_max_;
  EventStream stream_;
  std::vector<std::string> events_;  // Scratch.
  std::deque<UpstreamToken> tokens_;
  std::size_t untaken_bytes_ = 0;  // That came since the engine last took all.
  std::int64_t given_ = 0;
  std::int64_t unseen_ = 0;
  bool names_tokens_ = false;  // The upstream gives ids.
  bool turn_ended_ = false;    // By a token.
  bool too_many_ = false;      // It gave more than it was asked for.
  bool absurd_ = false;        // That, or it reported what is no count.
  bool done_ = false;
  bool over_ = false;
  bool may_retry_ = false;
  bool endpoint_failed_ = false;
  bool silent_ = false;
  bool disliked_ = false;
  std::optional<int> error_;  // It reported within its answer.
  std::size_t refusal_bytes_ = 0;
  std::chrono::seconds wait_{0};
  std::string finish_;
  absl::Status bad_;  // Why we stopped reading.
  absl::Status status_;
  std::optional<std::int64_t> reported_input_;
  std::optional<std::int64_t> reported_output_;
};

}  // namespace tollgate::inference
