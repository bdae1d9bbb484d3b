// Whether an org may have policies in force together. Compiling, tests included, takes as long as their author likes, and a transaction of
// the directory holds up every change of every org, emergency stops among them: so nothing is compiled in one. Room-internal.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "gateway/admin/transaction.h"

namespace tollgate::admin {

// For one change, which is tried anew until what it asks for is known: see Changes::Impl::WithPolicies. One thread.
class Together {
 public:
  // Within the transaction: whether the org may have `yaml` as policy `name` (nullopt: no such policy) beside what it has in force now.
  // INVALID_ARGUMENT as PolicySet::Compile; any error that Asks is to be returned as it is, and is none.
  absl::Status Check(Transaction& t, const std::string& org_id, const std::string& name, const std::optional<std::string>& yaml);
  bool Asks() const { return asked_.has_value(); }

  // Outside of it: compiles what Check asked for, if anything. False: it did not. ABORTED if the org's policies change all the time.
  absl::StatusOr<bool> CompileAsked();
  void Begin() { asked_.reset(); }  // The transaction is tried from its beginning.

 private:
  using Texts = std::map<std::string, std::string>;
  static constexpr std::size_t kTimesMax = 8;

  absl::Status Known(const Texts& texts);

  std::map<base::Digest, absl::Status> known_;  // By the digest of the texts.
  std::optional<Texts> asked_;
};

}  // namespace tollgate::admin
