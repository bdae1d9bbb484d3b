// Whether an org may have policies in force together. Compiling, tests included, takes as long as their author likes, and a transaction of
// the directory holds up every change of every org, emergency stops among them: so nothing is compiled in one, nor are the texts read in
// one. Room-internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "gateway/admin/transaction.h"

namespace tollgate::admin {

// Of the texts of one org's policies in force. Each may have 3 MiB.
inline constexpr std::size_t kInForceBytesMax = 32 << 20;

// For one change, which is tried anew until what it asks for is known: see Changes::Impl::WithPolicies. One thread.
class Together {
 public:
  // `keep_going` as Actor's.
  Together(Changer& changer, std::function<absl::Status()> keep_going) : changer_(changer), keep_going_(std::move(keep_going)) {}

  // Within the transaction: whether the org may have this version of policy `name` (0: no such policy) beside what it has in force now.
  // INVALID_ARGUMENT as CompileTogether; any error that Asks is to be returned as it is, and is none.
  absl::Status Check(Transaction& t, const std::string& org_id, const std::string& name, std::int64_t version);
  bool Asks() const { return asked_.has_value(); }

  // Outside of it: reads and compiles what Check asked for, if anything. False: it did not. ABORTED if the org's policies change all the
  // time; DATA_LOSS a version that does not verify; errors of keep_going.
  absl::StatusOr<bool> CompileAsked();
  void Begin() { asked_.reset(); }  // The transaction is tried from its beginning.

 private:
  using Versions = std::map<std::string, std::int64_t>;  // By policy. A version's text never changes.
  static constexpr std::size_t kTimesMax = 8;

  absl::Status Known(const Versions& versions);
  absl::Status KeepGoing() const { return keep_going_ ? keep_going_() : absl::OkStatus(); }
  absl::StatusOr<std::map<std::string, std::string>> TextsOf(const Versions& versions);

  Changer& changer_;
  const std::function<absl::Status()> keep_going_;
  std::string org_id_;  // The change is of this org.
  std::map<Versions, absl::Status> known_;
  std::map<std::pair<std::string, std::int64_t>, std::string> texts_;  // That were read.
  std::optional<Versions> asked_;
};

}  // namespace tollgate::admin
