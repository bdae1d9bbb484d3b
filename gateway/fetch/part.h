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
  // Of the file that shall stand at `file`. `reserve`: bytes that stay free on its disk. UNAVAILABLE: another pull has it.
  static absl::StatusOr<std::unique_ptr<Part>> Open(const std::string& file, std::int64_t reserve);
  ~Part();  // Lets go of it; it stays, unless it is empty. Of what was started beside it nothing stays.
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;

  const std::string& path() const { return Written().path; }   // Of what is written to.
  std::int64_t bytes() const { return Written().bytes; }       // In that.
  std::int64_t kept() const { return part_.bytes; }            // In what the next pull finds.
  std::int64_t resumed_from() const { return resumed_from_; }  // Brought by an earlier pull, and gone on from by this one.

  // RESOURCE_EXHAUSTED, in numbers: there is no room for so many more.
  absl::Status Expect(std::int64_t more) const;
  // After what is there. RESOURCE_EXHAUSTED: no room.
  absl::Status Put(std::string_view bytes);

  // From nothing, beside what there is, and in its stead as soon as it is longer.
  absl::Status StartAgain();
  bool beside() const { return again_.fd >= 0; }  // Started again, and not longer yet.

  absl::Status Flush();  // What was put will be there after a power cut.
  void Remove();
  absl::Status Place();  // What was written to is the file now. ALREADY_EXISTS: something else came to stand there; both stay.

 private:
  struct Half {
    std::string path;
    int fd = -1;
    std::int64_t bytes = 0;
  };
  Part(std::string file, Half part, std::int64_t reserve);
  const Half& Written() const { return beside() ? again_ : part_; }
  std::int64_t Room() const;
  absl::Status TakeOver();

  const std::string file_;
  const std::int64_t reserve_;
  Half part_, again_;
  std::int64_t resumed_from_;
  std::int64_t granted_ = 0;  // May be written before the disk is looked at again.
  bool here_ = true;          // Afterwards the path may be another pull's.
};

}  // namespace tollgate::fetch
