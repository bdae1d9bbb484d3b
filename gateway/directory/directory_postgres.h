// PostgresDirectory: keeps the snapshot in force level with Postgres. A thread of its own asks for the directory's version every
// `poll_interval`, reads what changed, verifies it, and swaps the snapshot: a change by any process is in force within a second.
//
// Policies are compiled on other threads: whoever waits for them, nobody's revocations do (MayBegin in snapshot.h).
//
// A row that does not verify makes the snapshot refused: the last good one serves until it is older than `stale_max`, then InForce says why
// not. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/postgres.h"
#include "gateway/directory/directory.h"
#include "gateway/directory/policy_compiler.h"

namespace tollgate::directory {

struct DirectoryOptions {
  base::PostgresOptions postgres;                // `role` is normally "tollgate_directory".
  std::string mac_key;                           // audit::RootKey::Derive("directory-mac").
  std::chrono::milliseconds poll_interval{200};  // 10 to 250.
  std::chrono::milliseconds stale_max{5000};     // directory_stale_max_ms.
  // How long Open waits for the first snapshot, and then for policies to be compiled. 0: three times the time limit of a statement, at
  // least ten seconds.
  std::chrono::milliseconds first_load_max{0};
  std::chrono::milliseconds first_policies_max{120'000};  // For so long AwaitedFirst tells of orgs after that.
  PolicyCompiler::Compile compile = nullptr;              // Instead of PolicyCompiler::WithoutTests; for tests.
};

class PostgresDirectory final : public Directory {
 public:
  // Loads the first snapshot, and goes on without policies that are not compiled in time. UNAVAILABLE, FAILED_PRECONDITION (not migrated)
  // or DATA_LOSS (a row does not verify) name the remedy.
  static absl::StatusOr<std::unique_ptr<PostgresDirectory>> Open(DirectoryOptions options, const base::Clock& clock);
  ~PostgresDirectory() override;

  absl::StatusOr<std::shared_ptr<const Snapshot>> InForce() const override;

  // Called with each new snapshot, on the directory's thread, and once with the present one before this returns. Be quick.
  // To be registered before requests are served; cannot be taken back.
  void OnChange(std::function<void(const std::shared_ptr<const Snapshot>&)> callback);

  // Looks at Postgres at once instead of at the next interval. Returns at once.
  void Poke();

  // Waits until the snapshot in force has this version, policies that it changed included. DEADLINE_EXCEEDED if that takes too long.
  absl::Status WaitFor(std::int64_t version, std::chrono::milliseconds at_most);

  // Why the last look failed; OK if it did not. For readiness.
  absl::Status health() const;

  // Orgs of which no request may begin yet, for since the start their policies have not been compiled. 0 once it was, whatever comes into
  // force later, and when it took too long: one org's hour is not to keep others from an instance. For readiness.
  std::size_t AwaitedFirst() const;

  // How long ago the snapshot in force was confirmed.
  std::chrono::milliseconds age() const;

 private:
  struct Impl;
  explicit PostgresDirectory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::directory
