// The first fault is always told; its code is that of all.
//
// Tested by tests/policy/faults_test.cpp.
#include "policy/faults.h"

#include <fmt/format.h>

namespace tollgate::policy {

void Faults::Add(const absl::Status& fault) {
  if (fault.ok()) return;
  std::string text = base::Message(fault);
  if (text.size() > kFaultBytesMax) {
    std::size_t end = kFaultBytesMax;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end) + "…";
  }
  if (++count_ == 1) code_ = fault.code();
  if (count_ - 1 > told_.size()) return;  // One was not told: those behind it are not either.
  if (!told_.empty() && (told_.size() == kToldMax || bytes_ + text.size() > kBytesMax)) return;
  bytes_ += text.size() + 1;
  told_.push_back(std::move(text));
}

absl::Status Faults::ToStatus() const {
  if (none()) return absl::OkStatus();
  std::string all = fmt::format("{}", fmt::join(told_, "\n"));
  if (count_ > told_.size()) all += fmt::format("\n... and {} more", count_ - told_.size());
  return absl::Status(code_, all);
}

}  // namespace tollgate::policy
