// Gates: what a policy rule asks of shared state before a request goes on: a count in a window, accepted terms, a second person's approval.
//
// Exact over any number of instances: each question is one transaction in Postgres, whose clock names windows and ends grants. About a
// millisecond, and only for requests that match such a rule. Thread-safe. Errors: UNAVAILABLE where the database cannot answer; fail closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::gates {

struct RateAsk {
  base::TeamId team;
  std::string rule;
  std::string who;  // Bytes that name whom it counts: an id, or an end user's HMAC.
  std::int64_t window_seconds = 60;
  std::int64_t limit = 1;  // Requests in a window.
};
struct RateAnswer {
  bool allowed = false;       // And counted.
  std::int64_t reset_ms = 0;  // Until the window ends.
};

struct TermsAsk {
  base::TeamId team;
  std::string end_user;  // HMAC.
  std::string terms;     // "acceptable-use@3"
};

// One key's wish to do once, or for some minutes, what a rule stops.
struct ApprovalAsk {
  base::OrgId org;
  base::TeamId team;
  base::KeyId key;
  std::string rule;
  base::RequestId request;
  std::int64_t minutes = 0;  // 0 = for one request.
};
struct ApprovalAnswer {
  bool granted = false;
  base::Uuid id;  // The grant that covers the request, used up if it was for one; else the approval that waits for somebody.
};

struct Approval {
  base::Uuid id;
  base::TeamId team;
  base::KeyId key;
  std::string rule, state, granted_by;  // "pending", "granted", "used", "expired".
  std::int64_t minutes = 0, asked_us = 0, granted_us = 0;
};

class Gates {
 public:
  template <typename T>
  using Done = std::function<void(absl::StatusOr<T>)>;  // Called once, on a thread of its own or before the call returns.
  virtual ~Gates() = default;

  virtual void CountRate(const RateAsk& ask, Done<RateAnswer> done) = 0;
  virtual void HasAccepted(const TermsAsk& ask, Done<bool> done) = 0;
  virtual void Accept(const TermsAsk& ask, base::RequestId said_by, Done<bool> done) = 0;  // True. Again is the same.
  virtual void FindApproval(const ApprovalAsk& ask, Done<ApprovalAnswer> done) = 0;

  // Block. The newest first, at most 500.
  virtual absl::StatusOr<std::vector<Approval>> ListApprovals(base::OrgId org) = 0;
  // NOT_FOUND: the org has no approval with this id that waits.
  virtual absl::StatusOr<Approval> FindPending(base::OrgId org, base::Uuid id) = 0;
  virtual absl::Status Grant(base::OrgId org, base::Uuid id, const std::string& by) = 0;
};

// `role` tollgate_writer.
std::unique_ptr<Gates> OpenPostgresGates(base::PostgresOptions postgres);

}  // namespace tollgate::gates
