// A claim may lapse without a death: when Postgres itself stood still, every claim has lapsed at the moment it goes on. So a lapse must be
// seen twice, `patience` apart, by an adopter whose own looks went through in between; a living owner has renewed by then.
// What a dead instance held may take minutes to come home, so the next log does not wait for the one before: what is open in it is closed
// meanwhile. A few bring home at once; the others keep their claims and wait for their turn.
// Tested by tests/audit/recovery_test.cpp.
#include "audit/adopter.h"

#include "audit/losses.h"
#include "audit/teller.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::seconds kTakeoverTime{60};
constexpr int kClosingAtOnce = 8;
constexpr std::size_t kAdoptionsMax = 64;  // Each has a session.
constexpr std::chrono::milliseconds kLook{20};

}  // namespace

Adopter::Adopter(Options options) : options_(std::move(options)), thread_([this] { Run(); }) {}

Adopter::~Adopter() { Stop(); }

void Adopter::Stop() {
  {
    base::Lock lock(mu_);
    stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  for (const auto& adoption : adoptions_) {
    if (adoption.valid()) adoption.wait();
  }
}

bool Adopter::stopping() const {
  base::Lock lock(mu_);
  return stopping_;
}

void Adopter::Run() {
  bool troubled = false;
  while (true) {
    {
      base::Lock lock(mu_);
      if (wake_.wait_for(lock.native(), options_.poll, [this]() REQUIRES(mu_) { return stopping_; })) return;
    }
    const absl::Status status = Look();
    if (!status.ok() && !troubled) base::Warn("audit", "other instances' logs cannot be looked after: {}", base::Message(status));
    troubled = !status.ok();
  }
}

// Before any of them is adopted, for then it grows again.
absl::Status Adopter::LookForLosses() {
  TG_ASSIGN(const auto heads, ReadHeads(*session_, options_.own_log));
  for (std::string& what : heads_.Look(heads)) {
    base::Error("audit", "the database was rolled back: {}", what);
    missed_.push_back(std::move(what));
  }
  while (!missed_.empty() && options_.missed(missed_.front()).ok()) missed_.pop_front();
  return absl::OkStatus();
}

absl::Status Adopter::Look() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_look_ > 3 * options_.poll + std::chrono::seconds(1)) seen_.clear();
  if (session_ == nullptr || session_->broken()) {
    session_.reset();
    seen_.clear();
    TG_ASSIGN(session_, base::Session::Connect(options_.takeover.postgres));
  }
  TG_RETURN_IF_ERROR(LookForLosses());
  TG_RETURN_IF_ERROR(CheckClock(options_.takeover.clock_check));  // Others, whose clocks are right, adopt meanwhile.
  TG_ASSIGN(const auto lapsed, FindLapsed(*session_, options_.own_log));
  last_look_ = std::chrono::steady_clock::now();
  std::map<Lapsed, std::chrono::steady_clock::time_point> seen;
  for (const Lapsed& log : lapsed) {
    const auto before = seen_.find(log);
    seen[log] = before != seen_.end() ? before->second : last_look_;
  }
  seen_ = std::move(seen);
  for (const auto& [log, since] : std::map(seen_)) {
    if (last_look_ - since < options_.patience || closing_ >= kClosingAtOnce || adoptions_.size() >= kAdoptionsMax) continue;
    seen_.erase(log);
    if (stopping()) return absl::OkStatus();
    TG_RETURN_IF_ERROR(AdoptOne(log));
  }
  return Finished();
}

absl::Status Adopter::AdoptOne(const Lapsed& lapsed) {
  TG_ASSIGN(const auto claim, Adopt(*session_, lapsed, options_.takeover.claim));
  if (!claim) return absl::OkStatus();
  base::Info("audit", "log {}: its owner is gone; adopting it", lapsed.log_id);
  ++closing_;
  adoptions_.push_back(std::async(std::launch::async, [this, lapsed, claim = *claim] { return CloseAndRelease(lapsed, claim); }));
  return absl::OkStatus();
}

absl::Status Adopter::Finished() {
  absl::Status first;
  std::erase_if(adoptions_, [&first](std::future<absl::Status>& adoption) {
    if (adoption.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
    first.Update(adoption.get());
    return true;
  });
  return first;
}

// Each is a reading of much usage.
LogTaken Adopter::InTurn(const LogTaken& taken) {
  if (!taken) return taken;
  return [this, taken](base::InstanceId owner, std::int64_t below, const std::function<bool()>& stopping) -> absl::Status {
    while (!telling_.try_acquire_for(kLook)) {
      if (stopping()) return base::Unavailable("this instance is shutting down");
    }
    const absl::Status told = taken(owner, below, stopping);
    telling_.release();
    return told;
  };
}

absl::Status Adopter::CloseAndRelease(const Lapsed& lapsed, const Claim& claim) {
  TakeoverOptions takeover = options_.takeover;
  takeover.deadline = std::chrono::steady_clock::now() + kTakeoverTime;
  takeover.stopping = [this] { return stopping(); };
  const RecoveryCallbacks callbacks{options_.takeover.callbacks->settle, InTurn(options_.takeover.callbacks->taken)};
  takeover.callbacks = &callbacks;
  LogWriter writer(takeover.postgres, takeover.claim, claim.head, takeover.clock_check, takeover.instance);
  const auto taken_over = TakeOver(writer, claim, takeover);
  --closing_;
  TG_ASSIGN(const std::int64_t closed, taken_over);
  TG_RETURN_IF_ERROR(TellTaken(writer, DeadOf(claim), takeover));
  TG_RETURN_IF_ERROR(CheckClock(takeover.clock_check));
  TG_ASSIGN(const EncodedRow stop,
            Encode(InstanceRecord(v1::RECORD_KIND_STOP, takeover.instance, claim.head.epoch, takeover.build), *takeover.clock));
  takeover.deadline = std::chrono::steady_clock::now() + kTakeoverTime;  // What the dead held may have taken long to come home.
  const EncodedRow* const last[] = {&stop};
  TG_RETURN_IF_ERROR(CommitSurely(writer, last, writer.head().next_index + 1, takeover.deadline, takeover.stopping).status);
  if (claim.owed) TG_RETURN_IF_ERROR(ForgetOwed(writer.session(), claim.head));
  TG_RETURN_IF_ERROR(writer.Release(true));
  ++adopted_logs_;
  recovered_requests_ += closed;
  base::Info("audit", "log {}: {} open requests closed, log released", lapsed.log_id, closed);
  return absl::OkStatus();
}

}  // namespace tollgate::audit
