// The lock is flock's, on the part itself: it goes with whoever holds it, however that ends, and is held until the part has its place. Who
// waited between opening and locking may have locked a file that has been renamed or removed since, and would write into what stands at
// FILE: so the path must still lead to what was locked. What is started beside the part is locked as well, before it takes the part's name.
//
// Tested by tests/gateway/fetch/part_test.cpp.
#include "gateway/fetch/part.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace tollgate::fetch {
namespace {

constexpr std::int64_t kLookAgain = 64 << 20;  // Others fill the disk too.

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

Part::Part(std::string file, Half part, std::int64_t reserve)
    : file_(std::move(file)), reserve_(reserve), part_(std::move(part)), resumed_from_(part_.bytes) {
  ::unlink((part_.path + ".new").c_str());  // Of a pull that was killed.
}

absl::StatusOr<std::unique_ptr<Part>> Part::Open(const std::string& file, std::int64_t reserve) {
  const std::string path = file + ".part";
  for (;;) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0666);
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
    if (has.st_nlink > 1) return fail(base::InvalidArgument(fmt::format("{} is another file too (a hard link): remove it", path)));
    const bool same = ::lstat(path.c_str(), &named) == 0 && named.st_dev == has.st_dev && named.st_ino == has.st_ino;
    if (same) return std::unique_ptr<Part>(new Part(file, {path, fd, has.st_size}, reserve));
    ::close(fd);
  }
}

Part::~Part() {
  if (here_ && beside()) ::unlink(again_.path.c_str());
  if (here_ && part_.bytes == 0) ::unlink(part_.path.c_str());
  if (beside()) ::close(again_.fd);
  ::close(part_.fd);
}

// A file system that does not say how large it is has room until it says that it has none.
std::int64_t Part::Room() const {
  struct statvfs disk {};
  if (::fstatvfs(part_.fd, &disk) != 0 || disk.f_blocks == 0) return std::numeric_limits<std::int64_t>::max();
  const auto free = static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize);
  return std::max<std::int64_t>(0, free - reserve_);
}

absl::Status Part::Expect(std::int64_t more) const {
  // What is started again frees what it takes over from.
  const std::int64_t needed = beside() ? std::min(more, std::max(part_.bytes, more - part_.bytes)) : more;
  const std::int64_t room = Room();
  if (needed <= room) return absl::OkStatus();
  const std::string without = beside() ? fmt::format(", or remove {}, since it comes from its start again", part_.path) : "";
  return base::ResourceExhausted(
      fmt::format("{}: {} bytes are to come, and there is room for {} ({} stay free); make room{}; what came is kept", file_, more, room,
                  reserve_, without));
}

absl::Status Part::Put(std::string_view bytes) {
  Half& to = beside() ? again_ : part_;
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (size > granted_) {
    const std::int64_t room = Room();
    if (size > room) {
      return base::ResourceExhausted(fmt::format(
          "{}: {} bytes came, and there is no room for more ({} stay free); make room if that can be right", file_, to.bytes, reserve_));
    }
    granted_ = std::min(room, std::max(kLookAgain, size));
  }
  granted_ -= size;
  while (!bytes.empty()) {
    const ssize_t put = ::write(to.fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FileError(to.path, errno);
    to.bytes += put;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return beside() && again_.bytes > part_.bytes ? TakeOver() : absl::OkStatus();
}

absl::Status Part::StartAgain() {
  const std::string path = part_.path + ".new";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(path, errno);
  again_ = {path, fd, 0};
  resumed_from_ = 0;
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0 ? absl::OkStatus() : FileError(path, errno);
}

absl::Status Part::TakeOver() {
  if (::rename(again_.path.c_str(), part_.path.c_str()) != 0) return FileError(part_.path, errno);
  ::close(part_.fd);
  part_.fd = std::exchange(again_.fd, -1);
  part_.bytes = again_.bytes;
  return absl::OkStatus();
}

absl::Status Part::Flush() { return ::fsync(Written().fd) == 0 ? absl::OkStatus() : FileError(path(), errno); }

void Part::Remove() {
  if (beside()) ::unlink(again_.path.c_str());
  ::unlink(part_.path.c_str());
  here_ = false;
}

absl::Status Part::Place() {
  if (beside()) TG_RETURN_IF_ERROR(TakeOver());
  if (::renameat2(AT_FDCWD, part_.path.c_str(), AT_FDCWD, file_.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return Taken(file_);
    if (errno != EINVAL && errno != ENOSYS) return FileError(file_, errno);
    // Some network file systems cannot do both at once. No other pull comes in between, and anyone else has but an instant for it.
    struct stat there {};
    if (::lstat(file_.c_str(), &there) == 0) return Taken(file_);
    if (::rename(part_.path.c_str(), file_.c_str()) != 0) return FileError(file_, errno);
  }
  here_ = false;
  return FlushFolder(file_);
}

}  // namespace tollgate::fetch
