// Files come whole, or not at all, from a path, over HTTP and from S3; what was broken off goes on; what is not what was meant is removed.
#include "gateway/fetch/fetch.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "base/encoding.h"
#include "tests/gateway/fetch/fetch_world.h"
#include "tests/gateway/fetch/file_server.h"
#include "tests/inference/tiny_gguf.h"

using namespace tollgate;
using fetch::Fetch;
using fetch::FetchOptions;
using test::World;

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

TEST_CASE("What was not asked for takes nothing from what had come") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  const std::string part = world.model.substr(0, 100);
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part"), part));
  const auto stray = [&](const std::string& answer, const std::string& why) {
    server.AnswerWith(answer);
    const auto status = Fetch(world.From(server.Url("/tiny.gguf"))).status();
    INFO(answer << ": " << base::Message(status));
    CHECK(absl::IsUnavailable(status));
    CHECK(base::Message(status).find(why) != std::string::npos);
    CHECK(world.Content("tiny.gguf.part") == part);
    CHECK_FALSE(std::filesystem::exists(world.dir.File("tiny.gguf.part.new")));
  };
  const std::string rest = "\r\nConnection: close\r\n\r\n";
  stray("HTTP/1.1 200 OK\r\nContent-Length: 10" + rest + "log in now", "sent 10 bytes of something else; 100 bytes are kept");
  stray("HTTP/1.1 200 OK" + rest + std::string(100, 'x'), "sent 100 bytes of something else; 100 bytes are kept");
  stray("HTTP/1.1 200 OK\r\nContent-Length: 0" + rest, "sent 0 bytes of something else; 100 bytes are kept");
  stray("HTTP/1.1 200 OK\r\nContent-Length: 200" + rest + "log in", "100 bytes are kept, try again");
  stray("HTTP/1.1 204 No Content" + rest, "the server answered 204; what came is kept");
  stray("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5" + rest + "later", "the server answered 503; what came is kept");
  server.AnswerWith("");
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part.new"), "of a pull that was killed"));
  const auto fetched = Fetch(world.From(server.Url("/tiny.gguf")));
  INFO(base::Message(fetched.status()));
  REQUIRE(fetched.ok());
  CHECK(fetched->resumed_from == 100);
  CHECK(world.Content("tiny.gguf") == world.model);
  CHECK_FALSE(std::filesystem::exists(world.dir.File("tiny.gguf.part.new")));
}

TEST_CASE("What comes from the start again is kept once it is longer, and is the file if it is right") {
  World world;
  test::FileServer server("/tiny.gguf", world.model);
  server.knows_ranges = false;
  const std::string wrong(100, 'x');
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part"), wrong));
  server.cut_after = 100;
  CHECK(absl::IsUnavailable(Fetch(world.From(server.Url("/tiny.gguf"))).status()));
  CHECK(world.Content("tiny.gguf.part") == wrong);
  server.cut_after = 101;
  CHECK(absl::IsUnavailable(Fetch(world.From(server.Url("/tiny.gguf"))).status()));
  CHECK(world.Content("tiny.gguf.part") == world.model.substr(0, 101));
  server.cut_after = SIZE_MAX;
  REQUIRE(world.Write(world.dir.File("tiny.gguf.part"), std::string(world.model.size() + 50, 'x')));
  const auto fetched = Fetch(world.From(server.Url("/tiny.gguf")));
  INFO(base::Message(fetched.status()));
  REQUIRE(fetched.ok());
  CHECK(fetched->resumed_from == 0);
  CHECK(fetched->bytes == static_cast<std::int64_t>(world.model.size()));
  CHECK(world.Content("tiny.gguf") == world.model);
  std::filesystem::remove(world.dir.File("tiny.gguf"));
  CHECK(world.Empty());
}

TEST_CASE("A bucket in another region is answered with what to set") {
  World world;
  test::FileServer server("/models/tiny.gguf", world.model);
  const auto told = [&](const std::string& head, const std::string& key) {
    server.AnswerWith("HTTP/1.1 " + head + "\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong");
    FetchOptions options = world.From("s3://models/tiny.gguf");
    options.s3_endpoint = server.Url("");
    options.s3_key_id = key;
    options.s3_secret = "secret";
    const auto status = Fetch(options).status();
    INFO(head << ": " << base::Message(status));
    CHECK(absl::IsInvalidArgument(status));
    CHECK(world.Empty());
    return base::Message(status);
  };
  const std::string named = "; the bucket is in eu-west-3: set AWS_REGION to that";
  const std::string unnamed = "; set AWS_REGION to the bucket's region, or AWS_ENDPOINT_URL to its address";
  for (const std::string key : {"", "AKIAEXAMPLE"}) {
    CHECK(told("301 Moved Permanently\r\nx-amz-bucket-region: eu-west-3", key) == "s3://models/tiny.gguf: the server answered 301" + named);
    CHECK(told("301 Moved Permanently", key) == "s3://models/tiny.gguf: the server answered 301" + unnamed);
    CHECK(told("400 Bad Request\r\nx-amz-bucket-region: eu-west-3", key) == "s3://models/tiny.gguf: the server answered 400" + named);
  }
  CHECK(told("307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/", "AKIAEXAMPLE") ==
        "s3://models/tiny.gguf: the server answered 307" + unnamed);
  CHECK(told("301 Moved Permanently\r\nx-amz-bucket-region: <b>here</b>", "") ==
        "s3://models/tiny.gguf: the server answered 301" + unnamed);
}
