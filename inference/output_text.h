// OutputText: turns the bytes of tokens into text that may be given out: whole code points, and never a byte of a stop string that is met.
// The text that comes out does not depend on how the bytes were cut into tokens. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::inference {

// Joins bytes to whole code points. Each maximal part that is not UTF-8 becomes one U+FFFD.
class Utf8Joiner {
 public:
  void Append(std::string_view bytes, std::string& out);
  void Finish(std::string& out);  // What is left of an unfinished code point becomes U+FFFD.
  bool pending() const { return !pending_.empty(); }

 private:
  void AppendSlow(std::string_view bytes, std::string& out);

  std::string pending_;  // At most 3 bytes: the start of a code point.
};

class OutputText {
 public:
  explicit OutputText(std::vector<std::string> stops);

  // One token's bytes; appends to `out` what may go out now. True when a stop string was met: nothing more will come.
  // The stop string that is complete first is met; of those complete at the same byte, the longest.
  bool Append(std::string_view token_bytes, std::string& out);

  // The sequence ended without a stop string: what was held goes out. (A last U+FFFD may still complete a stop string.)
  void Finish(std::string& out);

  int stop_index() const { return stop_index_; }
  std::int64_t tokens() const { return tokens_; }        // Appended.
  std::int64_t delivered() const { return delivered_; }  // Of those, how many lie wholly in what went out.
  std::int64_t token_end() const { return token_end_; }  // Of the last one, as OutputToken::text_end.

 private:
  struct Stop {
    std::string text;
    std::vector<std::uint32_t> fail;  // KMP: longest proper border of each prefix.
    std::uint32_t matched = 0;        // Bytes of `text` that the output ends with.
  };

  bool Scan(std::size_t from, std::string& out);
  void Deliver();

  std::vector<Stop> stops_;
  Utf8Joiner joiner_;
  std::string held_;                      // Whole code points that could still be the start of a stop string.
  std::uint64_t given_ = 0;               // Bytes that went out.
  std::deque<std::uint64_t> token_ends_;  // Of tokens not yet delivered: the byte up to which each needs the output.
  std::int64_t tokens_ = 0;
  std::int64_t delivered_ = 0;
  std::int64_t token_end_ = 0;
  int stop_index_ = -1;
};

}  // namespace tollgate::inference
