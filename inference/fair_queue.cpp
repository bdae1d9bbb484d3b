// How it works. "Fairness in Serving Large Language Models" (arXiv 2401.00588), by tenant: the counter is charged with the prompt when a
// sequence is let in and with each output token when it is decoded. Lift: a tenant without waiting work that brings some starts from the
// least counter among those that wait, or, if none waits, from that of the tenant served last. There is no skipping ahead: all slots are
// alike, so the first tenant in order always fits, but for the last slot, which only one without a slot may take. Accounts of tenants that
// have left are dropped when there are many.
//
// Tested by tests/inference/fair_queue_test.cpp.
#include "inference/fair_queue.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace tollgate::inference {
namespace {

constexpr std::size_t kAccountsMax = 1024;  // Beyond this, those of absent tenants are dropped.

}  // namespace

void FairQueue::Push(std::unique_ptr<Sequence> sequence, base::MonoTime now) {
  if (accounts_.size() >= kAccountsMax) Prune(now);
  TenantAccount& account = accounts_[sequence->request.tenant];
  if (account.waiting.empty()) {
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (const auto& [id, other] : accounts_) {
      if (!other.waiting.empty()) least = std::min(least, other.served);
    }
    account.served = std::max(account.served, size_ > 0 ? least : last_served_);
  }
  account.seen = now;
  account.waiting.push_back(std::move(sequence));
  ++size_;
}

std::unique_ptr<Sequence> FairQueue::Pop(bool last_slot, base::MonoTime now) {
  if (size_ == 0) return nullptr;
  const bool reserved = last_slot && Present(now) > 1;
  TenantAccount* next = nullptr;
  for (auto& [id, account] : accounts_) {
    if (account.waiting.empty() || (reserved && account.slots_held > 0)) continue;
    if (next == nullptr || account.served < next->served) next = &account;
  }
  if (next == nullptr) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(next->waiting.front());
  next->waiting.pop_front();
  --size_;
  next->served += kPromptTokenWeight * static_cast<std::int64_t>(sequence->request.prompt_tokens.size());
  ++next->slots_held;
  last_served_ = next->served;
  sequence->account = next;
  return sequence;
}

void FairQueue::Remove(const std::function<bool(const Sequence&)>& gone, const std::function<void(std::unique_ptr<Sequence>)>& take) {
  for (auto& [id, account] : accounts_) {
    for (auto it = account.waiting.begin(); it != account.waiting.end();) {
      if (!gone(**it)) {
        ++it;
        continue;
      }
      take(std::move(*it));
      it = account.waiting.erase(it);
      --size_;
    }
  }
}

std::int64_t FairQueue::GapTokens() const {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  std::int64_t most = std::numeric_limits<std::int64_t>::min();
  for (const auto& [id, account] : accounts_) {
    if (account.waiting.empty()) continue;
    least = std::min(least, account.served);
    most = std::max(most, account.served);
  }
  return size_ == 0 ? 0 : most - least;
}

int FairQueue::Present(base::MonoTime now) const {
  int present = 0;
  for (const auto& [id, account] : accounts_) {
    if (account.slots_held > 0 || !account.waiting.empty() || now - account.seen < presence_) ++present;
  }
  return present;
}

void FairQueue::Prune(base::MonoTime now) {
  std::erase_if(accounts_, [&](const auto& item) {
    const TenantAccount& account = item.second;
    return account.waiting.empty() && account.slots_held == 0 && now - account.seen >= presence_;
  });
}

}  // namespace tollgate::inference
