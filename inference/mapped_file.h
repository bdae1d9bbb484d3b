// A file's bytes, read-only, mapped. Errors name the path. The file must not shrink while it is mapped.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/status.h"

namespace tollgate::inference {

// A load that was broken off, because whoever loads was told to stop.
absl::Status BrokenOff();

class MappedFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED, or INVALID_ARGUMENT for what is not a regular file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::string_view bytes() const { return {data_, size_}; }

  // Their SHA-256. CANCELLED: `go_on` said no.
  absl::StatusOr<base::Digest> Digest(const std::function<bool()>& go_on = {}) const;

 private:
  MappedFile(const char* data, std::size_t size) : data_(data), size_(size) {}

  const char* data_;
  std::size_t size_;
};

}  // namespace tollgate::inference
