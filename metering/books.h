// Books: what a request costs, and the usage and ledger rows that are written with its terminal record (promise P4). Pure: no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/companion.h"
#include "base/money.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::v1 {
class EndBody;
class PinnedPrice;
class Record;
class TokenCounts;
}  // namespace tollgate::v1

namespace tollgate::metering {

// One line of the price book: immutable once written, identified by its version.
struct Price {
  static constexpr std::int64_t kNanosMin = 1'000;                  // A nano a token: no token is free.
  static constexpr std::int64_t kNanosMax = 1'000'000'000'000'000;  // 10^15: a million units for 1,000 tokens.
  std::int64_t version = 0;                                         // From 1, unique, ascending as written.
  std::string model;
  base::WallTime effective_from;
  std::int64_t input_nanos_per_1000 = 0;  // Nano-units of `currency` for 1,000 tokens.
  std::int64_t cached_input_nanos_per_1000 = 0;
  std::int64_t output_nanos_per_1000 = 0;
  std::string currency;  // ISO 4217, three capitals.
};

// INVALID_ARGUMENT, naming the field, for a price that no book may hold. For whoever edits prices.
absl::Status Validate(const Price& price);

// All prices. Immutable; any thread. An unpriced model is an error, never free.
class PriceBook {
 public:
  // INVALID_ARGUMENT: a price that Validate refuses, or two with one version.
  static absl::StatusOr<std::shared_ptr<const PriceBook>> Make(std::vector<Price> prices);

  // The price in force for the model at `at`: the latest effective one, of two with one date the higher version. Pin it at admission.
  // FAILED_PRECONDITION (MODEL_UNPRICED): none is in force.
  absl::StatusOr<v1::PinnedPrice> PriceAt(std::string_view model, base::WallTime at) const;

 private:
  std::map<std::string, std::vector<Price>, std::less<>> by_model_;  // Ascending by (effective_from, version).
};

// What the tokens cost: uncached input, cached input and output, each rounded half up to a nano, added. INTERNAL: counts that cannot be
// (negative, more cached than input, more delivered than decoded); OUT_OF_RANGE: more than an int64 of nanos.
absl::StatusOr<base::Money> AmountOf(const v1::PinnedPrice& price, const v1::TokenCounts& tokens);

// The rows that settle one attempt: a usage row and, when there were tokens, a transfer from the team's account to the platform's. To be
// appended with the attempt's FINAL or ABORT. `request` is its REQUEST record: ids, attempt, model, pinned price, leases and their epoch
// are read from it. `at` is the terminal record's wall time. Errors as AmountOf; INTERNAL if `request` is no REQUEST record or has no
// price.
absl::StatusOr<std::vector<base::Companion>> Settlement(const v1::Record& request, base::WallTime at, const v1::TokenCounts& tokens);

// The same of a whole terminal record: those rows, and for each line of its guard_usage a usage row and a transfer of their own, priced as
// the line says.
absl::StatusOr<std::vector<base::Companion>> Settlement(const v1::Record& request, base::WallTime at, const v1::EndBody& end);

// Sets the amounts of `end` and of its guard_usage from its tokens. Errors as AmountOf.
absl::Status FillAmounts(const v1::PinnedPrice& price, v1::EndBody& end);

// All tokens of a terminal record, guard models' included: what counts against quotas.
v1::TokenCounts AllTokens(const v1::EndBody& end);

// The tables those rows go to, for the journal's statements.
const base::CompanionTable& UsageTable();     // metering.usage
const base::CompanionTable& TransferTable();  // metering.transfer

}  // namespace tollgate::metering
