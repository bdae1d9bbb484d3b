// The journal's own directory: a lock that proves that no other process is this instance, and what it last acknowledged, to catch a
// database that was rolled back. Internal to audit/. One thread, but for Acknowledged.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

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
  // As they were set; 0 of a version from before.
  std::int64_t epoch() const { return epoch_; }
  std::int64_t accepted_us() const { return accepted_us_; }
  std::int64_t written_day() const { return written_day_; }  // When the state was last written, as of Open, by this host's clock.

  // Durable when it returns OK. `epoch`: under which the log is owned. `accepted_us`: the newest accepted loss of records (ownership.h),
  // which is no excuse for a later one.
  absl::Status SetLog(std::int32_t log_id, std::int64_t size, std::int64_t epoch = 0, std::int64_t accepted_us = 0);
  void Acknowledged(std::int64_t size);  // One small write, no fsync: survives the process, which is its purpose.

 private:
  StateDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status Load();
  std::string Text(std::int64_t size) const;

  const std::string path_;
  const int lock_;
  int file_ = -1;
  base::InstanceId instance_;
  std::optional<std::int32_t> log_id_;
  std::int64_t acknowledged_ = 0;
  std::int64_t epoch_ = 0;
  std::int64_t accepted_us_ = 0;
  std::int64_t written_day_ = 0;
};

}  // namespace tollgate::audit
