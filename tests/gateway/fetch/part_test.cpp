// What a pull writes is its own, and where: one at a time, nothing replaced, nothing beyond what there is room for, and no folder that
// cannot be used is more than an answer.
#include "gateway/fetch/part.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>

#include "tests/gateway/fetch/fetch_world.h"
#include "tests/gateway/fetch/file_server.h"

using namespace tollgate;
using fetch::Fetch;
using fetch::FetchOptions;
using test::World;

namespace {

// A user for whom a folder's mode counts: root becomes nobody while this lives.
class PlainUser {
 public:
  PlainUser(const std::string& folder, mode_t mode) : folder_(folder), root_(::geteuid() == 0) {
    REQUIRE(::chmod(folder.c_str(), mode) == 0);
    if (root_) REQUIRE(::seteuid(65534) == 0);
  }
  ~PlainUser() {
    if (root_) CHECK(::seteuid(0) == 0);
    CHECK(::chmod(folder_.c_str(), 0700) == 0);
  }
  PlainUser(const PlainUser&) = delete;
  PlainUser& operator=(const PlainUser&) = delete;

 private:
  const std::string folder_;
  const bool root_;
};

}  // namespace

TEST_CASE("Of two pulls of one name the second is refused, and the first ends as if it were alone") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part"), world.model.substr(0, 100)));
  REQUIRE(world.Write(world.elsewhere.File("tiny.gguf"), world.model));
  absl::Status second;
  std::string left;
  server.Meanwhile([&] {
    second = Fetch(world.From(world.elsewhere.File("tiny.gguf"))).status();
    left = world.Content("tiny.gguf.part");
  });
  const auto first = Fetch(world.From(server.Url("/tiny.gguf")));
  CHECK(absl::IsUnavailable(second));
  CHECK(base::Message(second).find("another pull of this name is running") != std::string::npos);
  CHECK(left == world.model.substr(0, 100));
  INFO(base::Message(first.status()));
  REQUIRE(first.ok());
  CHECK(first->resumed_from == 100);
  CHECK(world.Content("tiny.gguf") == world.model);
  CHECK_FALSE(std::filesystem::exists(world.dir.File("tiny.gguf.part")));
  const auto again = Fetch(world.From(world.elsewhere.File("tiny.gguf")));  // Nobody holds it any more.
  REQUIRE(again.ok());
  CHECK(again->was_there);
}

TEST_CASE("A file that was put in the place while another came stands, and what came is kept") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  server.Meanwhile([&] { CHECK(world.Write(world.dir.File("tiny.gguf"), "theirs")); });
  const auto fetched = Fetch(world.From(server.Url("/tiny.gguf")));
  INFO(base::Message(fetched.status()));
  CHECK(absl::IsAlreadyExists(fetched.status()));
  CHECK(world.Content("tiny.gguf") == "theirs");
  CHECK(world.Content("tiny.gguf.part") == world.model);
}

TEST_CASE("What came before is gone on with in no file that a link leads to") {
  for (const bool symbolic : {true, false}) {
    INFO((symbolic ? "symbolic" : "hard"));
    World world;
    REQUIRE(world.Write(world.dir.File("theirs"), "theirs"));
    const std::string part = world.dir.File("tiny.gguf.part");
    if (symbolic) std::filesystem::create_symlink(world.dir.File("theirs"), part);
    if (!symbolic) std::filesystem::create_hard_link(world.dir.File("theirs"), part);
    REQUIRE(world.Write(world.elsewhere.File("tiny.gguf"), world.model));
    const absl::Status refused = Fetch(world.From(world.elsewhere.File("tiny.gguf"))).status();
    INFO(base::Message(refused));
    CHECK(absl::IsInvalidArgument(refused));
    CHECK(base::Message(refused).find(part) != std::string::npos);
    CHECK(world.Content("theirs") == "theirs");
    CHECK_FALSE(std::filesystem::exists(world.dir.File("tiny.gguf")));
  }
}

