// Gates in memory: what policy asks before a request, for tests of whoever asks.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "gateway/gates/gates.h"

namespace tollgate::test {

class FakeGates final : public gates::Gates {
 public:
  explicit FakeGates(const base::Clock& clock) : clock_(clock) {}

  void CountRate(const gates::RateAsk& ask, Done<gates::RateAnswer> done) override {
    gates::RateAnswer answer;
    {
      base::Lock lock(mu_);
      const std::int64_t now_ms = base::ToMicros(clock_.Wall()) / 1000, window_ms = ask.window_seconds * 1000;
      std::int64_t& used = rates_[{ask.team.ToString(), ask.rule, ask.who, now_ms / window_ms}];
      answer = {used < ask.limit, window_ms - now_ms % window_ms};
      used += answer.allowed ? 1 : 0;
    }
    done(answer);
  }

  void HasAccepted(const gates::TermsAsk& ask, Done<bool> done) override {
    bool has = false;
    {
      base::Lock lock(mu_);
      has = accepted_.contains({ask.team.ToString(), ask.end_user, ask.terms});
    }
    done(has);
  }

  void Accept(const gates::TermsAsk& ask, base::RequestId, Done<bool> done) override {
    {
      base::Lock lock(mu_);
      accepted_.insert({ask.team.ToString(), ask.end_user, ask.terms});
    }
    done(true);
  }

  void FindApproval(const gates::ApprovalAsk& ask, Done<gates::ApprovalAnswer> done) override {
    gates::ApprovalAnswer answer;
    {
      base::Lock lock(mu_);
      answer = Find(ask);
    }
    done(answer);
  }

  absl::StatusOr<std::vector<gates::Approval>> ListApprovals(base::OrgId) override {
    base::Lock lock(mu_);
    return approvals_;
  }

  absl::StatusOr<gates::Approval> FindPending(base::OrgId, base::Uuid id) override {
    base::Lock lock(mu_);
    for (const gates::Approval& approval : approvals_) {
      if (approval.id == id && approval.state == "pending") return approval;
    }
    return base::NotFound("no such approval waits");
  }

  absl::Status Grant(base::OrgId, base::Uuid id, const std::string& by) override {
    base::Lock lock(mu_);
    for (gates::Approval& approval : approvals_) {
      if (approval.id != id || approval.state != "pending") continue;
      approval.state = "granted";
      approval.granted_by = by;
      approval.granted_us = base::ToMicros(clock_.Wall());
      return absl::OkStatus();
    }
    return base::NotFound("no such approval waits");
  }

 private:
  gates::ApprovalAnswer Find(const gates::ApprovalAsk& ask) REQUIRES(mu_) {
    const auto of = [&](const gates::Approval& a) { return a.team == ask.team && a.key == ask.key && a.rule == ask.rule; };
    for (gates::Approval& approval : approvals_) {
      const std::int64_t lasts_us = (approval.minutes == 0 ? std::int64_t{1440} : approval.minutes) * 60'000'000;
      if (!of(approval) || approval.state != "granted" || approval.granted_us + lasts_us <= base::ToMicros(clock_.Wall())) continue;
      if (approval.minutes == 0) approval.state = "used";
      return {true, approval.id};
    }
    for (const gates::Approval& approval : approvals_) {
      if (of(approval) && approval.state == "pending") return {false, approval.id};
    }
    gates::Approval wish;
    wish.id = base::Uuid::NewV7();
    wish.team = ask.team;
    wish.key = ask.key;
    wish.rule = ask.rule;
    wish.state = "pending";
    wish.minutes = ask.minutes;
    wish.asked_us = base::ToMicros(clock_.Wall());
    approvals_.push_back(wish);
    return {false, wish.id};
  }

  const base::Clock& clock_;
  base::Mutex mu_;
  std::map<std::tuple<std::string, std::string, std::string, std::int64_t>, std::int64_t> rates_ GUARDED_BY(mu_);
  std::set<std::tuple<std::string, std::string, std::string>> accepted_ GUARDED_BY(mu_);
  std::vector<gates::Approval> approvals_ GUARDED_BY(mu_);
};

}  // namespace tollgate::test
