// Recorded judgements compared with those of other policies: a page of one team's history a call, the work of the calls Replay and
// ShadowReport of the policy API. Blocks on the database. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "audit/reader.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mutex.h"
#include "gateway/directory/shard.h"
#include "gateway/explain/tally.h"
#include "policy/policy_set.h"

namespace tollgate::admin {

// The policies that replays of late were about, compiled: so that a page costs no compilation. They take memory, and are let go.
// Thread-safe.
class CompiledSets {
 public:
  static constexpr std::chrono::minutes kKept{10};  // Since they were asked for.

  // Errors, `tests` and `keep_going` as PolicySet::Compile.
  absl::StatusOr<std::shared_ptr<const policy::PolicySet>> Get(const std::vector<policy::PolicySource>& sources, policy::RunTests tests,
                                                               base::MonoTime now,
                                                               const std::function<absl::Status()>& keep_going = nullptr);
  void Forget(base::MonoTime now);  // Those that nobody asked for since long; to be called now and then.
  std::size_t size();

 private:
  static constexpr std::size_t kSetsMax = 4;
  struct Kept {
    base::Digest key;
    std::shared_ptr<const policy::PolicySet> set;
    base::MonoTime asked;
  };
  base::Mutex mu_;
  std::deque<Kept> sets_ GUARDED_BY(mu_);  // Those that were asked for last come last.
};

// A page of a team's history. Beside from, to, limit and cursor nothing of `filter` is to be set.
struct HistoryPage {
  audit::Viewer viewer;
  const directory::Shard* shard = nullptr;  // Has the names that rules and lines go by: today's.
  const directory::Team* team = nullptr;
  audit::ListFilter filter;
  // The parts, as Snapshot::PartsOf, of a name that a caller used; nullopt: it is no model's today. Empty: all are models without adapters.
  std::function<std::optional<std::vector<std::string>>(std::string_view)> parts_of;
  std::function<absl::Status()> keep_going;  // Asked between records; an error ends the work with it. May be empty.
};

// What is replayed.
struct Candidate {
  const policy::PolicySet* policies = nullptr;
  const policy::PolicySet* against = nullptr;  // Null: the verdicts on record.
  std::string reason;                          // Why content is opened: kept in the page's VIEW record.
};

// Judges the page's prompts and replies anew. Where the next page begins; empty after the last. Errors of audit::Reader::OpenHistory; what
// one record lacks is counted.
absl::StatusOr<std::string> Replay(audit::Reader& reader, const HistoryPage& page, const Candidate& candidate, explain::Tally& tally);

// Compares what acted with what the shadow said, prompts and replies, of shadows whose digest begins with `digest` (bytes in hexadecimal).
// Adds the digest of each that said something to `said`.
absl::StatusOr<std::string> CompareShadows(audit::Reader& reader, const HistoryPage& page, const std::string& digest, explain::Tally& tally,
                                           std::set<std::string>& said);

}  // namespace tollgate::admin
