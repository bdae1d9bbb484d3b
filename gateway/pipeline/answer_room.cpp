// The shares are in a state of their own, which whoever holds room keeps: a front end may be done with an answer after the pipeline.
//
// Tested by tests/gateway/pipeline/answer_room_test.cpp, embed_test.cpp.
#include "gateway/pipeline/answer_room.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "base/mutex.h"
#include "gateway/pipeline/tenant_shares.h"

namespace tollgate::pipeline {
namespace {

absl::Status NoRoom(std::string_view whose) {
  return base::WithDetail(
      base::Unavailable(fmt::format("{} that are being made, or that clients have not read yet, take all the memory that "
                                    "is set aside for them; read those, ask for less, or try again in a second",
                                    whose)),
      {.reason = "OVERLOADED", .retry_after_ms = 1000});
}

}  // namespace

struct AnswerRoom::State {
  State(std::int64_t bytes_max, std::int64_t one) : shares(bytes_max, one) {}

  mutable base::Mutex mu;
  TenantShares shares GUARDED_BY(mu);
};

class AnswerRoom::Taken {
 public:
  Taken(std::shared_ptr<State> state, Tenant tenant, std::int64_t bytes)
      : state_(std::move(state)), tenant_(std::move(tenant)), bytes_(bytes) {}
  ~Taken() {
    const base::Lock lock(state_->mu);
    state_->shares.GiveBack(tenant_, bytes_);
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

 private:
  const std::shared_ptr<State> state_;
  const Tenant tenant_;
  const std::int64_t bytes_;
};

AnswerRoom::AnswerRoom(std::int64_t bytes_max, std::int64_t one) : state_(std::make_shared<State>(bytes_max, one)) {}

absl::StatusOr<Room> AnswerRoom::Take(Tenant tenant, std::int64_t bytes) {
  bytes -= kFreeBytes;
  if (bytes <= 0) return Room();
  {
    const base::Lock lock(state_->mu);
    switch (state_->shares.LackFor(tenant, bytes)) {
      case TenantShares::Lack::kNone: break;
      case TenantShares::Lack::kAll: return NoRoom("large answers");
      case TenantShares::Lack::kTeam: return NoRoom("your team's large answers");
      case TenantShares::Lack::kOrg: return NoRoom("your org's large answers");
    }
    state_->shares.Take(tenant, bytes);
  }
  return std::make_shared<Taken>(state_, std::move(tenant), bytes);
}

std::int64_t AnswerRoom::held() const {
  const base::Lock lock(state_->mu);
  return state_->shares.held();
}

}  // namespace tollgate::pipeline
