// How it works. "Fairness in Serving Large Language Models" (arXiv 2401.00588), by tenant and, within one, by key: a counter is charged
// with the prompt when a sequence is let in and with each output token when it is decoded. Lift: one without waiting work that brings some
// starts from the least counter among those that wait, or, if none waits, from that of the tenant served last. There is no skipping ahead:
// all slots are alike, so the first tenant in order always fits, but for the kept slots. One that is kept for a sequence that goes on takes
// nothing from anybody: that tenant held it, and without the cut it would hold it still. It holds it meanwhile, too. The last one of four
// goes to a tenant that holds none, and only while it is not ahead of the least served by more than what it asks for: else many short
// sequences through the kept slot could outrun a tenant whose own slots are busy.
//
// Between prompts that are being worked through it is the same with what was done, not what was let in: each step's tokens go to the tenant
// that got least of prompt and output, and one that brings a prompt starts from where those are that have one, but for a short prompt's
// worth: what it did while nobody else had one is neither owed nor held against it. Of jobs no output is
// counted, so that last_worked_ follows all that is done: nobody who comes anew is ahead of the others by more than their own last step.
// That much is held against them, or one large input after another would each pass for a short prompt.
//
// Ageing looks at tenants, not at sequences: were it by each one's own wait, a long queue would push its tenant forward. Accounts of
// tenants that have left, and keys, are dropped when there are many.
//
// Tested by tests/inference/fair_queue_test.cpp, tests/inference/fairness_simulation_test.cpp.
#include "inference/fair_queue.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

namespace tollgate::inference {
namespace {

constexpr std::size_t kAccountsMax = 1024;                // Beyond this, those of absent tenants are dropped.
constexpr double kShortPromptTokens = 512;                // Of who comes anew: these may go before the prompts of those who were there.
constexpr base::MonoTime kFirst = base::MonoTime::min();  // Where a sequence that goes on stands among its key's.
constexpr std::size_t kKeysMax = 256;                     // Of one tenant; beyond this, those that neither wait nor run.

double CostOf(const Sequence& sequence) {
  const auto prompt = static_cast<double>(sequence.request.prompt_tokens.size());
  return (kPromptTokenWeight * prompt + kOutputTokenWeight * static_cast<double>(sequence.output_limit)) / sequence.request.weight;
}

// What so many output tokens of a sequence add to the counters of its tenant and its key.
double OutputCost(const Sequence& sequence, std::int64_t tokens) {
  return static_cast<double>(kOutputTokenWeight * tokens) / sequence.request.weight;
}

// The least counter among those of `accounts` that wait.
template <typename Accounts>
double Least(const Accounts& accounts) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [id, account] : accounts) {
    if (account.waiting_in_all > 0) least = std::min(least, account.served);
  }
  return least;
}

}  // namespace

void FairQueue::Push(std::unique_ptr<Sequence> sequence, base::MonoTime now) {
  if (accounts_.size() >= kAccountsMax) Prune(now);
  const SequenceRequest& request = sequence->request;
  TenantAccount& tenant = accounts_[request.tenant];
  if (tenant.waiting_in_all == 0) tenant.served = std::max(tenant.served, size_ > 0 ? Least(accounts_) : last_served_);
  if (tenant.keys.size() >= kKeysMax) {
    std::erase_if(tenant.keys, [](const auto& k) { return k.second.waiting_in_all == 0 && k.second.slots_held == 0; });
  }
  KeyAccount& key = tenant.keys[request.key];
  if (key.waiting_in_all == 0) {
    key.served = std::max(key.served, tenant.waiting_in_all > 0 ? Least(tenant.keys) : tenant.last_key_served);
  }
  tenant.seen = now;
  const int band = request.band;
  if (tenant.waiting[band] == 0) tenant.unserved_since[band] = now;
  ++tenant.waiting[band];
  ++tenant.waiting_in_all;
  ++key.waiting_in_all;
  ++waiting_[band];
  ++size_;
  key.waiting[band].emplace(request.goes_on ? kFirst : request.deadline.value_or(base::MonoTime::max()), std::move(sequence));
}

std::unique_ptr<Sequence> FairQueue::Pop(bool last_slot, base::MonoTime now) {
  if (size_ == 0) return nullptr;
  const Choice choice = Choose(last_slot, now);
  return choice.tenant == nullptr ? nullptr : Take(choice, now);
}

