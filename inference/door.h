// Door: how many sequences each tenant may have inside a replica, in its slots and its queue together. One that has none inside is let in
// wherever there is room. One that has some may go on filling slots as long as nobody need wait; beyond that it leaves room for others:
// what it has beyond its part of the slots may be twice what is left free. So one tenant alone gets the slots and about two thirds of the
// queue, several get less each, and the last place is only for one that has none. What goes on where another sequence ended is no newcomer:
// it takes the place that was kept for it, or needs a free one and nothing else.
//
// The caller's lock guards it.
#pragma once

#include <cstdint>
#include <map>

#include "base/uuid.h"

namespace tollgate::inference {

// Whether of so many slots the last free one goes only to a tenant that holds none: of fewer it would be a third of them or more.
constexpr bool KeepsSlot(int slots) { return slots >= 4; }

class Door {
 public:
  enum class Answer { kIn, kFull, kOwnShare };  // kFull: for everybody. kOwnShare: others may still come in.

  Door(int slots, int queue_max) : slots_(slots), places_(std::int64_t{slots} + queue_max) {}

  // Whether so many more of a tenant's sequences, one at least, may come in, all of them.
  Answer Ask(const base::TeamId& tenant, std::int64_t sequences) const;
  // The same of those that go on for others of their tenant's, which have ended: in places that are kept, or free ones. Never kOwnShare.
  Answer AskToGoOn(const base::TeamId& tenant, std::int64_t sequences) const;
  void Enter(const base::TeamId& tenant, std::int64_t sequences);  // REQUIRES: the answer was kIn.
  void GoOn(const base::TeamId& tenant, std::int64_t sequences);   // The same of those: kept places first.
  void Leave(const base::TeamId& tenant);                          // One of its sequences. REQUIRES: it has one inside.

  // One of its sequences has ended; its place is kept for what goes on for it. REQUIRES: it has one inside that is not kept.
  void Keep(const base::TeamId& tenant);
  void Lapse(const base::TeamId& tenant);  // One of its kept places, if nobody has taken it, is kept no longer.

  std::int64_t inside() const { return inside_; }  // Kept places too.
  std::int64_t inside(const base::TeamId& tenant) const;
  std::int64_t kept() const { return kept_; }
  std::int64_t kept(const base::TeamId& tenant) const;
  bool full() const { return inside_ >= places_; }

 private:
  void Unkeep(const base::TeamId& tenant);

  int slots_;
  std::int64_t places_;
  std::int64_t inside_ = 0, kept_ = 0;
  std::map<base::TeamId, std::int64_t> of_, kept_of_;  // Of tenants that have some.
};

}  // namespace tollgate::inference
