// What one terminal record is compared with, column by column: private to reconciliation. Pure but for the statement's text; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/postgres.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {

// The columns that kRecords gives. Usage's are NULL where the record has no usage row, the transfer's where it has no charge. *Others: in
// what, of which org, team …, the rows are not the record's; empty = in nothing. The guards' are of all their rows together, as text that
// the record's lines are compared with, and what they sum to.
enum ReconciledColumn : std::size_t {
  kLog,
  kIndex,
  kMessage,
  kRequest,
  kKind,
  kWall,
  kUsageLog,
  kUsageIndex,
  kUsageInput,
  kUsageCached,
  kUsageOutput,
  kUsageDelivered,
  kUsageDiscarded,
  kUsageAmount,
  kUsagePrice,
  kUsageCurrency,
  kUsageModel,
  kUsageEndUser,
  kUsageAt,
  kUsageOthers,
  kChargeInput,
  kChargeCached,
  kChargeOutput,
  kChargeDiscarded,
  kChargeAmount,
  kChargePrice,
  kChargeOthers,
  kGuardLines,
  kGuardRows,
  kGuardTokens,
  kGuardOthers,
  kGuardCharges,
  kGuardChargeRows,
  kGuardChargeTokens,
  kGuardChargeOthers,
};

// Terminal records of $1 to $2 in the order of their key behind ($3, $4), at most $5 and none beyond the index $6, each with its usage, its
// charge and its guards'.
extern const std::string kRecords;

// What a REQUEST record says of what its usage is billed by.
struct Begun {
  std::int64_t wall_us = 0;
  std::optional<std::string> model;  // None: its bytes are no record.
};

struct PriceLine {
  std::string model;
  v1::PinnedPrice price;
};

struct Compared {
  const base::Rows& rows;
  std::size_t row;
  const v1::EndBody& end;
  const std::string& end_user_hmac;                 // Of the record.
  const Begun* begun;                               // Null: there is no REQUEST record.
  const std::map<std::int64_t, PriceLine>& prices;  // All that the record names and the book has, by version.
};

// The first thing that is wrong with the rows of a record, for people; empty if nothing is.
std::string DifferenceOf(const Compared& one);

}  // namespace tollgate::metering
