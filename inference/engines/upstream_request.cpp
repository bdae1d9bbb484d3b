// How it works. Events become tokens at once. An upstream that names its tokens is counted by them; one that gives text alone by our own
// tokenizer, event by event, the end of the turn counting as one. Text belongs to its tokens as far as their bytes make it up from its end,
// and what stands before to the first of them (a code point that the upstream held back). More than was asked for is cut off. Of a control
// token text alone says nothing: where an answer used up what it was asked for by the upstream's own count, those that we saw nothing of
// are tokens too.
//
// Tested by tests/inference/upstream_faults_test.cpp, tests/inference/upstream_engine_test.cpp.
#include "inference/engines/upstream_request.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace tollgate::inference {

bool UpstreamRequest::OnBody(int http_status, std::string_view bytes) {
  // What it says is not for us to repeat; OnEnd looks at the status alone.
  if (http_status != 200) return (refusal_bytes_ += bytes.size()) <= kRefusalBytesMax;
  events_.clear();
  if (!stream_.Push(bytes, events_)) {
    bad_ = base::Unavailable(fmt::format("the upstream sent an event of more than {} bytes", event_bytes_max_));
    return false;
  }
  for (const std::string& data : events_) {
    if (done_) break;
    auto event = ReadUpstreamEvent(data);
    bad_ = event.ok() ? Take(*std::move(event)) : event.status();
    if (!bad_.ok() || too_many_) return false;
  }
  return true;
}

absl::Status UpstreamRequest::Take(UpstreamEvent event) {
  done_ = event.done;
  if (event.error) {
    error_ = event.error;
    return RefusalWithin(*error_).status;
  }
  if (event.input_tokens) reported_input_ = event.input_tokens;
  if (event.output_tokens) reported_output_ = event.output_tokens;
  absurd_ = absurd_ || event.absurd_usage;
  if (!event.text.empty() || !event.tokens.empty()) {
    if (!finish_.empty()) return base::Unavailable("the upstream went on after the end of its answer");
    TG_RETURN_IF_ERROR(Add(event));
  }
  if (!event.finish.empty()) finish_ = std::move(event.finish);
  return absl::OkStatus();
}

absl::Status UpstreamRequest::Add(const UpstreamEvent& event) {
  std::vector<std::int32_t> ids = event.tokens;
  if (ids.empty()) {
    TG_ASSIGN(ids, tokenizer_.TokenizeNext(event.text));
  } else {
    names_tokens_ = true;
  }
  for (const std::int32_t id : ids) {
    if (id >= tokenizer_.tokens())
      return base::Unavailable("the upstream named a token that the model's vocabulary lacks: it runs another model than its file says");
  }
  std::vector<std::string> texts = Share(event.text, ids);
  if (tokens_.empty()) untaken_bytes_ = 0;
  untaken_bytes_ += event.text.size();
  if (untaken_bytes_ > kUntakenBytesMax) return base::Unavailable("the upstream sent far more text than tokens");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (given_ == max_tokens_) {
      too_many_ = absurd_ = true;
      break;
    }
    ++given_;
    turn_ended_ = tokenizer_.EndsTurn(ids[i]);
    tokens_.push_back({ids[i], std::move(texts[i]), turn_ended_});
  }
  return absl::OkStatus();
}

// Each token's part of an event's text. Those by which a model calls tools have theirs also where the text leaves them out, as vLLM does
// with control tokens.
std::vector<std::string> UpstreamRequest::Share(std::string_view text, const std::vector<std::int32_t>& ids) const {
  std::vector<std::string> parts(ids.size());
  std::size_t known = ids.size();  // From here on.
  for (; known > 0; --known) {
    const std::int32_t id = ids[known - 1];
    const std::string_view own = tokenizer_.Bytes(id);
    const bool there = text.ends_with(own);
    if (!there && !tokenizer_.Shows(id)) break;
    if (there) text.remove_suffix(own.size());
    parts[known - 1] = own;
  }
  if (known == 0 && !parts.empty()) parts.front().insert(0, text);
  bool given = false;
  for (std::size_t i = 0; i < known; ++i) {
    const std::string_view own = tokenizer_.Bytes(ids[i]);
    if (tokenizer_.Shows(ids[i]) && text.find(own) == std::string_view::npos) {
      parts[i] = own;
    } else if (!std::exchange(given, true)) {
      parts[i] = text;
    }
  }
  return parts;
}

void UpstreamRequest::OnRetryAfter(std::chrono::seconds wait) { wait_ = std::min(wait, kRestMax); }

void UpstreamRequest::OnEnd(int http_status, const absl::Status& status) {
  over_ = true;
  if (too_many_) {
    finish_ = "length";
    return;
  }
  if (bad_.ok()) AddUnseen();
  if (error_) {
    Refused(RefusalWithin(*error_));
    return Conclude();
  }
  if (!bad_.ok()) {
    status_ = bad_;
  } else if (http_status > 200) {
    return Refused(RefusalOf(http_status, wait_));
  } else if (!status.ok()) {
    status_ = base::Unavailable(fmt::format("the upstream's answer did not come: {}", base::Message(status)));
  } else if (finish_.empty()) {
    status_ = base::Unavailable("the upstream ended its answer in the middle");
  }
  endpoint_failed_ = may_retry_ = !status_.ok();
  Conclude();
}

void UpstreamRequest::Refused(UpstreamRefusal refusal) {
  status_ = std::move(refusal.status);
  may_retry_ = refusal.may_retry;
  endpoint_failed_ = refusal.endpoint_failed;
  disliked_ = refusal.dislikes;
}

void UpstreamRequest::Conclude() {
  if (all_given() || told_end()) {  // Nothing is missing but its goodbye.
    status_ = absl::OkStatus();
    if (finish_.empty()) finish_ = "length";
  }
  if (status_.ok() && stopped()) EndTurn();
}

void UpstreamRequest::EndTurn() {
  if (names_tokens_ || turn_ended_ || all_given()) return;
  ++given_;
  turn_ended_ = true;
  tokens_.push_back({end_token_, "", true});
}

void UpstreamRequest::AddUnseen() {
  if (names_tokens_ || finish_ != "length" || reported_output_.value_or(0) < max_tokens_) return;
  for (; given_ < max_tokens_; ++given_, ++unseen_) tokens_.push_back({kUnknownToken, "", false});
}

void UpstreamRequest::GiveUp(const absl::Status& status, bool others_got_on, bool may_retry) {
  over_ = silent_ = true;
  endpoint_failed_ = !others_got_on;
  may_retry_ = may_retry;
  status_ = status;
  if (bad_.ok()) AddUnseen();
  Conclude();
}

}  // namespace tollgate::inference