void FairQueue::Keep(const base::TeamId& tenant, base::MonoTime until, AdaptersHeld adapters) {
  kept_.push_back({tenant, until, std::move(adapters)});
}

std::vector<base::TeamId> FairQueue::Lapse(base::MonoTime now) {
  std::vector<base::TeamId> whose;
  std::erase_if(kept_, [&](const KeptSlot& slot) {
    if (now < slot.until) return false;
    whose.push_back(slot.tenant);
    return true;
  });
  return whose;
}

bool FairQueue::HasKept(const base::TeamId& tenant) const {
  return std::any_of(kept_.begin(), kept_.end(), [&](const KeptSlot& slot) { return slot.tenant == tenant; });
}

FairQueue::Rest FairQueue::FindRest() {
  for (auto slot = kept_.begin(); slot != kept_.end(); ++slot) {
    const auto tenant = accounts_.find(slot->tenant);
    if (tenant == accounts_.end() || tenant->second.waiting_in_all == 0) continue;
    for (auto& [id, key] : tenant->second.keys) {
      for (int band = 0; band < kBands; ++band) {
        if (!key.waiting[band].empty() && key.waiting[band].begin()->first == kFirst) return {{&tenant->second, &key, band}, slot};
      }
    }
  }
  return {{}, kept_.end()};
}

FairQueue::Head FairQueue::PeekKept() { return HeadOf(FindRest().choice); }

std::unique_ptr<Sequence> FairQueue::PopKept(base::MonoTime now) {
  const Rest rest = FindRest();
  if (rest.choice.tenant == nullptr) return nullptr;
  kept_.erase(rest.slot);
  return Take(rest.choice, now);
}

void FairQueue::DropKept() { kept_.erase(FindRest().slot); }

std::unique_ptr<Sequence> FairQueue::Take(const Choice& choice, base::MonoTime now) {
  const auto [tenant, key, band] = choice;
  const double ahead = tenant->served - LeastServed();
  auto first = key->waiting[band].begin();
  std::unique_ptr<Sequence> sequence = std::move(first->second);
  key->waiting[band].erase(first);
  --tenant->waiting[band];
  tenant->unserved_since[band] = now;
  --tenant->waiting_in_all;
  --key->waiting_in_all;
  --waiting_[band];
  --size_;
  ++tenant->slots_held;
  ++key->slots_held;
  sequence->account = tenant;
  sequence->key_account = key;
  sequence->output_due = sequence->output_limit;
  tenant->due += OutputCost(*sequence, sequence->output_due);
  tenant->lead = std::max(ahead, 0.0);
  return sequence;
}

FairQueue::Head FairQueue::Peek(bool last_slot, base::MonoTime now) { return size_ == 0 ? Head{} : HeadOf(Choose(last_slot, now)); }

FairQueue::Head FairQueue::HeadOf(const Choice& choice) {
  if (choice.tenant == nullptr) return {};
  return {choice.key->waiting[choice.band].begin()->second.get(), choice.tenant, choice.band};
}

// The band from which the tenant would be served where `front` is the most urgent one in which anyone waits; kBands if from none.
int FairQueue::BandOf(const TenantAccount& tenant, int front, base::MonoTime now) const {
  for (int band = front; band < kBands; ++band) {
    if (tenant.waiting[band] > 0 && now - tenant.unserved_since[band] >= (band - front) * options_.aging) return band;
  }
  return kBands;
}

FairQueue::Choice FairQueue::Choose(bool kept, base::MonoTime now) {
  int front = 0;
  while (waiting_[front] == 0) ++front;
  const double least = LeastServed();
  Choice choice;
  for (auto& [id, tenant] : accounts_) {
    const int band = BandOf(tenant, front, now);
    if (band == kBands || (kept && (HasKept(id) || !MayTakeKept(tenant, band, least)))) continue;
    if (choice.tenant == nullptr || tenant.served < choice.tenant->served) choice = {&tenant, nullptr, band};
  }
  if (choice.tenant == nullptr) return choice;
  for (auto& [id, key] : choice.tenant->keys) {
    if (!key.waiting[choice.band].empty() && (choice.key == nullptr || key.served < choice.key->served)) choice.key = &key;
  }
  return choice;
}

