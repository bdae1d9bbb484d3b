// Gates: what policy rules ask of shared state before a request goes on: counts in a window, accepted terms, a second person's approvals.
//
// Exact over any number of instances: all that one request is asked for is one transaction in Postgres, whose clock names windows and ends
// grants. About a millisecond, and only for requests that match such a rule. Thread-safe. Errors: UNAVAILABLE where the database cannot
// answer, or one team asks too much at once; fail closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::gates {

struct Rate {
  std::string rule;
  std::string who;  // Bytes that name whom it counts: an id, or an end user's HMAC.
  std::int64_t window_seconds = 60;
  std::int64_t limit = 1;  // Requests in a window.
  bool operator==(const Rate&) const = default;
};

// A second person's yes to what a rule stops: for minutes to any request of the key, for one request to this very prompt.
struct Wish {
  std::string rule;
  std::int64_t minutes = 0;  // 0 = for one request.
  base::Digest asked{};      // SHA-256 of what the request asks. Only an HMAC of it is stored: a short prompt's hash can be guessed.
};
// Prompts of one key that may wait at once for a yes to one rule, each for one request.
inline constexpr std::int64_t kWaitingMax = 64;

// All that rules ask of one request of one key.
struct Ask {
  base::OrgId org;
  base::TeamId team;
  base::KeyId key;
  base::RequestId request;
  std::string end_user;            // HMAC.
  std::vector<std::string> terms;  // "acceptable-use@3": those that the end user must have accepted before.
  std::vector<Wish> approvals;
  std::vector<Rate> rates;
};

// The request passes, or one of the four says why not. Only one that passes is counted and uses up grants for one request.
struct Answer {
  struct Waiting {
    std::string rule;
    base::Uuid id;  // The approval that waits for somebody.
  };
  struct Full {
    std::string rule;
    std::int64_t reset_ms = 0;  // Until its window ends.
  };
  std::vector<std::string> terms_missing;
  std::vector<Waiting> waiting;
  std::vector<std::string> crowded;  // Rules that kWaitingMax other prompts of the key wait for: this one does not wait as well.
  std::optional<Full> full;
  std::vector<base::Uuid> grants;  // Under which it passes, one for each of Ask.approvals.

  bool passes() const { return terms_missing.empty() && waiting.empty() && crowded.empty() && !full; }
};

struct Approval {
  base::Uuid id;
  base::TeamId team;
  base::KeyId key;
  base::RequestId request;              // That asked. For one request: its prompt, which is on record, is what the approval is for.
  std::string rule, state, granted_by;  // "pending", "lapsed" (nobody said yes), "granted", "used", "revoked", "expired".
  std::int64_t minutes = 0, asked_us = 0, granted_us = 0;
};
struct Approvals {
  std::vector<Approval> all;  // Those that wait first, then the newest first.
  bool more = false;          // There are others.
};

class Gates {
 public:
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;  // Called once, on a thread of its own or before the call returns.
  virtual ~Gates() = default;

  virtual void Pass(const Ask& ask, Done<Answer> done) = 0;
  // Grants for one request that this request used up are good again: it went nowhere. True.
  virtual void GiveBack(base::TeamId team, base::RequestId used_by, const std::vector<base::Uuid>& grants, Done<bool> done) = 0;
  // True. Again is the same.
  virtual void Accept(base::TeamId team, const std::string& end_user, const std::vector<std::string>& terms, base::RequestId said_by,
                      Done<bool> done) = 0;

  // Block. At most 500.
  virtual absl::StatusOr<Approvals> ListApprovals(base::OrgId org) = 0;
  // NOT_FOUND: the org has no approval with this id; of Grant, none that waits; of Revoke, none that waits or is granted. DATA_LOSS, of
  // Grant for one request: what waits was not written by this installation, or was changed since.
  virtual absl::StatusOr<Approval> Find(base::OrgId org, base::Uuid id) = 0;
  virtual absl::Status Grant(base::OrgId org, base::Uuid id, const std::string& by) = 0;
  virtual absl::Status Revoke(base::OrgId org, base::Uuid id) = 0;
  // Blocks. Forgets what an end user accepted and how often they asked. How many rows.
  virtual absl::StatusOr<std::int64_t> Forget(base::TeamId team, const std::string& end_user) = 0;
};

// `role` tollgate_writer. `mac_key`, 32 bytes: audit::RootKey::Derive("approval-mac"); grants without a MAC under it let nobody pass, and
// prompts are stored as HMACs under a key that follows from it.
std::unique_ptr<Gates> OpenPostgresGates(base::PostgresOptions postgres, std::string mac_key);

}  // namespace tollgate::gates
