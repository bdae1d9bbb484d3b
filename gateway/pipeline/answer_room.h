// What large answers hold in memory, together, from when their work is routed until their clients have them: bounded, and no team and no
// org has all of it. A client that does not read what it asked for would else hold it outside of every bound. Thread-safe.
//
//   TG_ASSIGN(room_, room.Take(tenant, bytes));  // Before it is routed: what is refused then has cost nothing.
//   …                                            // The answer takes it along, and its front end keeps it until the client has all.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "gateway/pipeline/service.h"

namespace tollgate::pipeline {

class AnswerRoom {
 public:
  static constexpr std::int64_t kFreeBytes = 64 * 1024;  // Of each answer: ordinary ones take no lock and are never refused here.

  // So many bytes, shared as tenant_shares.h says, so that an answer of `one` has room where nothing else is held.
  AnswerRoom(std::int64_t bytes_max, std::int64_t one);

  // Given back with the last copy of it, which may outlive this. UNAVAILABLE (OVERLOADED): there is no room.
  absl::StatusOr<Room> Take(Tenant tenant, std::int64_t bytes);

  std::int64_t held() const;

 private:
  struct State;
  class Taken;
  std::shared_ptr<State> state_;
};

}  // namespace tollgate::pipeline