bool FairQueue::MayTakeKept(const TenantAccount& tenant, int band, double least) const {
  if (tenant.slots_held > 0) return false;
  double cost = 0;
  for (const auto& [id, key] : tenant.keys) {
    if (!key.waiting[band].empty()) cost = std::max(cost, CostOf(*key.waiting[band].begin()->second));
  }
  return tenant.served - least <= cost;
}

void FairQueue::ChargePrompt(Sequence& sequence, double tokens) {
  TenantAccount& tenant = *sequence.account;
  const double cost = kPromptTokenWeight * tokens / sequence.request.weight;
  tenant.served += cost;
  tenant.lead += cost + tenant.due;
  sequence.key_account->served += cost;
  tenant.last_key_served = sequence.key_account->served;
  last_served_ = tenant.served;
}

void FairQueue::ChargeOutput(Sequence& sequence, std::int64_t tokens) {
  TenantAccount& tenant = *sequence.account;
  tenant.served += OutputCost(sequence, tokens);
  tenant.worked += OutputCost(sequence, tokens);
  sequence.key_account->served += OutputCost(sequence, tokens);
  const std::int64_t due = std::min(tokens, sequence.output_due);
  sequence.output_due -= due;
  tenant.due -= OutputCost(sequence, due);
  tenant.lead += OutputCost(sequence, tokens - due);  // Beyond its limit: tokens that were taken back.
}

void FairQueue::OrderPrompts(std::vector<Sequence*>& prompts) {
  const auto order = [](const Sequence* s) { return std::tuple(s->account->worked, s->request.band, *s->end.started_at, s->slot); };
  std::sort(prompts.begin(), prompts.end(), [&](const Sequence* a, const Sequence* b) { return order(a) < order(b); });
  last_worked_ = std::max(last_worked_, prompts.front()->account->worked);
}

void FairQueue::BringsPrompt(TenantAccount& tenant, std::optional<double> least) const {
  tenant.worked =
      least ? std::clamp(tenant.worked, *least - kShortPromptTokens, *least + kShortPromptTokens) : std::max(tenant.worked, last_worked_);
}

void FairQueue::BringsJob(TenantAccount& tenant, std::optional<double> least) const {
  tenant.worked = std::max(tenant.worked, least ? *least - kShortPromptTokens : last_worked_);
}

void FairQueue::WorkedPrompt(Sequence& sequence, std::int64_t tokens) {
  sequence.account->worked += static_cast<double>(kPromptTokenWeight * tokens) / sequence.request.weight;
}

void FairQueue::Release(Sequence& sequence) {
  TenantAccount& tenant = *sequence.account;
  --sequence.key_account->slots_held;
  tenant.due = --tenant.slots_held == 0 ? 0 : tenant.due - OutputCost(sequence, sequence.output_due);
  sequence.output_due = 0;
}

void FairQueue::Remove(const std::function<bool(const Sequence&)>& gone, const std::function<void(std::unique_ptr<Sequence>)>& take) {
  for (auto& [id, tenant] : accounts_) {
    if (tenant.waiting_in_all == 0) continue;
    for (auto& [key_id, key] : tenant.keys) {
      for (int band = 0; band < kBands; ++band) {
        for (auto it = key.waiting[band].begin(); it != key.waiting[band].end();) {
          if (!gone(*it->second)) {
            ++it;
            continue;
          }
          take(std::move(it->second));
          it = key.waiting[band].erase(it);
          --tenant.waiting[band];
          --tenant.waiting_in_all;
          --key.waiting_in_all;
          --waiting_[band];
          --size_;
        }
      }
    }
  }
}

double FairQueue::LeastServed() const { return Least(accounts_); }

double FairQueue::GapTokens() const {
  double most = -std::numeric_limits<double>::infinity();
  for (const auto& [id, tenant] : accounts_) {
    if (tenant.waiting_in_all > 0) most = std::max(most, tenant.served);
  }
  return size_ == 0 ? 0 : most - LeastServed();
}

double FairQueue::GapBoundTokens() const {
  double bound = 0;
  for (const auto& [id, tenant] : accounts_) {
    if (tenant.waiting_in_all > 0) bound = std::max(bound, tenant.lead);
  }
  return bound;
}

void FairQueue::Prune(base::MonoTime now) {
  std::erase_if(accounts_, [&](const auto& item) {
    const TenantAccount& tenant = item.second;
    return tenant.waiting_in_all == 0 && tenant.slots_held == 0 && now - tenant.seen >= options_.presence;
  });
}

}  // namespace tollgate::inference
