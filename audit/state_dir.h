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

  absl::Status SetLog(std::int32_t log_id, std::int64_t size);  // Durable when it returns OK.
  void Acknowledged(std::int64_t size);                         // One small write, no fsync: survives the process, which is its purpose.

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
};

}  // namespace tollgate::audit
