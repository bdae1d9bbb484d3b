// As Postgres answers: a grant for one request is for the prompt that asked, and so many prompts of a key wait for a rule.
#include "tests/support/fake_gates.h"

namespace tollgate::test {
namespace {

// What an approval is for; all zero: for minutes, any prompt.
base::Digest PromptOf(const gates::Wish& wish) { return wish.minutes > 0 ? base::Digest{} : wish.asked; }

}  // namespace

absl::Status FakeGates::Change(base::Uuid id, const std::string& from, const std::string& to, const std::string& by) {
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

FakeGates::Held* FakeGates::FindHeld(const gates::Ask& ask, const gates::Wish& wish, const std::string& state) {
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

void FakeGates::AskApprovals(const gates::Ask& ask, gates::Answer& answer) {
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

std::int64_t FakeGates::Waiting(const gates::Ask& ask, const std::string& rule) {
  return std::count_if(approvals_.begin(), approvals_.end(), [&](const Held& held) {
    const gates::Approval& a = held.approval;
    return a.team == ask.team && a.key == ask.key && a.rule == rule && a.state == "pending" && a.minutes == 0;
  });
}

void FakeGates::AskRates(const gates::Ask& ask, gates::Answer& answer) {
  const std::int64_t now_ms = base::ToMicros(clock_.Wall()) / 1000;
  for (const gates::Rate& rate : ask.rates) {
    const std::int64_t window_ms = rate.window_seconds * 1000;
    if (!answer.full && Used(ask, rate, now_ms) >= rate.limit) answer.full = {rate.rule, window_ms - now_ms % window_ms};
  }
  if (answer.full) return;
  for (const gates::Rate& rate : ask.rates) ++Used(ask, rate, now_ms);
}

std::int64_t& FakeGates::Used(const gates::Ask& ask, const gates::Rate& rate, std::int64_t now_ms) {
  return rates_[{ask.team.ToString(), rate.rule, rate.who, now_ms / (rate.window_seconds * 1000)}];
}

void FakeGates::TakeAll(const gates::Ask& ask, gates::Answer& answer) {
  for (const gates::Wish& wish : ask.approvals) {
    Held& held = *FindHeld(ask, wish, "granted");
    answer.grants.push_back(held.approval.id);
    if (held.approval.minutes != 0) continue;
    held.approval.state = "used";
    held.used_by = ask.request;
  }
}

}  // namespace tollgate::test
