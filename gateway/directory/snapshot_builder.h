// SnapshotBuilder: rows in, snapshots out. Keeps every row, takes changes, verifies them, and rebuilds only the orgs that they touch.
// One thread at a time.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/directory/rows.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::directory {

class PolicyCompiler;

class SnapshotBuilder {
 public:
  // Without a compiler, which must live longer, Build compiles policies itself.
  explicit SnapshotBuilder(std::string mac_key, PolicyCompiler* compiler = nullptr);
  ~SnapshotBuilder();

  // Takes rows that are new or changed, and the head as it stands with them. DATA_LOSS, naming table and row, if a row's MAC, the set or
  // the head does not verify, or the head went back: then nothing is taken.
  absl::Status Apply(std::span<const Row> changed, const Head& head);

  // A snapshot of all rows. Shards that no change touched are those of the snapshot before. DATA_LOSS names a row that makes no sense (a
  // team without org). An org whose policy no longer compiles is in it, and may run nothing. Policies that the compiler has not compiled
  // within a tenth of a second come with a later snapshot: build one when it has something done.
  absl::StatusOr<std::shared_ptr<const Snapshot>> Build(base::MonoTime loaded_at);

  const Head& head() const;  // As of the rows that were taken last.

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tollgate::directory
