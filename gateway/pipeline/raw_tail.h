// The raw output that was not delivered as it was, and how many tokens lie wholly in what was.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

namespace tollgate::pipeline {

class RawTail {
 public:
  // More raw output came; `tokens` lie wholly in all of it so far.
  void Append(std::string_view raw, std::int64_t tokens) {
    text_ += raw;
    marks_.emplace_back(offset_ + static_cast<std::int64_t>(text_.size()), tokens);
  }
  // The first `decided` bytes of the whole raw output were released, as text or as what replaced it. Never goes back.
  void ReleaseUpTo(std::int64_t decided) {
    const std::int64_t gone = std::clamp<std::int64_t>(decided - offset_, 0, static_cast<std::int64_t>(text_.size()));
    text_.erase(0, static_cast<std::size_t>(gone));
    offset_ += gone;
    while (!marks_.empty() && marks_.front().first <= offset_) {
      tokens_ = marks_.front().second;
      marks_.pop_front();
    }
  }
  const std::string& text() const { return text_; }
  std::int64_t offset() const { return offset_; }  // Of text() in the whole raw output.
  std::int64_t delivered_tokens() const { return tokens_; }

 private:
  std::string text_;
  std::int64_t offset_ = 0;
  std::int64_t tokens_ = 0;
  std::deque<std::pair<std::int64_t, std::int64_t>> marks_;
};

}  // namespace tollgate::pipeline
