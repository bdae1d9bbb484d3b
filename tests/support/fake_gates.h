// Gates in memory: what policy asks before a request, for tests of whoever asks.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "gateway/gates/gates.h"

namespace tollgate::test {

class FakeGates final : public gates::Gates {
 public:
  explicit FakeGates(const base::Clock& clock) : clock_(clock) {}

  void Pass(const gates::Ask& ask, Done<gates::Answer> done) override {
    if (on_pass) on_pass();
    if (!passes.ok()) return done(passes);
    gates::Answer answer;
    {
      base::Lock lock(mu_);
      for (const std::string& terms : ask.terms) {
        if (!accepted_.contains({ask.team.ToString(), ask.end_user, terms})) answer.terms_missing.push_back(terms);
      }
      if (answer.passes()) AskApprovals(ask, answer);
      if (answer.passes()) AskRates(ask, answer);
      if (answer.passes()) TakeAll(ask, answer);
    }
    done(answer);
  }

  void GiveBack(base::TeamId, base::RequestId used_by, const std::vector<base::Uuid>& grants, Done<bool> done) override {
    {
      base::Lock lock(mu_);
      for (Held& held : approvals_) {
        const bool given = std::find(grants.begin(), grants.end(), held.approval.id) != grants.end();
        if (given && held.approval.state == "used" && held.used_by == used_by) held.approval.state = "granted";
      }
    }
    done(true);
  }

  void Accept(base::TeamId team, const std::string& end_user, const std::vector<std::string>& terms, base::RequestId,
              Done<bool> done) override {
    {
      base::Lock lock(mu_);
      for (const std::string& one : terms) accepted_.insert({team.ToString(), end_user, one});
    }
    done(true);
  }

  absl::StatusOr<gates::Approvals> ListApprovals(base::OrgId) override {
    base::Lock lock(mu_);
    gates::Approvals out;
    for (const Held& held : approvals_) out.all.push_back(held.approval);
    return out;
  }
  absl::StatusOr<gates::Approval> Find(base::OrgId, base::Uuid id) override {
    base::Lock lock(mu_);
    for (const Held& held : approvals_) {
      if (held.approval.id == id) return held.approval;
    }
    return base::NotFound("there is no such approval");
  }
  absl::Status Grant(base::OrgId, base::Uuid id, const std::string& by) override { return Change(id, "pending", "granted", by); }
  absl::Status Revoke(base::OrgId, base::Uuid id) override {
    const absl::Status turned_down = Change(id, "pending", "revoked", "");
    return turned_down.ok() ? turned_down : Change(id, "granted", "revoked", "");
  }
  absl::StatusOr<std::int64_t> Forget(base::TeamId, const std::string&) override { return 0; }

  std::function<void()> on_pass;  // When somebody is asked.
  absl::Status passes;            // Not OK: what Pass says instead. Between calls.

 private:
  struct Held {
    gates::Approval approval;
    base::Digest asked{};  // All zero: it is for minutes.
    base::RequestId used_by;
  };

  absl::Status Change(base::Uuid id, const std::string& from, const std::string& to, const std::string& by);
  Held* FindHeld(const gates::Ask& ask, const gates::Wish& wish, const std::string& state) REQUIRES(mu_);
  void AskApprovals(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_);
  std::int64_t Waiting(const gates::Ask& ask, const std::string& rule) REQUIRES(mu_);
  void AskRates(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_);
  std::int64_t& Used(const gates::Ask& ask, const gates::Rate& rate, std::int64_t now_ms) REQUIRES(mu_);
  void TakeAll(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_);

  const base::Clock& clock_;
  base::Mutex mu_;
  std::map<std::tuple<std::string, std::string, std::string, std::int64_t>, std::int64_t> rates_ GUARDED_BY(mu_);
  std::set<std::tuple<std::string, std::string, std::string>> accepted_ GUARDED_BY(mu_);
  std::vector<Held> approvals_ GUARDED_BY(mu_);
};

}  // namespace tollgate::test
