// Reports over usage and ledger, and the proof that they agree with the records. Read-only; each call is one session's work for as long
// as the query takes: not for I/O threads. Roles: tollgate_reader (rows that its tenant settings allow) or tollgate_verifier (all).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/money.h"
#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::metering {

enum class ReportBy { kOrg, kTeam, kProject, kKey, kModel, kDay, kKind };

struct ReportFilter {
  base::WallTime from;  // Inclusive, by the terminal record's wall time.
  base::WallTime to;    // Exclusive.
  std::optional<base::Uuid> org;
  std::optional<base::Uuid> team;
  std::optional<base::Uuid> project;
  std::optional<base::Uuid> key;
  std::string model;  // Empty = all.
};

struct ReportRow {
  std::string id;        // The group: a uuid, a model's name, a day as 2026-11-25 (UTC), or "request" and "guard".
  std::string currency;  // Groups are apart by currency; amounts of two are never added.
  std::int64_t attempts = 0;
  std::int64_t requests = 0;
  std::int64_t first_requests = 0;  // Those of which no row of the report comes before: over all groups of a currency each request once.
  std::int64_t input_tokens = 0;    // Cached ones included.
  std::int64_t cached_input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t delivered_tokens = 0;
  std::int64_t discarded_tokens = 0;  // Of the output, that a rule had written anew.
  base::Money amount;
};

// Groups in order of amount, largest first (days: in order of time). At most 10,000. Errors name the remedy: INVALID_ARGUMENT more groups
// than that, OUT_OF_RANGE an amount beyond Money, UNAVAILABLE longer than the session's limit for a statement.
absl::StatusOr<std::vector<ReportRow>> UsageReport(base::Session& session, ReportBy by, const ReportFilter& filter);

// How much of a limit is taken in the window that is open.
struct QuotaUse {
  base::Uuid quota;
  std::int64_t taken = 0;  // Used, or leased to instances, which give back what they do not need.
  base::WallTime window_end;
};

// Of these limits, those of whose open window, by the database's clock, something was ever taken. Any role; sees all tenants.
absl::StatusOr<std::vector<QuotaUse>> QuotaUses(base::Session& session, const std::vector<base::Uuid>& quotas);

struct Reconciliation {
  std::int64_t records = 0;  // FINAL and ABORT in the period; like the rows below, those that were there when the work began.
  std::int64_t usages = 0;
  std::int64_t transfers = 0;
  std::int64_t record_tokens = 0;
  std::int64_t usage_tokens = 0;
  std::int64_t transfer_tokens = 0;
  std::int64_t differences = 0;
  std::string first_difference;  // For people: which request, what each side says. Empty = they agree to the token and the nano.
};

// Compares every terminal record of [from, to) with its usage rows and its transfers: counts, amounts, whose they are, of which model and
// of when. Recomputes the amounts from the prices of the book, looks for usage and transfers that no record has, and compares the sums of
// all. Reads in steps of some thousand rows, smaller ones where a step meets the session's limit for a statement; memory stays flat.
// `keep_going` (may be empty) is asked after each step; an error ends the work with that.
absl::StatusOr<Reconciliation> Reconcile(base::Session& session, base::WallTime from, base::WallTime to,
                                         const std::function<absl::Status()>& keep_going = {});

}  // namespace tollgate::metering
