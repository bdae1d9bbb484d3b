// Adopter: looks after logs whose owners have died: takes them over, closes what is open, lets them go. And after what any log but the own
// one has lost. Internal to audit/. A thread of its own, and one for each log that is being taken over.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "audit/head_watch.h"
#include "audit/open_requests.h"
#include "base/mutex.h"

namespace tollgate::audit {

class Adopter {
 public:
  struct Options {
    TakeoverOptions takeover;  // Its deadline is set for each takeover.
    std::int32_t own_log = 0;
    std::function<absl::Status(const std::string&)> missed;  // Puts on record what another log was seen to lose.
    std::chrono::milliseconds poll{1000};
    std::chrono::milliseconds patience{3000};
  };

  explicit Adopter(Options options);
  ~Adopter();
  void Stop();  // Joins; a takeover under way is finished or given up within its session's time limits, and those of `taken`.

  std::int64_t adopted_logs() const { return adopted_logs_; }
  std::int64_t recovered_requests() const { return recovered_requests_; }

 private:
  void Run();
  absl::Status Look();
  absl::Status LookForLosses();
  absl::Status AdoptOne(const Lapsed& lapsed);
  absl::Status CloseAndRelease(const Lapsed& lapsed, const Claim& claim);
  LogTaken InTurn(const LogTaken& taken);
  absl::Status Finished();  // Of adoptions that are over, the first that failed.
  bool stopping() const;

  const Options options_;
  std::atomic<std::int64_t> adopted_logs_{0};
  std::atomic<std::int64_t> recovered_requests_{0};
  std::unique_ptr<base::Session> session_;  // The thread's.
  std::map<Lapsed, std::chrono::steady_clock::time_point> seen_;
  HeadWatch heads_;
  std::deque<std::string> missed_;  // Not on record yet.
  std::chrono::steady_clock::time_point last_look_{};
  std::vector<std::future<absl::Status>> adoptions_;
  std::atomic<int> closing_{0};           // Adoptions whose open requests are not closed yet.
  std::counting_semaphore<> telling_{4};  // Turns to tell `taken`.
  mutable base::Mutex mu_;
  std::condition_variable wake_;
  bool stopping_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace tollgate::audit
