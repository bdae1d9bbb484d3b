// The part: what has come of a file, in FILE.part beside its place. One pull at a time has it, and nothing that stands at FILE is replaced.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::fetch {

// Why a file or folder cannot be used, by its errno: NOT_FOUND; PERMISSION_DENIED; INVALID_ARGUMENT, a path that cannot be one;
// RESOURCE_EXHAUSTED, a full disk; else UNAVAILABLE. The last two say that what came is kept.
absl::Status FileError(const std::string& path, int error);

class Part {
 public:
  // Of the file that shall stand at `file`. UNAVAILABLE: another pull has it.
  static absl::StatusOr<std::unique_ptr<Part>> Open(const std::string& file);
  ~Part();  // Lets go of it; it stays, unless it is empty.
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t bytes() const { return bytes_; }           // In it.
  std::int64_t resumed_from() const { return resumed_; }  // Brought by an earlier pull, and gone on from by this one.

  absl::Status Put(std::string_view bytes);  // After what is there.
  absl::Status StartAgain();                 // With nothing.
  absl::Status Flush();                      // What was put will be there after a power cut.
  void Remove();
  absl::Status Place();  // It is the file now. ALREADY_EXISTS: something else came to stand there; both stay.

 private:
  Part(std::string file, std::string path, int fd, std::int64_t bytes);

  const std::string file_, path_;
  const int fd_;
  std::int64_t bytes_, resumed_;
  bool here_ = true;  // Afterwards the path may be another pull's.
};

}  // namespace tollgate::fetch
