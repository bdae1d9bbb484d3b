// A folder of one test's own, removed with all it holds when this ends.
#pragma once

#include <string>

namespace tollgate::test {

class TempDir {
 public:
  TempDir();  // /tmp/tg-XXXXXX: short enough for a unix socket in it.
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace tollgate::test
