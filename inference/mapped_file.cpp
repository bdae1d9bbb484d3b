// A private mapping; the descriptor is closed at once, the mapping keeps the file. An empty file has no mapping, and is no error here.
//
// Tested by tests/inference/gguf_test.cpp.
#include "inference/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

absl::Status OpenError(const std::string& path, int error) {
  const std::string text = fmt::format("{}: {}", path, std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return base::NotFound(text);
  if (error == EACCES || error == EPERM) return base::PermissionDenied(text);
  return base::FailedPrecondition(text);
}

}  // namespace

absl::Status BrokenOff() { return base::Cancelled("its load was broken off: the server is told to stop"); }

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return OpenError(path, errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return OpenError(path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return base::InvalidArgument(fmt::format("{} is not a regular file", path));
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    ::close(fd);
    return MappedFile(nullptr, 0);
  }
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  ::close(fd);
  if (data == MAP_FAILED) return OpenError(path, error);
  return MappedFile(static_cast<const char*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

absl::StatusOr<base::Digest> MappedFile::Digest(const std::function<bool()>& go_on) const {
  if (!go_on) return base::Sha256(bytes());
  const auto digest = base::Sha256While(go_on, bytes());
  if (!digest) return BrokenOff();
  return *digest;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

}  // namespace tollgate::inference
