// PolicyCompiler: compiles orgs' policies on threads of its own, for whoever may not wait for it: the directory's thread, which confirms
// everybody's keys and stops. One thread for an org at a time, so that one org's policies hold up no other's.
// Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/crypto.h"
#include "base/status.h"
#include "base/uuid.h"
#include "policy/policy_set.h"

namespace tollgate::directory {

class PolicyCompiler {
 public:
  enum class Of { kInForce, kTrial };
  using Compiled = absl::StatusOr<std::shared_ptr<const policy::PolicySet>>;
  using KeepGoing = std::function<absl::Status()>;
  using Compile = std::function<Compiled(std::span<const policy::PolicySource>, const KeepGoing&)>;
  using Sources = std::function<std::vector<policy::PolicySource>()>;  // Called by who compiles: to copy texts takes its time too.

  // `done` is called on a thread of the compiler whenever something is; it may call nothing here. Empty `compile`: WithoutTests.
  PolicyCompiler(Compile compile, std::function<void()> done);
  ~PolicyCompiler();  // Gives up what is being compiled, and joins.

  // Policies that are in force or on trial passed their tests before.
  static Compiled WithoutTests(std::span<const policy::PolicySource> sources, const KeepGoing& keep_going);

  // What came of these sources, of which `key` is the digest; told once. nullopt: it is not there yet; TakeDone will name the org. What was
  // asked for the same before is given up. What is compiled to be tried, and then wanted in force, is not begun anew.
  std::optional<Compiled> Get(const base::Uuid& org, Of of, const base::Digest& key, Sources sources);
  void GiveUp(const base::Uuid& org, Of of);  // It is wanted no more.

  std::vector<base::Uuid> TakeDone();  // Orgs of which something is done since the last call.
  bool HasDone() const;
  bool WaitForDone(std::chrono::steady_clock::time_point until);  // Whether something is.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::directory
