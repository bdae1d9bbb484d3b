// The journal's own directory: a lock that proves that no other process is this instance, and what it last acknowledged, to catch a
// database that was rolled back. Internal to audit/. One thread, but for Acknowledged, which may be another's, and `durable`.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/crypto.h"
#include "base/mutex.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

class StateDir {
 public:
  // Makes the directory if need be. FAILED_PRECONDITION: another process holds it, or its file is damaged.
  static absl::StatusOr<std::unique_ptr<StateDir>> Open(const std::string& path);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  base::InstanceId instance() const { return instance_; }
  std::optional<std::int32_t> log_id() const { return log_id_; }
  std::int64_t acknowledged() const { return acknowledged_; }  // Records of that log known durable, as of Open or SetLog.
  // The leaf of the last of them; absent of a version from before, which kept none: that they are these records cannot be told then.
  const std::optional<base::Digest>& leaf() const { return leaf_; }
  // How long the log was when this instance took it, so that what it wrote begins there; all of `acknowledged` where that is not known.
  std::int64_t since() const { return since_; }
  // As they were set; 0 of a version from before.
  std::int64_t epoch() const { return epoch_; }
  std::int64_t accepted_us() const { return accepted_us_; }
  std::int64_t written_day() const { return written_day_; }  // When the state was last written, as of Open, by this host's clock.

  // As the log stands when this instance has taken it. Durable when it returns OK. `epoch`: under which the log is owned. `accepted_us`:
  // the newest accepted loss of records (losses.h), which is no excuse for a later one. `leaf`: of the last of `size` records, where there
  // is one.
  absl::Status SetLog(std::int32_t log_id, std::int64_t size, std::int64_t epoch = 0, std::int64_t accepted_us = 0,
                      const std::optional<base::Digest>& leaf = {});
  // One small write, no fsync: survives the process.
  void Acknowledged(std::int64_t size, const std::optional<base::Digest>& leaf);
  // From now on what is acknowledged is flushed to disk `every` so often, on a thread of its own, so that it survives the host, too. After
  // SetLog, which is not called any more; once.
  void KeepDurable(std::chrono::milliseconds every = std::chrono::seconds(1));
  std::int64_t durable() const { return durable_; }  // Of what was acknowledged so much is on disk.

 private:
  StateDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status Load();
  std::string Text(std::int64_t size, const std::optional<base::Digest>& leaf) const;
  void Flush();

  const std::string path_;
  const int lock_;
  int file_ = -1;
  base::InstanceId instance_;
  std::optional<std::int32_t> log_id_;
  std::int64_t acknowledged_ = 0;
  std::int64_t since_ = 0;
  std::optional<base::Digest> leaf_;
  std::int64_t epoch_ = 0;
  std::int64_t accepted_us_ = 0;
  std::int64_t written_day_ = 0;
  std::atomic<std::int64_t> written_{0};
  std::atomic<std::int64_t> durable_{0};
  base::Mutex mu_;
  std::condition_variable wake_;
  bool stopping_ GUARDED_BY(mu_) = false;
  std::thread flusher_;
};

}  // namespace tollgate::audit
