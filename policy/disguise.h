// Finding in a text what is written so that it is not found: its plain form (plain_form.h) is judged beside it, and hits there become hits of
// the bytes that they came from. Sources that read text only as it is written (Program::Source::as_written) have no part in it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "policy/plain_form.h"
#include "policy/program.h"
#include "policy/text_scan.h"

namespace tollgate::policy {

// All hits of a complete text, as written and in its plain form, ordered by Program::HitBefore.
std::vector<Hit> FindEverywhere(const Program& program, std::string_view text, const Program::Selection& selection);

// The plain form of a text that grows, from the first character that differs. One thread.
class PlainScan {
 public:
  // `before`: what has read the text up to there; `last`: its last byte, ' ' if there is none.
  PlainScan(const TextScan& before, char last) : scan_(before), plain_(before.end(), last) {}

  // As TextScan::Read; pieces, hits and live start are of the text as written.
  std::int64_t Read(const Program& program, std::string_view piece, bool at_end, std::vector<Hit>& found);

 private:
  TextScan scan_;
  PlainText plain_;
};

}  // namespace tollgate::policy