TEST_CASE("Folders and sources that cannot be looked at are refused with the reason") {
  World world;
  std::filesystem::create_symlink("b", world.elsewhere.File("a"));
  std::filesystem::create_symlink("a", world.elsewhere.File("b"));
  REQUIRE(world.Write(world.elsewhere.File("file"), "x"));
  const std::string source = world.elsewhere.File("tiny.gguf");
  REQUIRE(world.Write(source, world.model));
  const auto refused = [&](const std::string& from, const std::string& to, absl::StatusCode code) {
    FetchOptions options = world.From(from);
    options.folder = to;
    options.name = "x.gguf";
    const auto status = Fetch(options).status();
    INFO(from << " to " << to << ": " << base::Message(status));
    CHECK(status.code() == code);
    CHECK(base::Message(status).find(to == world.dir.path() ? from : to) != std::string::npos);
    CHECK(world.Empty());
  };
  refused(source, world.elsewhere.File(std::string(300, 'x')), absl::StatusCode::kInvalidArgument);
  refused(source, world.elsewhere.File("a"), absl::StatusCode::kInvalidArgument);
  refused(source, world.elsewhere.File("a") + "/models", absl::StatusCode::kInvalidArgument);
  refused(source, world.elsewhere.File("file"), absl::StatusCode::kNotFound);
  refused(source, world.elsewhere.File("file") + "/models", absl::StatusCode::kNotFound);
  refused(world.elsewhere.File(std::string(300, 'x')), world.dir.path(), absl::StatusCode::kInvalidArgument);
  refused(world.elsewhere.File("a"), world.dir.path(), absl::StatusCode::kInvalidArgument);
  refused(world.elsewhere.path(), world.dir.path(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(world.dir.File("x.gguf.part"));
  FetchOptions options = world.From(source);
  options.name = "x.gguf";
  CHECK(absl::IsInvalidArgument(Fetch(options).status()));
}

TEST_CASE("A folder that is closed to who pulls says so, and who may use it") {
  World world;
  const auto told = [&](const std::string& folder, mode_t mode) {
    FetchOptions options = world.From("/tmp/x.gguf");
    options.folder = folder;
    const PlainUser user(world.dir.path(), mode);
    const auto status = Fetch(options).status();
    INFO(base::Message(status));
    CHECK(absl::IsPermissionDenied(status));
    return base::Message(status);
  };
  const std::string remedy = ": Permission denied; run this as a user who may, such as the one that the service runs as";
  CHECK(told(world.dir.File("models"), 0) == world.dir.File("models") + remedy);
  CHECK(told(world.dir.path(), 0) == world.dir.File("x.gguf") + remedy);
  CHECK(told(world.dir.path(), 0555) == world.dir.File("x.gguf.part") + remedy);
  CHECK(world.Empty());
}

TEST_CASE("What the disk has no room for is refused, in numbers where the source says how much it is") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  REQUIRE(world.Write(world.elsewhere.File("tiny.gguf"), world.model));
  const auto refused = [&](const std::string& source, const std::string& why) {
    FetchOptions options = world.From(source);
    options.reserve_bytes = INT64_MAX;
    const auto status = Fetch(options).status();
    INFO(base::Message(status));
    CHECK(absl::IsResourceExhausted(status));
    CHECK(base::Message(status).find(why) != std::string::npos);
  };
  const std::string numbers = fmt::format("tiny.gguf: {} bytes are to come, and there is room for 0", world.model.size());
  refused(server.Url("/tiny.gguf"), numbers);
  refused(world.elsewhere.File("tiny.gguf"), numbers);
  server.AnswerWith("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + world.model);  // Says no length; it could be without end.
  refused(server.Url("/tiny.gguf"), "tiny.gguf: 0 bytes came, and there is no room for more");
  CHECK(world.Empty());
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part"), world.model.substr(0, 100)));
  refused(server.Url("/tiny.gguf"), "0 bytes came, and there is no room for more");
  server.AnswerWith("");
  refused(server.Url("/tiny.gguf"), fmt::format("tiny.gguf: {} bytes are to come, and there is room for 0", world.model.size() - 100));
  server.knows_ranges = false;
  refused(server.Url("/tiny.gguf"), "or remove " + world.dir.File("tiny.gguf.part"));
  CHECK(world.Content("tiny.gguf.part") == world.model.substr(0, 100));
}
