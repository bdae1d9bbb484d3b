// Encoded text in a text: base64 (standard and URL-safe, also broken into lines of 60 and more), hexadecimal, percent-encoding and
// forms, in which a blank is a +.
//
// What can be encoded is a word: letters, digits and + / _ - . ~ % = @. A longer word than kWordBytesMax is read in pieces of at most so
// many bytes, each with the last kOverlapBytes of the one before: what is encoded on both sides of a cut is whole in one of them. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

struct EncodedWord {
  std::int64_t begin = 0, end = 0;
};

// Cuts a text that grows into its words. The pieces do not matter. One thread.
class WordCutter {
 public:
  static constexpr std::int64_t kWordBytesMax = 8192;
  static constexpr std::int64_t kOverlapBytes = 512;
  static constexpr std::int64_t kWordBytesMin = 9;  // "a%40b.org".

  // Adds the words that end in `piece`, and at_end the last one.
  void Read(std::string_view piece, bool at_end, std::vector<EncodedWord>& out);

  // Where the word begins that may go on; the end of what was read if there is none.
  std::int64_t LiveStart() const { return begin_; }

 private:
  void End(std::int64_t next, std::vector<EncodedWord>& out);

  std::int64_t begin_ = 0, at_ = 0;
  std::int64_t cut_ = 0;   // What lies before it is in a piece that was given.
  std::int64_t line_ = 0;  // Base64 characters since the word or its last line began.
  bool cr_ = false;
};

// What a stretch of a word says when it is decoded: valid, printable text of at least six bytes. `begin` and `end` are in the word.
struct Decoded {
  std::size_t begin = 0, end = 0;  // The whole run that was encoded.
  std::string_view text;
};

// Calls `fn` for every text that some decoding of some run of the word gives. The text lives as long as the call.
void ForEachDecoded(std::string_view word, const std::function<void(const Decoded&)>& fn);

}  // namespace tollgate::policy
