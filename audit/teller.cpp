// What the dead held may take long to come home: the recount reads their usage. So the own log serves meanwhile: leases that are not home
// yet are only missing, never counted twice. An adopted log waits, because whoever takes it next would not know whose it was.
// Tested by tests/audit/teller_test.cpp.
#include "audit/teller.h"

#include <algorithm>
#include <future>
#include <optional>

#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{60'000};
constexpr std::chrono::milliseconds kStep{20};
constexpr std::chrono::minutes kWarnAgain{10};

using Stopping = std::function<bool()>;

bool Pause(std::chrono::milliseconds time, const Stopping& stopping) {
  for (const auto until = std::chrono::steady_clock::now() + time; !stopping(); std::this_thread::sleep_for(kStep)) {
    if (std::chrono::steady_clock::now() >= until) return true;
  }
  return false;
}

// Again and again, after growing pauses, until `tell` answers OK; its last error once `stopping`.
absl::Status UntilHeard(const std::function<absl::Status()>& tell, const Stopping& stopping) {
  std::chrono::milliseconds pause = kFirstPause;
  std::optional<std::chrono::steady_clock::time_point> warned;
  while (!stopping()) {
    const absl::Status status = tell();
    if (status.ok()) {
      if (warned) base::Info("audit", "what a dead instance held has come home");
      return status;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!stopping() && (!warned || now - *warned >= kWarnAgain)) {
      warned = now;
      base::Warn("audit", "what a dead instance held cannot be brought home yet, and counts as used until it can; it is tried again: {}",
                 base::Message(status));
    }
    if (!Pause(pause, stopping)) return status;
    pause = std::min(2 * pause, kLongestPause);
  }
  return base::Unavailable("this instance is shutting down");
}

absl::Status TellAll(const LogTaken& taken, const std::vector<Dead>& dead, const Stopping& stopping) {
  if (!taken) return absl::OkStatus();
  for (const Dead& one : dead) TG_RETURN_IF_ERROR(taken(one.owner, one.below, stopping));
  return absl::OkStatus();
}

}  // namespace

absl::Status TellTaken(LogWriter& writer, const std::vector<Dead>& dead, const TakeoverOptions& options) {
  std::atomic<bool> lost{false};
  const Stopping stopping = [&] { return lost || (options.stopping && options.stopping()); };
  auto told = std::async(std::launch::async,
                         [&] { return UntilHeard([&] { return TellAll(options.callbacks->taken, dead, stopping); }, stopping); });
  absl::Status why;
  while (told.wait_for(options.claim / 4) != std::future_status::ready) {
    if (lost) continue;
    const auto result = writer.attached() ? writer.Renew() : writer.Attach();
    if (result.fate != LogWriter::Fate::kLost) continue;
    why = result.status;
    lost = true;
  }
  const absl::Status heard = told.get();
  return lost ? why : heard;
}

Teller::Teller(Options options) : options_(std::move(options)) {
  told_ = !options_.taken && !options_.owed;  // There is nobody to tell, and nothing to forget.
  if (!told_ && options_.tells) thread_ = std::thread([this] { Run(); });
}

Teller::~Teller() { Stop(); }

void Teller::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void Teller::Run() {
  const Stopping stopping = [this] { return stopping_.load(); };
  const auto tell = [&]() -> absl::Status {
    TG_RETURN_IF_ERROR(TellAll(options_.taken, options_.dead, stopping));
    return options_.owed ? Forget() : absl::OkStatus();
  };
  told_ = UntilHeard(tell, stopping).ok();  // What is not told now is told by the log's next owner.
}

absl::Status Teller::Forget() const {
  TG_ASSIGN(const auto session, base::Session::Connect(options_.postgres));
  return ForgetOwed(*session, options_.head);
}

}  // namespace tollgate::audit
