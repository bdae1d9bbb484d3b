// Faults: what is wrong with policies, told together, so that an author mends a file once. Inside policy/ only.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tollgate::policy {

class Faults {
 public:
  static constexpr std::size_t kToldMax = 20;          // The others are counted,
  static constexpr std::size_t kBytesMax = 2'500;      // also those beyond so many bytes: an error travels in a call's trailer, twice.
  static constexpr std::size_t kFaultBytesMax = 1000;  // Of one; it is cut behind them.

  void Add(const absl::Status& fault);  // What is OK is none.
  bool none() const { return count_ == 0; }
  // OK, or INVALID_ARGUMENT: a line a fault, in the order in which they came, and "... and 3 more".
  absl::Status ToStatus() const;

 private:
  std::vector<std::string> told_;
  std::size_t bytes_ = 0, count_ = 0;
  absl::StatusCode code_ = absl::StatusCode::kInvalidArgument;
};

}  // namespace tollgate::policy
