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

  void Pass(const gates::Ask& ask, Done<gates::Answer> done) override {
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

 private:
  struct Held {
    gates::Approval approval;
    base::Digest asked{};  // All zero: it is for minutes.
    base::RequestId used_by;
  };

  absl::Status Change(base::Uuid id, const std::string& from, const std::string& to, const std::string& by) {
    base::Lock lock(mu_);
    for (Held& held : approvals_) {
      gates::Approval& approval = held.approval;
      if (approval.id != id || approval.state != from) continue;
      approval.state = to;
      approval.granted_by = by;
      approval.granted_us = base::ToMicros(clock_.Wall());
      return absl::OkStatus();
    }
    return base::NotFound("no such approval is " + from);
  }

  static base::Digest PromptOf(const gates::Wish& wish) { return wish.minutes > 0 ? base::Digest{} : wish.asked; }

  Held* FindHeld(const gates::Ask& ask, const gates::Wish& wish, const std::string& state) REQUIRES(mu_) {
    for (Held& held : approvals_) {
      const gates::Approval& a = held.approval;
      if (a.team != ask.team || a.key != ask.key || a.rule != wish.rule || a.state != state) continue;
      const bool its = state == "pending" ? held.asked == PromptOf(wish) : a.minutes > 0 || held.asked == wish.asked;
      if (!its) continue;
      const std::int64_t lasts_us = (a.minutes == 0 ? std::int64_t{1440} : a.minutes) * 60'000'000;
      if (state == "pending" || a.granted_us + lasts_us > base::ToMicros(clock_.Wall())) return &held;
    }
    return nullptr;
  }

  void AskApprovals(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_) {
    for (const gates::Wish& wish : ask.approvals) {
      if (FindHeld(ask, wish, "granted") != nullptr) continue;
      const Held* waits = FindHeld(ask, wish, "pending");
      if (waits == nullptr && wish.minutes == 0 && Waiting(ask, wish.rule) >= gates::kWaitingMax) {
        answer.crowded.push_back(wish.rule);
        continue;
      }
      if (waits == nullptr) {
        gates::Approval made;
        made.id = base::Uuid::NewV7();
        made.team = ask.team;
        made.key = ask.key;
        made.request = ask.request;
        made.rule = wish.rule;
        made.state = "pending";
        made.minutes = wish.minutes;
        made.asked_us = base::ToMicros(clock_.Wall());
        waits = &approvals_.emplace_back(Held{made, PromptOf(wish), {}});
      }
      answer.waiting.push_back({wish.rule, waits->approval.id});
    }
  }

  std::int64_t Waiting(const gates::Ask& ask, const std::string& rule) REQUIRES(mu_) {
    return std::count_if(approvals_.begin(), approvals_.end(), [&](const Held& held) {
      const gates::Approval& a = held.approval;
      return a.team == ask.team && a.key == ask.key && a.rule == rule && a.state == "pending" && a.minutes == 0;
    });
  }

  void AskRates(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_) {
    const std::int64_t now_ms = base::ToMicros(clock_.Wall()) / 1000;
    for (const gates::Rate& rate : ask.rates) {
      const std::int64_t window_ms = rate.window_seconds * 1000;
      if (!answer.full && Used(ask, rate, now_ms) >= rate.limit) answer.full = {rate.rule, window_ms - now_ms % window_ms};
    }
    if (answer.full) return;
    for (const gates::Rate& rate : ask.rates) ++Used(ask, rate, now_ms);
  }

  std::int64_t& Used(const gates::Ask& ask, const gates::Rate& rate, std::int64_t now_ms) REQUIRES(mu_) {
    return rates_[{ask.team.ToString(), rate.rule, rate.who, now_ms / (rate.window_seconds * 1000)}];
  }

  void TakeAll(const gates::Ask& ask, gates::Answer& answer) REQUIRES(mu_) {
    for (const gates::Wish& wish : ask.approvals) {
      Held& held = *FindHeld(ask, wish, "granted");
      answer.grants.push_back(held.approval.id);
      if (held.approval.minutes != 0) continue;
      held.approval.state = "used";
      held.used_by = ask.request;
    }
  }

  const base::Clock& clock_;
  base::Mutex mu_;
  std::map<std::tuple<std::string, std::string, std::string, std::int64_t>, std::int64_t> rates_ GUARDED_BY(mu_);
  std::set<std::tuple<std::string, std::string, std::string>> accepted_ GUARDED_BY(mu_);
  std::vector<Held> approvals_ GUARDED_BY(mu_);
};

}  // namespace tollgate::test
