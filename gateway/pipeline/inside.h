// Which requests are inside: how many may be, none of whom has all the places, and how they are woken. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <list>

#include "base/mutex.h"
#include "base/status.h"
#include "gateway/pipeline/service.h"
#include "gateway/pipeline/tenant_shares.h"

namespace tollgate::pipeline {

class Inside {
  struct One {
    Tenant tenant;
    std::function<void()> wake;
  };

 public:
  using Place = std::list<One>::iterator;

  // Of so many places, which tenants share as tenant_shares.h says.
  explicit Inside(std::int64_t most) : shares_(most, 1) {}

  // UNAVAILABLE: OVERLOADED, or SHUTTING_DOWN after Close. `wake` must be quick.
  absl::StatusOr<Place> Enter(Tenant tenant, std::function<void()> wake);
  void Leave(Place place);  // Once.

  // Nobody enters from now on. Calls back when nobody is inside.
  void Close(std::function<void()> when_empty);

  void WakeAll() const;
  std::int64_t size() const;

 private:
  absl::Status MayEnter(const Tenant& tenant) const REQUIRES(mu_);

  mutable base::Mutex mu_;
  bool closed_ GUARDED_BY(mu_) = false;
  std::list<One> inside_ GUARDED_BY(mu_);
  TenantShares shares_ GUARDED_BY(mu_);
  std::function<void()> when_empty_ GUARDED_BY(mu_);
};

}  // namespace tollgate::pipeline
