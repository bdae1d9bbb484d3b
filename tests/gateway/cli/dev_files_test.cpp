// The files by which `tollgate dev` and the command line find each other.
#include <filesystem>
#include <string>

#include <sys/stat.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "gateway/cli/dev_files.h"

using namespace tollgate;
using namespace tollgate::cli;

namespace {
struct Folder {
  Folder() {
    path = (std::filesystem::temp_directory_path() / "tg-dev-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};
}  // namespace

TEST_CASE("Keys come back as they were written, and nobody else may read them") {
  const Folder folder;
  CHECK(ReadDevKeys(folder.path).status().code() == absl::StatusCode::kNotFound);
  REQUIRE(WriteDevKeys(folder.path, {{"owner", "tg_dev_1", "tollgate/operators/admin", "everything"},
                                     {"web", "tg_dev_2", "acme/search/web", "\"quoted\"\n"}})
              .ok());
  const auto keys = ReadDevKeys(folder.path);
  REQUIRE(keys.ok());
  REQUIRE(keys->size() == 2);
  CHECK((*keys)[1].use == "\"quoted\"\n");
  CHECK(SecretOf(*keys, "web") == "tg_dev_2");
  CHECK(SecretOf(*keys, "nobody").empty());
  struct stat info {};
  REQUIRE(::stat((folder.path + "/keys.json").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("Endpoints come back as they were written, and go with the program") {
  const Folder folder;
  REQUIRE(WriteDevEndpoints(folder.path, {8080, 8081, 8083, 8084, "smollm2", "acme", 77}).ok());
  const auto at = ReadDevEndpoints(folder.path);
  REQUIRE(at.ok());
  CHECK(at->admin_port == 8083);
  CHECK(at->model == "smollm2");
  CHECK(at->org == "acme");
  CHECK(at->pid == 77);
  RemoveDevEndpoints(folder.path);
  CHECK(ReadDevEndpoints(folder.path).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("A damaged file is told as such") {
  const Folder folder;
  for (const char* text : {"", "{", "[]", "7", "{\"keys\": 3}"}) {
    REQUIRE(base::WriteFileAtomically(folder.path + "/keys.json", text, 0600).ok());
    CHECK(ReadDevKeys(folder.path).status().code() == absl::StatusCode::kDataLoss);
  }
}
