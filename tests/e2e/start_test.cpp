// What is not as it must be refuses the start, and says what to do.
#include <signal.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <regex>
#include <sstream>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/gateway.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/table_lock.h"
#include "tests/inference/tiny_gguf.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;

struct Refused {
  int code = -1;
  std::string says;
};

Refused Start(const Installation& installation, const InstanceOptions& options) {
  const auto process = Gateway::Launch(installation, options);
  const auto code = process->Wait(milliseconds(30'000));
  return {code.value_or(-1), process->Err()};
}

// The owner's URL of one of the databases that a configuration names: "url" or "keys_url".
std::string OwnersUrl(const Installation& installation, const std::string& config, const std::string& field) {
  const auto text = base::ReadFile(config);
  REQUIRE(text.ok());
  const auto begin = text->find(" " + field + ": ") + field.size() + 3;
  return installation.cluster().UrlAs(text->substr(begin, text->find('\n', begin) - begin), "tollgate");
}

}  // namespace

TEST_CASE("A corrupt model file is refused at the start, by name, and the program ends") {
  Installation installation;
  const std::string good = TOLLGATE_SOURCE_DIR "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  const auto bytes = base::ReadFile(good);
  REQUIRE(bytes.ok());
  struct Row {
    const char* name;
    std::function<std::string()> make;
  };
  const Row rows[] = {{"empty", [] { return std::string(); }},
                      {"text", [] { return std::string(5000, 'x'); }},
                      {"cut in its head", [&] { return bytes->substr(0, 1000); }},
                      {"cut in its tensors", [&] { return bytes->substr(0, bytes->size() / 2); }},
                      {"cut by a byte", [&] { return bytes->substr(0, bytes->size() - 1); }},
                      {"too many tensors", [&] { return bytes->substr(0, 8) + std::string(8, '\x7f') + bytes->substr(16, 100'000); }},
                      {"another magic", [&] { return "GGML" + bytes->substr(4, 100'000); }}};
  for (const Row& row : rows) {
    INFO(row.name);
    const std::string file = installation.folder() + "/model.gguf";
    REQUIRE(base::WriteFileAtomically(file, row.make(), 0644).ok());
    const auto process = Gateway::Launch(installation, {.model_name = "broken", .model_file = file});
    const auto code = process->Wait(milliseconds(20'000));
    INFO(process->Err());
    CHECK(code == 1);
    CHECK(process->Err().find("broken") != std::string::npos);
  }
  Books books(installation);
  CHECK(books.Requests() == 0);
}

TEST_CASE("A configuration that is not right refuses the start and names the line") {
  Installation installation;
  const std::pair<std::string, std::string> rows[] = {
      {"segment_millis", "100"}, {"segment_ms", "fast"}, {"segment_ms", "999999999"}, {"requests.body_bytes_max", "1"}};
  for (const auto& [field, value] : rows) {
    const auto process = Gateway::Launch(installation, {.extra = {{field, value}}});
    CHECK(process->Wait(milliseconds(10'000)) == 1);
    INFO(process->Err());
    CHECK(process->Err().find(field.substr(field.rfind('.') + 1)) != std::string::npos);
    CHECK(process->Err().find(".yaml:") != std::string::npos);
  }
}

TEST_CASE("Secrets and databases that are not right refuse the start, in words that name no secret") {
  Installation installation;
  const std::string folder = installation.folder();
  const std::string hex(64, 'a');
  const auto secret = [&](const std::string& name, const std::string& text, unsigned mode) {
    REQUIRE(base::WriteFileAtomically(folder + "/" + name, text, mode).ok());
    return folder + "/" + name;
  };
  const std::string nowhere = "postgresql:///nothing_here?host=" + folder + "&user=tollgate";
  auto sql = installation.Sql();
  const std::string server = installation.main_url().substr(installation.main_url().find('?') + 1);
  const std::string empty = installation.cluster().UrlAs(installation.cluster().NewDatabase(), "tollgate");
  const std::string good = installation.Configure({});
  struct Row {
    std::string field, value;
    const char* says;
  };
  const Row rows[] = {
      {"secrets.root_key_file", secret("other_key", hex, 0600), "root key"},  // Not the one that the keys were made under.
      {"secrets.root_key_file", secret("open_key", hex, 0644), "open_key"},   // Everybody may read it.
      {"secrets.root_key_file", secret("short_key", "abc123", 0600), "short_key"},
      {"secrets.root_key_file", secret("dev_key", "# tollgate dev\n" + hex, 0600), "tollgate dev"},
      {"secrets.root_key_file", folder + "/no_such_file", "no_such_file"},
      {"secrets.pepper_file", secret("dev_pepper", "# tollgate dev\n" + hex, 0600), "tollgate dev"},
      {"postgres.url", nowhere, "Postgres"},
      {"postgres.url", empty, "tollgate migrate"},
      {"postgres.keys_url", empty, "tollgate migrate"},
      {"postgres.url", "postgresql://tollgate:hunter2@localhost/x", "password"},
      // Owners and superusers, and what goes over a network unguarded.
      {"postgres.url", OwnersUrl(installation, good, "url"), "tollgate migrate --database-url FILE"},
      {"postgres.url", installation.main_url(), "postgres.url: the login postgres is superuser"},
      {"postgres.keys_url", OwnersUrl(installation, good, "keys_url"), "CREATE ROLE tollgate_serve LOGIN"},
      {"postgres.url", "postgresql://tollgate_serve@127.0.0.1/x", "add sslmode=verify-full to it"},
      {"postgres.url", "postgresql://tollgate_serve@127.0.0.1/x?sslmode=require", "add sslmode=verify-full to it"},
      {"postgres.keys_url", "postgresql://tollgate_serve@db.example/x?sslmode=verify-ca", "keys_url: the database URL leads over TCP"},
      {"postgres.url", "postgresql://tollgate_serve@127.0.0.1:1/x?sslmode=verify-full", "nothing answers"},
  };
  for (const Row& row : rows) {
    const Refused refused = Start(installation, {.extra = {{row.field, row.value}}});
    INFO(row.field << ": " << row.value << " -> " << refused.code << " " << refused.says);
    CHECK((refused.code == 1 || refused.code == 3));
    CHECK(refused.says.find(row.says) != std::string::npos);
    CHECK(refused.says.find(hex) == std::string::npos);
    CHECK(refused.says.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("migrate takes the owner's URLs from files that others cannot read, and tells who serves with them that serve will not") {
  Installation installation;
  const std::string config = installation.Configure({});
  const std::string owner = OwnersUrl(installation, config, "url"), owner_of_keys = OwnersUrl(installation, config, "keys_url");
  struct Row {
    std::string url;
    unsigned mode;
    int code;
    const char* says;
  };
  const Row rows[] = {{owner, 0600, 0, "0 applied"},  // Again: there is nothing to do, and no second key.
                      {owner, 0644, 1, "chmod 600"},
                      {"postgresql://tollgate@db.example/x", 0600, 1, "--database-url: the database URL leads over TCP"}};
  for (const Row& row : rows) {
    INFO(row.url);
    const std::string file = installation.folder() + "/owner_url", keys_file = installation.folder() + "/owner_keys_url";
    REQUIRE(base::WriteFileAtomically(file, row.url, row.mode).ok());
    REQUIRE(base::WriteFileAtomically(keys_file, owner_of_keys, 0600).ok());
    const Finished migrated = RunTollgate({"migrate", "--config", config, "--database-url", file, "--keys-url", keys_file});
    INFO(migrated.err);
    CHECK(migrated.code == row.code);
    CHECK(migrated.out == "");
    CHECK(migrated.err.find(row.says) != std::string::npos);
    CHECK(migrated.err.find("note, if `serve`") == std::string::npos);
    // The database is a copy, and who may connect is not copied, nor restored.
    CHECK((migrated.err.find("note: every login of this Postgres server may connect") != std::string::npos) == (row.code == 0));
  }
  // Without the owner's files the configuration's URLs are the owner's; what serve will say of them is said at once.
  const std::string own = installation.Configure({.state = "b", .extra = {{"postgres.url", owner}, {"postgres.keys_url", owner_of_keys}}});
  const Finished migrated = RunTollgate({"migrate", "--config", own});
  INFO(migrated.err);
  CHECK(migrated.code == 0);
  CHECK(migrated.err.find("note, if `serve` is to take this configuration: postgres.url: the login tollgate owns the database") !=
        std::string::npos);
  // Serve's own login makes no tables.
  const Finished wrong = RunTollgate({"migrate", "--config", config});
  INFO(wrong.err);
  CHECK(wrong.code == 1);
  CHECK(wrong.err.find("give the owner's URLs with --database-url FILE --keys-url FILE") != std::string::npos);
}

TEST_CASE("migrate needs no models, and the installation's secrets only where it makes a key, which goes where it was asked to go") {
  Installation installation;
  const std::string folder = installation.folder(), gone = folder + "/gone", key_file = folder + "/owner_key";
  const auto migrate = [&](const std::string& config, const std::string& url, const std::string& keys_url, std::vector<std::string> more) {
    REQUIRE(base::WriteFileAtomically(folder + "/url", url, 0600).ok());
    REQUIRE(base::WriteFileAtomically(folder + "/keys_url", keys_url, 0600).ok());
    more.insert(more.begin(), {"migrate", "--config", config, "--database-url", folder + "/url", "--keys-url", folder + "/keys_url"});
    return RunTollgate(more, milliseconds(120'000));
  };
  const InstanceOptions bare{.model_file = gone, .extra = {{"secrets.root_key_file", gone}, {"secrets.pepper_file", gone}}};
  const std::string good = installation.Configure({});
  const std::string owner = OwnersUrl(installation, good, "url"), owner_of_keys = OwnersUrl(installation, good, "keys_url");
  const Finished without = migrate(installation.Configure(bare), owner, owner_of_keys, {});
  INFO(without.err);
  CHECK(without.code == 0);
  CHECK(without.err.find("secrets.root_key_file is not here") != std::string::npos);

  const auto keys = [&] { return installation.Sql()->Run("count keys", "SELECT count(*) FROM directory.key")->Int(0, 0); };
  const std::int64_t before = keys();
  const std::vector<std::string> into_file = {"--new-owner", "eve@example.com", "--owner-key-file", key_file};
  const Finished made = migrate(installation.Configure({}), owner, owner_of_keys, into_file);
  INFO(made.err);
  CHECK(made.code == 0);
  CHECK(made.out.empty());
  CHECK(base::ReadFile(key_file).value_or("").starts_with("tg_live_"));
  struct stat info {};
  REQUIRE(::stat(key_file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const Finished again = migrate(installation.Configure({}), owner, owner_of_keys, into_file);
  CHECK(again.code == 1);
  CHECK(again.err.find("owner_key cannot be made: File exists") != std::string::npos);
  CHECK(keys() == before + 1);

  const std::string fresh = installation.cluster().NewDatabase(), fresh_keys = installation.cluster().NewDatabase();
  InstanceOptions first = bare;
  first.extra["postgres.url"] = installation.cluster().UrlAs(fresh, "tollgate_serve");
  first.extra["postgres.keys_url"] = installation.cluster().UrlAs(fresh_keys, "tollgate_serve");
  const Finished none = migrate(installation.Configure(first), fresh, fresh_keys, {});
  INFO(none.err);
  CHECK(none.code == 0);
  CHECK(none.out.empty());  // What is no terminal may be kept by others.
  CHECK(none.err.find("there is no key yet, and none was asked for") != std::string::npos);
  const Finished asked = migrate(installation.Configure(first), fresh, fresh_keys, {"--owner", "ann@example.com"});
  CHECK(asked.code == 1);
  CHECK(asked.err.find(gone) != std::string::npos);
}

TEST_CASE("Why a start is refused is told as diagnostics are: in JSON, for a collector") {
  Installation installation;
  const std::string other = installation.folder() + "/other_key";
  REQUIRE(base::WriteFileAtomically(other, std::string(64, 'a'), 0600).ok());
  const Refused refused = Start(installation, {.extra = {{"diagnostics.json", "true"}, {"secrets.root_key_file", other}}});
  INFO(refused.says);
  CHECK(refused.code == 1);
  std::istringstream lines(refused.says);
  std::string line, text;
  while (std::getline(lines, line)) {
    boost::json::error_code error;
    const boost::json::value event = boost::json::parse(line, error);
    REQUIRE_FALSE(error);
    text.assign(event.at("text").as_string().data(), event.at("text").as_string().size());
    if (lines.peek() == EOF) CHECK(event.at("level").as_string() == "error");
  }
  CHECK(text.find("root key") != std::string::npos);
}

TEST_CASE("Two instances never share a state folder, and the first is unharmed") {
  Installation installation;
  Gateway first(installation);
  const Refused second = Start(installation, {});
  INFO(second.says);
  CHECK(second.code == 1);
  CHECK(second.says.find("state_a") != std::string::npos);
  Admin admin(first, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  CHECK(Eventually([&] { return Ask(PortsOf(first), Surface::kGrpcStream, {.key = key, .prompt = "hello"}).done; }));
}

TEST_CASE("Starting, serving and stopping ask Postgres for nothing that they may not do") {
  Installation installation;
  const std::size_t before = installation.cluster().Log().size();
  Gateway gateway(installation);
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  REQUIRE(Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done; }));
  CHECK(gateway.Stop() == 0);
  const std::string log = installation.cluster().Log().substr(before);
  INFO(log);
  CHECK(log.find("ERROR") == std::string::npos);
}

TEST_CASE("A port that is taken is told before a model is read, and a signal to stop between the steps of a start") {
  Installation installation;
  Gateway gateway(installation);
  const Refused taken = Start(installation, {.state = "b",
                                             .model_name = "broken",
                                             .model_file = installation.Configure({.state = "c"}),  // No model.
                                             .extra = {{"listeners.http", fmt::format("{{ port: {} }}", gateway.http_port())}}});
  INFO(taken.says);
  CHECK(taken.code == 1);
  CHECK(taken.says.find(fmt::format("listener http: cannot listen on 127.0.0.1:{}", gateway.http_port())) != std::string::npos);

  std::optional<TableLock> lock(std::in_place, installation, "audit.log_head");
  const auto starting = Gateway::Launch(installation, {.state = "b"});
  REQUIRE(starting->WaitForErr("records and keys lie in one Postgres cluster", milliseconds(30'000)));
  REQUIRE(lock->Bites());
  starting->Signal(SIGTERM);
  lock.reset();
  CHECK(starting->Wait(milliseconds(30'000)) == 0);
  INFO(starting->Err());
  CHECK(starting->Err().find("told to stop before it served") != std::string::npos);
  CHECK(starting->Err().find("ready: grpc") == std::string::npos);
}

TEST_CASE("While a model of tollgate.yaml is loaded the probes' port is open and says so, and a signal to stop breaks the load off") {
  Installation installation;
  const std::string file = installation.folder() + "/large.gguf";
  REQUIRE(base::WriteFileAtomically(file, tollgate::inference::test::Gguf::Tiny().Bytes(), 0644).ok());
  std::filesystem::resize_file(file, std::uintmax_t{1} << 40);  // Of which the disk holds next to nothing, and which takes long to read.
  const std::map<std::string, std::string> digest = {{"sha256", std::string(64, 'a')}};
  const InstanceOptions rows[] = {{.model_name = "large", .model_file = file},
                                  {.model_name = "large", .model_file = file, .model = digest},
                                  {.model_name = "large", .model_file = file, .isolation = "process", .model = digest}};
  for (const InstanceOptions& row : rows) {
    INFO(row.isolation << ", " << row.model.size());
    const auto starting = Gateway::Launch(installation, row);
    REQUIRE(starting->WaitForErr("models to be loaded", milliseconds(30'000)));
    std::smatch match;
    const std::string says = starting->Err();
    REQUIRE(std::regex_search(says, match, std::regex(R"(probes are answered on port (\d+))")));
    const int port = std::stoi(match[1]);
    CHECK(Get(port, "/healthz").status == 200);
    const HttpReply ready = Get(port, "/readyz");
    CHECK(ready.status == 503);
    CHECK(ready.body.find("pool: model large is being loaded") != std::string::npos);
    CHECK(Get(port, "/metrics").body.find("tollgate_ready 0") != std::string::npos);
    starting->Signal(SIGTERM);
    CHECK(starting->Wait(milliseconds(30'000)) == 0);
    INFO(starting->Err());
    CHECK(starting->Err().find("told to stop before it served") != std::string::npos);
  }
}

TEST_CASE("Told to stop, by a terminal that closes too, it is not ready and serves on until balancers may know, or for a second signal") {
  Installation installation;
  Gateway gateway(installation, {.extra = {{"drain_wait_ms", "600000"}}});
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  const auto answered = [&](Surface surface) { return Ask(PortsOf(gateway), surface, {.key = key, .prompt = "hello"}).text == "hello"; };
  REQUIRE(Eventually([&] { return answered(Surface::kHttpPlain); }));
  gateway.process().Signal(SIGHUP);
  CHECK(gateway.process().WaitForErr("stopping: /readyz says so", milliseconds(20'000)));
  CHECK(gateway.Readiness() == 503);
  CHECK_FALSE(gateway.Serving());
  for (const Surface surface : kSurfaces) CHECK(answered(surface));
  gateway.process().Signal(SIGTERM);
  CHECK(gateway.process().Wait(milliseconds(60'000)) == 0);
  CHECK(gateway.process().Err().find("drained: every request has ended") != std::string::npos);
  Books books(installation);
  CHECK(books.Open() == 0);
  CHECK(books.Check() == "");
}

TEST_CASE("A reply that is on its way when the instance is told to stop arrives whole, however slowly it is read") {
  Installation installation;
  Gateway gateway(installation, {.extra = {{"drain_ms", "600000"}}});
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  REQUIRE(Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done; }));
  Books books(installation);
  const std::int64_t before = books.Requests();
  HttpConnection reader(gateway.http_port(), milliseconds(60'000), 4096);
  // More than the kernel mostly keeps for somebody who does not read; where it keeps all of it, the program has nothing to wait for.
  reader.Send(PostChat({.key = key, .prompt = "!tokens 4700", .more_fields = R"(,"logprobs":true,"top_logprobs":20)"}));
  REQUIRE(Eventually([&] { return books.Requests() == before + 1 && books.Open() == 0; }, milliseconds(60'000)));
  gateway.process().Signal(SIGTERM);
  CHECK(gateway.process().WaitForErr("draining: requests under way: ", milliseconds(20'000)));  // Its record is written; it may be ending.
  const HttpReply reply = reader.Read();
  INFO("of " << reply.headers.at("content-length") << " bytes " << reply.body.size() << " came");
  CHECK(reply.status == 200);
  CHECK(reply.complete);
  CHECK(gateway.process().Wait(milliseconds(60'000)) == 0);
}

TEST_CASE("SIGTERM is answered: how many requests are under way, and when all is done; a second one does not wait for them") {
  Installation installation;
  Gateway gateway(installation, {.extra = {{"drain_ms", "600000"}}});
  Admin admin(gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  REQUIRE(Eventually([&] { return Ask(PortsOf(gateway), Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done; }));
  auto running =
      std::async(std::launch::async, [&] { return Ask(PortsOf(gateway), Surface::kGrpcStream, {.key = key, .prompt = "!hang"}); });
  REQUIRE(Eventually([&] { return gateway.Metrics().find("tollgate_requests_running 1") != std::string::npos; }));
  gateway.process().Signal(SIGTERM);
  CHECK(gateway.process().WaitForErr("draining: requests under way: 1", milliseconds(20'000)));
  gateway.process().Signal(SIGTERM);
  CHECK(gateway.process().Wait(milliseconds(60'000)) == 0);
  const std::string says = gateway.process().Err();
  INFO(says);
  CHECK(says.find("ending requests before they were done: 1") != std::string::npos);
  CHECK(says.find("drained: every request has ended") != std::string::npos);
  CHECK_FALSE(running.get().done);
  Books books(installation);
  CHECK(books.Open() == 0);
  CHECK(books.Check() == "");
}
