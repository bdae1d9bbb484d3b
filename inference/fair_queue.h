// FairQueue: who gets the next free slot, in this order:
//   1. the most urgent band (0 to 3) in which anyone waits. A tenant that was let in from a less urgent one last `aging` ago counts as one
//      band up, and so on, so that none starves; how long its own queue is makes no difference;
//   2. the tenant served least: a Virtual Token Counter counts prompt tokens once and output tokens twice, over their sequence's weight;
//   3. of that tenant's keys, the one served least, by a counter of the same kind;
//   4. of that key's sequences, the one with the earliest deadline, then the one that came first.
// A sequence that goes on for one that ended comes before its key's others, and where a slot is kept for it, before everybody: the slot was
// its own.
// A tenant (or key) that comes back is lifted to the least of those that wait, so that idling saves nothing up.
//
// The bound: of the tenants that wait, none was served more than GapBoundTokens() beyond another (where all ask in one band). A tenant gets
// a slot only while it is the least served, so it can be ahead by no more than what its running sequences may still use.
//
// One thread (the replica's).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"
#include "inference/sequence.h"

namespace tollgate::inference {

constexpr std::int64_t kPromptTokenWeight = 1;
constexpr std::int64_t kOutputTokenWeight = 2;

struct KeyAccount {
  double served = 0;                                                                     // Weighted tokens, each over the weight.
  std::array<std::multimap<base::MonoTime, std::unique_ptr<Sequence>>, kBands> waiting;  // By deadline.
  int waiting_in_all = 0;
  int slots_held = 0;
};

struct TenantAccount {
  double served = 0;                       // Weighted tokens, each over the weight of its sequence.
  double lead = 0;                         // How far its last admission lets it get ahead of the least served that waits.
  double due = 0;                          // What its running sequences may still add to `served`.
  double last_key_served = 0;              // Counter of the key that was served last.
  std::map<base::KeyId, KeyAccount> keys;  // Nodes stay where they are, as the tenants do: sequences point to them.
  std::array<int, kBands> waiting{};
  std::array<base::MonoTime, kBands> unserved_since{};  // Where it waits: since when none was let in.
  int waiting_in_all = 0;
  int slots_held = 0;
  base::MonoTime seen;  // When it last brought a sequence.
  double worked = 0;    // Tokens done, weighted as `served`, but each when it is done.
};

class FairQueue {
 public:
  struct Options {
    std::chrono::microseconds presence = std::chrono::seconds(60);  // A tenant is present for so long after it last brought a sequence.
    std::chrono::microseconds aging = std::chrono::seconds(10);     // Without service in a band, for each band up.
  };
  FairQueue() : FairQueue(Options{}) {}
  explicit FairQueue(const Options& options) : options_(options) {}

  void Push(std::unique_ptr<Sequence> sequence, base::MonoTime now);

  // The next sequence, counted as holding a slot; nullptr if none may have one. `last_slot`: there is one slot, kept for a tenant that
  // holds none (and is not far ahead of one that waits), whoever else is there.
  std::unique_ptr<Sequence> Pop(bool last_slot, base::MonoTime now);

  // What Pop would give now, and from whom; a sequence of null: nothing. Valid until anything else is called.
  struct Head {
    const Sequence* sequence = nullptr;
    const TenantAccount* tenant = nullptr;
    int band = 0;
  };
  Head Peek(bool last_slot, base::MonoTime now);

  // A slot that one of the tenant's has left is kept, until then at most, for the sequence that goes on for it: nobody else's meanwhile,
  // and its tenant holds it. With it the adapters that it ran with.
  void Keep(const base::TeamId& tenant, base::MonoTime until, AdaptersHeld adapters = {});
  std::vector<base::TeamId> Lapse(base::MonoTime now);  // Whose are kept no longer, since nobody came for them.
  int kept() const { return static_cast<int>(kept_.size()); }
  Head PeekKept();                                        // As Peek, one that a slot is kept for.
  std::unique_ptr<Sequence> PopKept(base::MonoTime now);  // Pop of that; the slot is kept no more.
  void DropKept();                                        // It is kept no more, and the sequence waits on. REQUIRES: PeekKept gave one.

  // To be called once after Pop, before the next: the prompt costs so many tokens. Then for each output token.
  void ChargePrompt(Sequence& sequence, double tokens);
  static void ChargeOutput(Sequence& sequence, std::int64_t tokens);
  static void Release(Sequence& sequence);

  // Prompts of those that hold slots, one at least, in the order in which a step's tokens are theirs: of the tenant first for which least
  // was done. BringsPrompt: a tenant has one that had none; it starts about where `least` is, the least of the others that have one, or
  // where the last one was. BringsJob: the same of an EmbedJob; it starts no earlier. WorkedPrompt: so much of one was done.
  void OrderPrompts(std::vector<Sequence*>& prompts);
  void BringsPrompt(TenantAccount& tenant, std::optional<double> least) const;
  void BringsJob(TenantAccount& tenant, std::optional<double> least) const;
  static void WorkedPrompt(Sequence& sequence, std::int64_t tokens);

  // Takes out what `gone` says, in no order, and hands it to `take`.
  void Remove(const std::function<bool(const Sequence&)>& gone, const std::function<void(std::unique_ptr<Sequence>)>& take);

  int size() const { return size_; }
  double GapTokens() const;       // Most minus least served of the tenants that wait.
  double GapBoundTokens() const;  // What it cannot exceed.

 private:
  struct Choice {
    TenantAccount* tenant = nullptr;
    KeyAccount* key = nullptr;
    int band = 0;
  };
  struct KeptSlot {
    base::TeamId tenant;
    base::MonoTime until;
    AdaptersHeld adapters;
  };
  struct Rest {
    Choice choice;
    std::vector<KeptSlot>::iterator slot;
  };
  std::unique_ptr<Sequence> Take(const Choice& choice, base::MonoTime now);
  void Prune(base::MonoTime now);
  Choice Choose(bool kept, base::MonoTime now);
  Rest FindRest();  // The first that a slot is kept for; a tenant of null: none is here.
  bool HasKept(const base::TeamId& tenant) const;
  static Head HeadOf(const Choice& choice);
  int BandOf(const TenantAccount& tenant, int front, base::MonoTime now) const;
  bool MayTakeKept(const TenantAccount& tenant, int band, double least) const;
  double LeastServed() const;  // Of the tenants that wait; REQUIRES: one does.

  std::map<base::TeamId, TenantAccount> accounts_;
  std::vector<KeptSlot> kept_;
  Options options_;
  std::array<int, kBands> waiting_{};
  double last_served_ = 0;  // Counter of the tenant that was served last,
  double last_worked_ = 0;  // and of the one whose prompts came first.
  int size_ = 0;
};

}  // namespace tollgate::inference
