// journal.lock is held by flock: the kernel lets go of it when the process dies, however it dies. journal.state is one line of fixed width,
// rewritten in place, so that each write is whole to any later reader of the same host. Whoever writes it never waits for the disk: that is
// the flusher's, once in a while, and only where something was written since. What versions before did not know stands last, where they do
// not read.
// Tested by tests/audit/state_dir_test.cpp.
#include "audit/state_dir.h"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/encoding.h"

namespace tollgate::audit {
namespace {

constexpr std::string_view kMagic = "tollgate-journal-1";
constexpr std::string_view kNoLeaf = "-";

absl::Status Damaged(const std::string& file) {
  return base::FailedPrecondition(fmt::format("{} is damaged: restore it, or move it away to start with a log of its own", file));
}

// False: it is no leaf, nor says that there is none.
bool ReadLeaf(const std::string& text, std::optional<base::Digest>& leaf) {
  if (text == kNoLeaf) return true;
  const auto bytes = base::HexDecode(text);
  if (!bytes.ok() || bytes->size() != sizeof(base::Digest)) return false;
  std::memcpy(leaf.emplace().data(), bytes->data(), bytes->size());
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDir>> StateDir::Open(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  const std::string lock_file = path + "/journal.lock";
  const int lock = ::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return base::FailedPrecondition(fmt::format("the state directory {} cannot be written to: check its owner and mode", path));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return base::FailedPrecondition(
        fmt::format("another process holds the state directory {}: stop it, or give this one a directory of its own", path));
  }
  std::unique_ptr<StateDir> state(new StateDir(path, lock));
  TG_RETURN_IF_ERROR(state->Load());
  return state;
}

StateDir::~StateDir() {
  {
    base::Lock lock(mu_);
    stopping_ = true;
    wake_.notify_all();
  }
  if (flusher_.joinable()) flusher_.join();
  if (file_ >= 0) ::close(file_);
  ::close(lock_);
}

absl::Status StateDir::Load() {
  const std::string file = path_ + "/journal.state";
  if (!std::filesystem::exists(file)) {
    instance_ = base::InstanceId::New();
    return absl::OkStatus();
  }
  TG_ASSIGN(const std::string text, base::ReadFile(file));
  std::istringstream in(text);
  std::string magic, instance, leaf;
  std::int64_t log_id = 0;
  if (!(in >> magic >> instance >> log_id >> acknowledged_) || magic != kMagic || log_id < 1 || log_id > INT16_MAX || acknowledged_ < 0)
    return Damaged(file);
  if (!(in >> epoch_ >> accepted_us_)) epoch_ = accepted_us_ = 0;  // Of a version from before.
  since_ = acknowledged_;
  if (in >> leaf && !(ReadLeaf(leaf, leaf_) && in >> since_)) return Damaged(file);
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0) written_day_ = info.st_mtime / 86'400;
  const auto id = base::Uuid::Parse(instance);
  if (!id.ok()) return Damaged(file);
  instance_ = base::InstanceId(*id);
  log_id_ = static_cast<std::int32_t>(log_id);
  return absl::OkStatus();
}

std::string StateDir::Text(std::int64_t size, const std::optional<base::Digest>& leaf) const {
  return fmt::format("{} {} {:5} {:19} {:19} {:19} {:64} {:19}\n", kMagic, instance_.ToString(), log_id_.value_or(0), size, epoch_,
                     accepted_us_, leaf ? base::HexEncode(base::View(*leaf)) : std::string(kNoLeaf), since_);
}

absl::Status StateDir::SetLog(std::int32_t log_id, std::int64_t size, std::int64_t epoch, std::int64_t accepted_us,
                              const std::optional<base::Digest>& leaf) {
  log_id_ = log_id;
  acknowledged_ = since_ = size;
  leaf_ = leaf;
  epoch_ = epoch;
  accepted_us_ = accepted_us;
  const std::string file = path_ + "/journal.state";
  TG_RETURN_IF_ERROR(base::WriteFileAtomically(file, Text(size, leaf), 0600));
  if (file_ >= 0) ::close(file_);
  file_ = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (file_ < 0) return base::FailedPrecondition(fmt::format("{} cannot be written to: check its owner and mode", file));
  written_ = durable_ = size;
  return absl::OkStatus();
}

void StateDir::Acknowledged(std::int64_t size, const std::optional<base::Digest>& leaf) {
  const std::string text = Text(size, leaf);
  if (::pwrite(file_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return base::Warn("audit", "the state directory {} cannot be written to: a rolled-back database might not be noticed", path_);
  }
  written_ = size;
}

void StateDir::KeepDurable(std::chrono::milliseconds every) {
  flusher_ = std::thread([this, every] {
    bool stopping = false;
    while (!stopping) {
      {
        base::Lock lock(mu_);
        stopping = wake_.wait_for(lock.native(), every, [this]() REQUIRES(mu_) { return stopping_; });
      }
      Flush();
    }
  });
}

// What is written meanwhile may be on disk, too, or is flushed the next time.
void StateDir::Flush() {
  const std::int64_t written = written_;
  if (written == durable_) return;
  if (::fdatasync(file_) != 0) {
    return base::Warn(
        "audit", "the state directory {} cannot be flushed: a database rolled back while this host went down might not be noticed", path_);
  }
  durable_ = written;
}

}  // namespace tollgate::audit
