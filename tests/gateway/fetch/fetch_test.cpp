// Files come whole, or not at all, from a path, over HTTP and from S3; what was broken off goes on; what is not what was meant is removed.
#include "gateway/fetch/fetch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "base/encoding.h"
#include "tests/gateway/fetch/file_server.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using fetch::Fetch;
using fetch::FetchOptions;
using inference::test::Gguf;

namespace {

struct World {
  FetchOptions From(const std::string& source) const {
    FetchOptions options;
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

  const std::string model = Gguf::Tiny().Bytes();
  test::TempDir dir;
  test::TempDir elsewhere;
};

// A user for whom a folder's mode counts: root becomes nobody while this lives.
class PlainUser {
 public:
  explicit PlainUser(const std::string& folder, mode_t mode) : folder_(folder), root_(::geteuid() == 0) {
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

TEST_CASE("A file comes from a path, and a second time it is there already") {
  World world;
  REQUIRE(base::WriteFileAtomically(world.elsewhere.File("tiny.gguf"), world.model, 0644).ok());
  FetchOptions options = world.From(world.elsewhere.File("tiny.gguf"));
  std::int64_t told = 0;
  options.progress = [&told](std::int64_t bytes) { told = bytes; };
  const auto fetched = Fetch(options);
  INFO(base::Message(fetched.status()));
  REQUIRE(fetched.ok());
  CHECK(fetched->path == world.dir.File("tiny.gguf"));
  CHECK(fetched->bytes == static_cast<std::int64_t>(world.model.size()));
  CHECK(told == fetched->bytes);
  CHECK(world.Content("tiny.gguf") == world.model);
  const auto again = Fetch(options);
  REQUIRE(again.ok());
  CHECK(again->was_there);
  options.sha256 = base::Sha256("another");
  CHECK(absl::IsAlreadyExists(Fetch(options).status()));
  options.name = "other.gguf";
  CHECK(absl::IsDataLoss(Fetch(options).status()));
  CHECK_FALSE(std::filesystem::exists(world.dir.File("other.gguf.part")));
}

TEST_CASE("What was broken off goes on where it was, also against a server that knows no ranges") {
  for (const bool ranges : {true, false}) {
    World world;
    test::FileServer server("/models/tiny.gguf", world.model);
    server.knows_ranges = ranges;
    server.cut_after = 100;
    const FetchOptions options = world.From(server.Url("/models/tiny.gguf"));
    const auto broken = Fetch(options);
    CHECK(absl::IsUnavailable(broken.status()));
    CHECK(base::Message(broken.status()).find("100 bytes are kept") != std::string::npos);
    CHECK(world.Content("tiny.gguf.part") == world.model.substr(0, 100));
    CHECK_FALSE(std::filesystem::exists(world.dir.File("tiny.gguf")));
    server.cut_after = SIZE_MAX;
    const auto fetched = Fetch(options);
    INFO(base::Message(fetched.status()));
    REQUIRE(fetched.ok());
    CHECK(fetched->resumed_from == (ranges ? 100 : 0));
    CHECK(world.Content("tiny.gguf") == world.model);
    CHECK(server.requests().back().find("Range: bytes=100-") != std::string::npos);
  }
}

TEST_CASE("A part that is whole is looked at and put in its place; one that is wrong is removed") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  const FetchOptions options = world.From(server.Url("/tiny.gguf?version=2"));
  test::FileServer asked("/tiny.gguf?version=2", world.model);
  REQUIRE(base::WriteFileAtomically(world.dir.File("tiny.gguf.part"), world.model, 0644).ok());
  REQUIRE(Fetch(world.From(asked.Url("/tiny.gguf?version=2"))).ok());
  std::filesystem::remove(world.dir.File("tiny.gguf"));
  REQUIRE(base::WriteFileAtomically(world.dir.File("tiny.gguf.part"), std::string(10, 'x'), 0644).ok());
  const auto wrong = Fetch(world.From(asked.Url("/tiny.gguf?version=2")));
  CHECK(absl::IsDataLoss(wrong.status()));
  CHECK(world.Empty());
  CHECK(absl::IsNotFound(Fetch(options).status()));
  CHECK(world.Empty());
}

TEST_CASE("A file that is meant and no sound model is refused as well") {
  World world;
  const std::string damaged = world.model.substr(0, 40);
  REQUIRE(base::WriteFileAtomically(world.elsewhere.File("bad.gguf"), damaged, 0644).ok());
  FetchOptions options = world.From(world.elsewhere.File("bad.gguf"));
  options.sha256 = base::Sha256(damaged);
  CHECK(absl::IsInvalidArgument(Fetch(options).status()));
  CHECK(world.Empty());
}

TEST_CASE("An adapter is brought like a model: it has no vocabulary of its own") {
  World world;
  inference::test::Gguf file;
  file.Raw("general.type", 8, inference::test::PackedText("adapter")).Tensor("blk.0.attn_q.weight.lora_a", {8, 2}, 0);
  REQUIRE(base::WriteFileAtomically(world.elsewhere.File("legal.gguf"), file.Bytes(), 0644).ok());
  FetchOptions options = world.From(world.elsewhere.File("legal.gguf"));
  options.sha256 = base::Sha256(file.Bytes());
  CHECK(Fetch(options).ok());
}

TEST_CASE("S3 is asked with a signature where there is a key, and without where there is none") {
  World world;
  test::FileServer server("/models/llm/tiny.gguf", world.model);
  FetchOptions options = world.From("s3://models/llm/tiny.gguf");
  options.s3_endpoint = server.Url("");
  REQUIRE(Fetch(options).ok());
  CHECK(server.requests().back().find("Authorization") == std::string::npos);
  std::filesystem::remove(world.dir.File("tiny.gguf"));
  options.s3_key_id = "AKIAEXAMPLE";
  options.s3_secret = "secret";
  options.s3_session_token = "token";
  options.s3_region = "eu-central-1";
  const auto fetched = Fetch(options);
  INFO(base::Message(fetched.status()));
  REQUIRE(fetched.ok());
  const std::string head = server.requests().back();
  CHECK(head.find("Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/") != std::string::npos);
  CHECK(head.find("/eu-central-1/s3/aws4_request") != std::string::npos);
  CHECK(head.find("x-amz-security-token: token") != std::string::npos);
  CHECK(head.find("secret") == std::string::npos);
}

TEST_CASE("What goes wrong is told without a URL's user and query, which may be secrets") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  const std::string host = server.Url("").substr(std::string("http://").size());
  struct Row {
    std::string source, shown;
  };
  const Row rows[] = {
      {"http://ann:hunter2@" + host + "/gone.gguf?X-Amz-Signature=hunter2", "http://" + host + "/gone.gguf: the server answered 404"},
      {"http://ann:hunter2@127.0.0.1:1/x.gguf?key=hunter2#hunter2", "http://127.0.0.1:1/x.gguf: "},
      {"http://" + host + "/gone@home.gguf?a=hunter2/@b", "http://" + host + "/gone@home.gguf: the server answered 404"},
      {"s3://bucket?hunter2", "s3://bucket: write"},
      {"ftp://ann:hunter2@models.example/x.gguf", "ftp://models.example/x.gguf: there is no such file"},
  };
  for (const Row& row : rows) {
    FetchOptions options = world.From(row.source);
    options.name = "x.gguf";
    const std::string told = base::Message(Fetch(options).status());
    INFO(row.source << " -> " << told);
    CHECK(told.starts_with(row.shown));
    CHECK(told.find("hunter2") == std::string::npos);
    CHECK(world.Empty());
  }
}

TEST_CASE("Sources, names and folders that make no sense are refused before anything is asked for") {
  World world;
  const auto refused = [&](const std::string& source, const std::string& name, absl::StatusCode code) {
    FetchOptions options = world.From(source);
    options.name = name;
    const auto status = Fetch(options).status();
    INFO(source << " as " << name << ": " << base::Message(status));
    CHECK(status.code() == code);
    CHECK(world.Empty());
  };
  refused("https://models.example/", "", absl::StatusCode::kInvalidArgument);
  refused("/tmp/x.gguf", "../x.gguf", absl::StatusCode::kInvalidArgument);
  refused("/tmp/x.gguf", ".hidden", absl::StatusCode::kInvalidArgument);
  refused("s3://bucket", "x.gguf", absl::StatusCode::kInvalidArgument);
  refused("s3:///key", "x.gguf", absl::StatusCode::kInvalidArgument);
  refused(world.elsewhere.File("gone.gguf"), "", absl::StatusCode::kNotFound);
  refused("http://127.0.0.1:1/x.gguf", "", absl::StatusCode::kUnavailable);
  FetchOptions options = world.From("/tmp/x.gguf");
  options.folder = world.dir.File("nowhere");
  CHECK(absl::IsNotFound(Fetch(options).status()));
}

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
