// A token that is part of a code point counts as the whole of it: its text_end is one byte inside, and the filter decides whole ones.
//
// The pool gives out text as soon as no stop string can need it, so a token's first bytes may come before the token. Pushed at once, they
// would stand before the alternatives to that very token, which would then be judged behind its beginning. So text waits for its token.
//
// An alternative is asked of the reply's own filter, which knows all that stands before it: it leaves only if it would have come out at
// once and as it is. So the beginning of what could become a match stays inside as well: beside the words that follow, or the alternatives
// of the next token, it could spell out what a rule keeps. What is part of a code point cannot be judged and stays inside too.
//
// Tested by tests/gateway/pipeline/logprob_filter_test.cpp.
#include "gateway/pipeline/logprob_filter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/encoding.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

constexpr std::size_t kListedMax = 32;  // As many bits as there are; nobody is given more.
constexpr double kLogprobLeast = -9999;

// To the millionth: what leaves is what is on record, to the digit.
double Rounded(float logprob) {
  const double bounded = std::isnan(logprob) ? kLogprobLeast : std::clamp<double>(logprob, kLogprobLeast, 0);
  return static_cast<double>(std::llround(bounded * 1e6)) / 1e6;
}

}  // namespace

std::size_t LogprobFilter::AlternativesToJudge(const inference::Piece& piece) const {
  std::size_t count = 0;
  for (const inference::OutputToken& token : piece.tokens) count += wanted_ ? token.top.size() : 0;
  return count;
}

absl::Status LogprobFilter::PushBytes(std::size_t bytes, policy::StreamFilter& filter, std::string& clear) {
  const std::string_view text = std::string_view(waiting_).substr(0, bytes);
  TG_ASSIGN(const std::string more, filter.Push(text));
  clear += more;
  pushed_ += static_cast<std::int64_t>(bytes);
  waiting_.erase(0, bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::string> LogprobFilter::Push(const inference::Piece& piece, policy::StreamFilter& filter) {
  if (!wanted_) return filter.Push(piece.text);
  std::string clear;
  waiting_ += piece.text;
  for (const inference::OutputToken& token : piece.tokens) {
    Add(token, filter);
    // Whole code points only: the rest of one comes with the token that completes it.
    const auto most = static_cast<std::int64_t>(waiting_.size());
    auto bytes = static_cast<std::size_t>(std::clamp<std::int64_t>(token.text_end - pushed_, 0, most));
    while (bytes > 0 && bytes < waiting_.size() && (static_cast<unsigned char>(waiting_[bytes]) & 0xC0) == 0x80) --bytes;
    if (bytes > 0) TG_RETURN_IF_ERROR(PushBytes(bytes, filter, clear));
  }
  Settle(filter);
  return clear;
}

absl::StatusOr<std::string> LogprobFilter::Flush(policy::StreamFilter& filter) {
  std::string clear;
  if (!waiting_.empty() && !filter.blocked()) TG_RETURN_IF_ERROR(PushBytes(waiting_.size(), filter, clear));
  return clear;
}

absl::StatusOr<std::string> LogprobFilter::Finish(policy::StreamFilter& filter) {
  TG_ASSIGN(const std::string clear, Flush(filter));
  TG_ASSIGN(const std::string rest, filter.Finish());
  return clear + rest;
}

void LogprobFilter::Add(const inference::OutputToken& token, const policy::StreamFilter& filter) {
  const std::int64_t begin = std::min(last_end_, token.text_end - 1);
  last_end_ = token.text_end;
  if (token.bytes.empty()) return;  // The end of the turn.
  const std::uint32_t listed = ListedOf(token, filter);
  if (remembers_) listed_.push_back({token.text_end, token.id, listed});
  ++added_;
  Held& held = held_.emplace_back(Held{begin, token.text_end, {}});
  held.token.set_token(token.bytes);
  held.token.set_logprob(Rounded(token.logprob));
  held.token.set_token_id(token.id);
  for (std::size_t i = 0; i < std::min(token.top.size(), kListedMax); ++i) {
    if ((listed >> i & 1U) == 0) continue;
    v1::TokenLogprob* top = held.token.add_top();
    top->set_token(token.top[i].bytes);
    top->set_logprob(Rounded(token.top[i].logprob));
    top->set_token_id(token.top[i].id);
  }
}

std::uint32_t LogprobFilter::ListedOf(const inference::OutputToken& token, const policy::StreamFilter& filter) const {
  if (added_ < known_.size() && known_[added_].text_end == token.text_end && known_[added_].id == token.id) return known_[added_].bits;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < std::min(token.top.size(), kListedMax); ++i) {
    const inference::OutputToken::Alternative& other = token.top[i];
    // The token itself is judged with the text.
    const bool its = other.id == token.id || (base::IsValidUtf8(other.bytes) && filter.LetsOut(other.bytes));
    if (!other.bytes.empty() && its) bits |= 1U << i;
  }
  return bits;
}

Logprobs LogprobFilter::Take(const policy::StreamFilter& filter, std::int64_t shown) {
  Settle(filter);
  Logprobs out;
  for (; !settled_.empty() && settled_.front().end <= shown; settled_.pop_front()) out.push_back(std::move(settled_.front().token));
  return out;
}

// At each piece, so that a reply of which everything is redacted keeps nothing.
void LogprobFilter::Settle(const policy::StreamFilter& filter) {
  while (!held_.empty() && held_.front().end <= filter.decided_bytes()) {
    if (!Changed(held_.front(), filter)) settled_.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

bool LogprobFilter::Changed(const Held& held, const policy::StreamFilter& filter) {
  const std::vector<policy::RawSpan>& spans = filter.raw();
  const auto end = [&](std::size_t i) { return spans[i].offset + static_cast<std::int64_t>(spans[i].bytes.size()); };
  while (span_ < spans.size() && end(span_) <= held.begin) ++span_;
  return span_ < spans.size() && spans[span_].offset < held.end;
}

}  // namespace tollgate::pipeline
