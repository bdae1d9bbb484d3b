// What it takes to have a part of a reply written anew: what was written so far, token by token, and what of it was let go. Plain values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "inference/token_stream.h"

namespace tollgate::pipeline {

// Rules that want what they find written anew, and how often at most.
using RetryRules = std::map<std::string, int, std::less<>>;

// What a reply has let go.
struct Given {
  std::int64_t text = 0, thought = 0;  // Bytes.
  std::size_t calls = 0, logprobs = 0;
};

// What a rule found, that wants it written anew.
struct FoundSpan {
  std::string rule_id;
  std::int64_t raw_begin = 0;  // In the raw output.
};

// The raw output as far as it was taken and stands.
struct Written {
  std::string text;
  std::vector<inference::OutputToken> tokens;

  void Append(const inference::Piece& piece) {
    text += piece.text;
    tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  }
  // The first `count` tokens, if whole code points end there.
  bool EndsAt(std::size_t count) const {
    const std::size_t end = TextEnd(count);
    return end <= text.size() && (end == text.size() || (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80);
  }
  std::size_t TextEnd(std::size_t count) const { return count == 0 ? 0 : static_cast<std::size_t>(tokens[count - 1].text_end); }
  inference::Piece First(std::size_t count) const {
    inference::Piece piece;
    piece.text = text.substr(0, TextEnd(count));
    piece.tokens.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    piece.tokens_delivered = static_cast<std::int64_t>(count);
    return piece;
  }
  void Cut(std::size_t count) {
    text.resize(TextEnd(count));
    tokens.resize(count);
  }
};

// What was done for one rule to one reply.
struct RetryState {
  int times = 0;
  int in_vain = 0;  // It was made anew, and could not go on so.
  std::int64_t discarded_tokens = 0;
  bool gave_up = false;
};

}  // namespace tollgate::pipeline
