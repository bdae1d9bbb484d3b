// Finding in a text what is written so that it is not found: its plain form (plain_form.h) and what is encoded in it (encoded_runs.h) are
// judged beside it. Hits in the plain form become hits of the bytes that they came from, hits in decoded text hits of the whole run that
// was encoded. A hit that begins in the middle of an escape begins with it, so that what is put in its place breaks no JSON. Sources that
// read text only as it is written (Program::Source::as_written, ::decoded) have no part in it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "policy/plain_form.h"
#include "policy/program.h"
#include "policy/text_scan.h"

namespace tollgate::policy {

// What is encoded in what is encoded is looked at too; what is encoded in that is not.
inline constexpr int kDecodeDepth = 2;

// All hits of a complete text, as written, in its plain form and decoded, ordered by Program::HitBefore. Where `effort` is over, some.
std::vector<Hit> FindEverywhere(const Program& program, std::string_view text, const Program::Selection& selection,
                                Effort* effort = nullptr, int depth = kDecodeDepth);

// The hits in what is encoded in the word that begins at `at`. What an exception covers there is no hit; the exception itself is none here.
void FindDecoded(const Program& program, std::string_view word, std::int64_t at, const Program::Selection& selection, int depth,
                 std::vector<Hit>& found, Effort* effort = nullptr);

// The plain form of a text that grows, from the first character that differs. One thread.
class PlainScan {
 public:
  // `before`: what has read the text up to there.
  PlainScan(const TextScan& before, Behind behind) : scan_(before), plain_(before.end(), behind) {}

  // As TextScan::Read; pieces, hits and live start are of the text as written. `written`: the live start of its scan as written, which
  // has read the piece and whose hits are `found` from `first` on; the answer is of both.
  std::int64_t Read(const Program& program, std::string_view piece, bool at_end, std::int64_t written, std::size_t first,
                    std::vector<Hit>& found);
  bool swallowing() const { return scan_.swallowing(); }

 private:
  TextScan scan_;
  PlainText plain_;
};

}  // namespace tollgate::policy
