// A token that is part of a code point counts as the whole of it: its text_end is one byte inside, and the filter decides whole ones.
//
// The pool gives out text as soon as no stop string can need it, so a token's first bytes may come before the token. Pushed at once, they
// would stand before the alternatives to that very token, which would then be judged behind its beginning. So text waits for its token.
//
// An alternative is judged by a new filter that is given the end of the raw output and then the alternative: it leaves only if the filter
// then holds nothing back and changed nothing of it. So the beginning of what could become a match stays inside as well: beside the words
// that follow, or the alternatives of the next token, it could spell out what a rule keeps. What is part of a code point cannot be judged
// and stays inside too. The end of the output that is kept for this is what the reply's filter holds, and the context that rules look at.
// While the reply's filter swallows what follows a capped match, that end does not say so: no alternative leaves there.
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

constexpr std::size_t kContextBytes = 128;
constexpr double kLogprobLeast = -9999;

// To the millionth: what leaves is what is on record, to the digit.
double Rounded(float logprob) {
  const double bounded = std::isnan(logprob) ? kLogprobLeast : std::clamp<double>(logprob, kLogprobLeast, 0);
  return static_cast<double>(std::llround(bounded * 1e6)) / 1e6;
}

// Cut to at most `bytes`, at a code point.
void KeepLast(std::size_t bytes, std::string& text) {
  if (text.size() <= bytes) return;
  std::size_t from = text.size() - bytes;
  while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  text.erase(0, from);
}

}  // namespace

LogprobFilter::LogprobFilter(OpenFilter open) : open_(std::move(open)) {}

std::size_t LogprobFilter::AlternativesToJudge(const inference::Piece& piece) const {
  std::size_t count = 0;
  for (const inference::OutputToken& token : piece.tokens) count += open_ == nullptr ? 0 : token.top.size();
  return count;
}

absl::Status LogprobFilter::PushBytes(std::size_t bytes, policy::StreamFilter& filter, std::string& clear) {
  const std::string_view text = std::string_view(waiting_).substr(0, bytes);
  TG_ASSIGN(const std::string more, filter.Push(text));
  clear += more;
  before_ += text;
  KeepLast(filter.held_bytes() + kContextBytes, before_);
  pushed_ += static_cast<std::int64_t>(bytes);
  waiting_.erase(0, bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::string> LogprobFilter::Push(const inference::Piece& piece, policy::StreamFilter& filter) {
  if (open_ == nullptr) return filter.Push(piece.text);
  std::string clear;
  waiting_ += piece.text;
  for (const inference::OutputToken& token : piece.tokens) {
    Add(token, filter.swallowing());
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

void LogprobFilter::Add(const inference::OutputToken& token, bool swallowing) {
  const std::int64_t begin = std::min(last_end_, token.text_end - 1);
  last_end_ = token.text_end;
  if (token.bytes.empty()) return;  // The end of the turn.
  Held& held = held_.emplace_back(Held{begin, token.text_end, {}});
  held.token.set_token(token.bytes);
  held.token.set_logprob(Rounded(token.logprob));
  held.token.set_token_id(token.id);
  for (const inference::OutputToken::Alternative& other : token.top) {
    // The token itself is judged with the text.
    if (other.bytes.empty() || (other.id != token.id && (swallowing || !MayLeave(other.bytes)))) continue;
    v1::TokenLogprob* top = held.token.add_top();
    top->set_token(other.bytes);
    top->set_logprob(Rounded(other.logprob));
    top->set_token_id(other.id);
  }
}

bool LogprobFilter::MayLeave(std::string_view alternative) const {
  if (!base::IsValidUtf8(alternative)) return false;
  const std::unique_ptr<policy::StreamFilter> filter = open_();
  const auto pushed = filter->Push(before_ + std::string(alternative));
  if (!pushed.ok() || filter->blocked() || filter->held_bytes() > 0) return false;
  const auto from = static_cast<std::int64_t>(before_.size());
  return std::none_of(filter->raw().begin(), filter->raw().end(),
                      [from](const policy::RawSpan& span) { return span.offset + static_cast<std::int64_t>(span.bytes.size()) > from; });
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
