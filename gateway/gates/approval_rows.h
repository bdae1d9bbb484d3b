// Rows of gate.approval: what is read of them, which are in force, and the MACs that they bear. Pure; thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/postgres.h"
#include "base/status.h"
#include "gateway/gates/gates.h"

namespace tollgate::gates {

// SQL, true of a granted row until its time is over.
inline constexpr const char* kGrantInForce = "granted_at + greatest(minutes, 1440 * (minutes = 0)::int) * interval '1 minute' > now()";
// SQL, true of a pending row while somebody may say yes to it. `of`: "" or the table's name with a dot.
std::string WishInForce(std::string_view of = "");

struct ApprovalRow {
  Approval approval;
  std::string prompt;  // PromptOf; empty: it is for minutes, or from before approvals were for a prompt.
  std::string mac;     // MacOfWish while it waits, from then on MacOfGrant; empty: none.
};

// What is selected of a row, for ApprovalRowOf.
const std::string& ApprovalColumns();
absl::StatusOr<ApprovalRow> ApprovalRowOf(const base::Rows& rows, std::size_t i);

// Makes what stands in a row in place of a prompt, and its MACs, under keys that the database does not hold.
class ApprovalSigner {
 public:
  explicit ApprovalSigner(std::string mac_key);

  // 32 bytes that are the same for the same prompt of the same key under the same rule, and of nothing else. Empty: it is for minutes.
  std::string PromptOf(const Ask& ask, const Wish& wish) const;
  // What is written for a wish, with an id of its own.
  ApprovalRow RowOf(const Ask& ask, const Wish& wish) const;
  // Who asked for what, with which request. Reads neither state nor times.
  std::string MacOfWish(base::OrgId org, const ApprovalRow& row) const;
  // Whose grant it is, for what and until when, as it was recorded: a row that somebody else made or moved has no such MAC.
  std::string MacOfGrant(const ApprovalRow& row) const;

 private:
  std::string Mac(std::string_view text) const;
  const std::string mac_key_, prompt_key_;
};

}  // namespace tollgate::gates
