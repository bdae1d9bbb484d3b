// The lock is flock's, on the part itself: it goes with whoever holds it, however that ends, and is held until the part has its place. Who
// waited between opening and locking may have locked a file that has been renamed or removed since, and would write into what stands at
// FILE: so the path must still lead to what was locked.
//
// Tested by tests/gateway/fetch/fetch_test.cpp.
#include "gateway/fetch/part.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace tollgate::fetch {
namespace {

absl::Status Taken(const std::string& file) {
  return base::AlreadyExists(fmt::format("{}: another file was put there meanwhile, and stands; what came is kept in {}.part", file, file));
}

// The rename lasts once the folder is on disk too; not every file system and user may ask for that.
absl::Status FlushFolder(const std::string& file) {
  const int fd = ::open(file.substr(0, file.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::OkStatus();
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error == 0 || error == EINVAL ? absl::OkStatus() : FileError(file, error);
}

}  // namespace

absl::Status FileError(const std::string& path, int error) {
  const std::string what = fmt::format("{}: {}", path, std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR: return base::NotFound(what);
    case EACCES:
    case EPERM:  // Who pulls is often not who serves, and the usual folder is closed to all but the service.
      return base::PermissionDenied(what + "; run this as a user who may, such as the one that the service runs as");
    case EROFS: return base::PermissionDenied(what);
    case ELOOP:
    case ENAMETOOLONG:
    case EISDIR: return base::InvalidArgument(what);
    case ENOSPC:
    case EDQUOT: return base::ResourceExhausted(what + "; make room and try again; what came is kept");
    default: return base::Unavailable(what + "; what came is kept");
  }
}

Part::Part(std::string file, std::string path, int fd, std::int64_t bytes)
    : file_(std::move(file)), path_(std::move(path)), fd_(fd), bytes_(bytes), resumed_(bytes) {}

absl::StatusOr<std::unique_ptr<Part>> Part::Open(const std::string& file) {
  const std::string path = file + ".part";
  for (;;) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0666);
    if (fd < 0) return FileError(path, errno);
    const auto fail = [fd](const absl::Status& status) {
      ::close(fd);
      return status;
    };
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return fail(FileError(path, errno));
      return fail(base::Unavailable(fmt::format("{}: another pull of this name is running; wait for it, or end it and try again", path)));
    }
    struct stat has {};
    struct stat named {};
    if (::fstat(fd, &has) != 0) return fail(FileError(path, errno));
    if (!S_ISREG(has.st_mode)) return fail(base::InvalidArgument(fmt::format("{} is not a regular file", path)));
    const bool same = ::stat(path.c_str(), &named) == 0 && named.st_dev == has.st_dev && named.st_ino == has.st_ino;
    if (same) return std::unique_ptr<Part>(new Part(file, path, fd, has.st_size));
    ::close(fd);
  }
}

Part::~Part() {
  if (bytes_ == 0 && here_) Remove();
  ::close(fd_);
}

absl::Status Part::Put(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(path_, errno);
    bytes_ += put;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return absl::OkStatus();
}

absl::Status Part::StartAgain() {
  if (::ftruncate(fd_, 0) != 0) return FileError(path_, errno);  // Open for appending: what comes goes to the new end.
  bytes_ = resumed_ = 0;
  return absl::OkStatus();
}

absl::Status Part::Flush() { return ::fsync(fd_) == 0 ? absl::OkStatus() : FileError(path_, errno); }

void Part::Remove() {
  ::unlink(path_.c_str());
  here_ = false;
}

absl::Status Part::Place() {
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, file_.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return Taken(file_);
    if (errno != EINVAL && errno != ENOSYS) return FileError(file_, errno);
    // Some network file systems cannot do both at once. No other pull comes in between, and anyone else has but an instant for it.
    struct stat there {};
    if (::lstat(file_.c_str(), &there) == 0) return Taken(file_);
    if (::rename(path_.c_str(), file_.c_str()) != 0) return FileError(file_, errno);
  }
  here_ = false;
  return FlushFolder(file_);
}

}  // namespace tollgate::fetch
