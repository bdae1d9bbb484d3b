#include "tests/support/temp_dir.h"

#include <cstdlib>
#include <filesystem>

#include "base/status.h"

namespace tollgate::test {

TempDir::TempDir() {
  char name[] = "/tmp/tg-XXXXXX";
  TG_CHECK(::mkdtemp(name) != nullptr, "no temporary folder can be made in /tmp");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tollgate::test
