// Effort: what the judgement of one prompt, or of one reply, may come to, whoever wrote the rules and the text: how many hits are kept, and
// whether somebody still waits, which is asked as the work goes on. Inside policy/ only.
//
// Once it is over it stays so, searches end without a word, and what they found is worth nothing: whoever began the work asks for `status`,
// and has judged nothing. One thread. Cost: a subtraction; a question for some milliseconds of the slowest work, or less.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/status.h"

namespace tollgate::policy {

class Effort {
 public:
  static constexpr std::size_t kHitsMax = 1'000'000;  // Of one prompt or reply.

  // `keep_going`, where there is one, is asked now and then: what it refuses with ends the work.
  explicit Effort(std::function<absl::Status()> keep_going = nullptr) : keep_going_(std::move(keep_going)) {}
  Effort(const Effort&) = delete;
  Effort& operator=(const Effort&) = delete;

  // Before so much work; false: it is over.
  bool Spend(std::int64_t units) { return (left_ -= units) >= 0 || Ask(); }
  // A search of so many bytes by so many instructions, if each byte meets all of them.
  static std::int64_t UnitsOf(std::size_t bytes, std::int64_t instructions) {
    return 1 + (static_cast<std::int64_t>(bytes) * instructions >> kStepsLog2);
  }
  // So many hits are kept by now; false: it is over.
  bool Hold(std::size_t hits) { return (hits <= kHitsMax || RefuseHits()) && !over(); }

  bool over() const { return !status_.ok(); }
  // FAILED_PRECONDITION: too many hits, with the remedy. Else what keep_going refused with.
  const absl::Status& status() const { return status_; }

 private:
  static constexpr int kStepsLog2 = 12;                   // Of a unit: 4096 steps of the slowest search, some microseconds.
  static constexpr std::int64_t kUnitsUnasked = 1 << 10;  // About ten milliseconds of it.
  bool Ask();
  bool RefuseHits();

  const std::function<absl::Status()> keep_going_;
  std::int64_t left_ = kUnitsUnasked;
  absl::Status status_;
};

// The same of an effort that may be null, which has no bounds.
inline bool Spend(Effort* effort, std::int64_t units) { return effort == nullptr || effort->Spend(units); }
inline bool Hold(Effort* effort, std::size_t hits) { return effort == nullptr || effort->Hold(hits); }
inline bool IsOver(const Effort* effort) { return effort != nullptr && effort->over(); }

}  // namespace tollgate::policy
