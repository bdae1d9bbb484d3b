// Which requests are inside: how many may be, none of whom has all the places, and how they are woken. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>

#include "base/mutex.h"
#include "base/status.h"
#include "gateway/pipeline/service.h"

namespace tollgate::pipeline {

class Inside {
  struct One {
    Tenant tenant;
    std::function<void()> wake;
  };

 public:
  using Place = std::list<One>::iterator;

  // A team may hold as many places as it leaves to others, an org three times that, and either one. One is always free where nobody is
  // inside.
  explicit Inside(std::int64_t most) : most_(most) {}

  // UNAVAILABLE: OVERLOADED, or SHUTTING_DOWN after Close. Nobody's (an empty tenant) counts in total alone. `wake` must be quick.
  absl::StatusOr<Place> Enter(Tenant tenant, std::function<void()> wake);
  void Leave(Place place);  // Once.

  // Nobody enters from now on. Calls back when nobody is inside.
  void Close(std::function<void()> when_empty);

  void WakeAll() const;
  std::int64_t size() const;

 private:
  absl::Status MayEnter(const Tenant& tenant) const REQUIRES(mu_);
  std::int64_t Of(const std::string& whose) const REQUIRES(mu_);

  const std::int64_t most_;
  mutable base::Mutex mu_;
  bool closed_ GUARDED_BY(mu_) = false;
  std::list<One> inside_ GUARDED_BY(mu_);
  std::unordered_map<std::string, std::int64_t> inside_of_ GUARDED_BY(mu_);  // By team and by org; none has 0.
  std::function<void()> when_empty_ GUARDED_BY(mu_);
};

}  // namespace tollgate::pipeline
