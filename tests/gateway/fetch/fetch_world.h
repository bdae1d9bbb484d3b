// A model's bytes, a folder that it shall come to, and one that it may come from.
#pragma once

#include <filesystem>
#include <string>

#include "base/encoding.h"
#include "gateway/fetch/fetch.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/support/temp_dir.h"

namespace tollgate::test {

struct World {
  fetch::FetchOptions From(const std::string& source) const {
    fetch::FetchOptions options;
    options.source = source;
    options.folder = dir.path();
    options.sha256 = base::Sha256(model);
    return options;
  }
  std::string Content(const std::string& name) const {
    const auto content = base::ReadFile(dir.File(name));
    return content.ok() ? *content : "";
  }
  bool Empty() const { return std::filesystem::is_empty(dir.path()); }
  bool Write(const std::string& path, const std::string& bytes) const { return base::WriteFileAtomically(path, bytes, 0644).ok(); }

  const std::string model = inference::test::Gguf::Tiny().Bytes();
  TempDir dir;
  TempDir elsewhere;
};

}  // namespace tollgate::test
