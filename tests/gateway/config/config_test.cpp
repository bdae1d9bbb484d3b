// What tollgate.yaml may say, and the refusal that everything else gets: its line, its column and the remedy.
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "gateway/config/config.h"

using namespace tollgate;

namespace {
// A folder with the files that a good configuration names.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "tg-config-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    Write("root", std::string(64, 'a'), 0600);
    Write("pepper", std::string(64, 'b'), 0600);
    Write("url", "postgresql://u:geheim@db/x\n", 0600);
    Write("open", std::string(64, 'c'), 0644);
    Write("group", std::string(64, 'c'), 0640);
    Strangers("group");
    Write("bearer", "sesame\n", 0600);
    Write("short", "abc123\n", 0600);
    Write("dev", "# tollgate dev: for trying out only\n" + std::string(64, 'd') + "\n", 0600);
    Write("empty", "\n", 0600);
    Write("two", "postgresql://a/b\npostgresql://c/d\n", 0600);
    Write("model.gguf", "GGUF", 0644);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void Write(const std::string& name, const std::string& text, unsigned mode) {
    REQUIRE(base::WriteFileAtomically(path_ + "/" + name, text, mode).ok());
    REQUIRE(::chmod((path_ + "/" + name).c_str(), mode) == 0);
  }

  // Gives a file, where this process may, to a group that it is not of.
  void Strangers(const std::string& name) {
    if (::geteuid() == 0) REQUIRE(::chown((path_ + "/" + name).c_str(), 0, 54321) == 0);
  }

 private:
  std::string path_;
};

const std::string kGood =
    "postgres:\n"                       // 1
    "  url: host=/tmp dbname=a\n"       // 2
    "  keys_url: host=/tmp dbname=b\n"  // 3
    "secrets:\n"                        // 4
    "  root_key_file: root\n"           // 5
    "  pepper_file: pepper\n";          // 6

std::string Refusal(const std::string& yaml) {
  const Folder folder;
  const auto config = config::Parse(yaml, "t.yaml", folder.path());
  return config.ok() ? "accepted" : base::Message(config.status());
}
}  // namespace

TEST_CASE("A short file is enough: everything else has a default") {
  const Folder folder;
  const auto config = config::Parse(kGood, "t.yaml", folder.path());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->listeners().grpc().port() == 8081);
  CHECK(config->listeners().http().port() == 8080);
  CHECK(config->listeners().admin_grpc().port() == 8083);
  CHECK(config->listeners().probes().port() == 8084);
  CHECK(config->listeners().grpc().address() == "127.0.0.1");
  CHECK(config->listeners().grpc().enabled());
  CHECK(config->directory_stale_max_ms() == 5000);
  CHECK(config->segment_ms() == 100);
  CHECK_FALSE(config->grpc().reflection());
  CHECK(config->grpc().write_timeout_ms() == 30'000);
  CHECK(config->requests().body_bytes_max() == 4 << 20);
  CHECK(config->secrets().root_key_file() == folder.path() + "/root");
  CHECK(config->state_dir() == "/var/lib/tollgate");
  CHECK(config->pool().models_size() == 0);
}

TEST_CASE("Values are taken as they are written") {
  const Folder folder;
  const auto config = config::Parse(kGood +
                                        "listeners:\n  grpc: {port: 0, address: '::'}\n  probes: {enabled: false}\n"
                                        "pool:\n  models:\n    - {name: m, file: model.gguf, slots: 3}\n    - {name: s, engine: scripted}\n"
                                        "diagnostics: {level: debug, json: true}\n",
                                    "t.yaml", folder.path());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->listeners().grpc().port() == 0);
  CHECK(config->listeners().grpc().address() == "::");
  CHECK_FALSE(config->listeners().probes().enabled());
  REQUIRE(config->pool().models_size() == 2);
  CHECK(config->pool().models(0).file() == folder.path() + "/model.gguf");
  CHECK(config->pool().models(0).slots() == 3);
  CHECK(config->pool().models(0).context_tokens() == 2048);
  CHECK(config->pool().models(1).engine() == "scripted");
  CHECK(config->diagnostics().json());
}

TEST_CASE("A model that servers run needs its vocabulary's file and at least one server, by a URL without a secret in it") {
  const Folder folder;
  const std::string begin = kGood + "pool:\n  models:\n    - {name: m, engine: openai, ";
  const auto config = config::Parse(
      begin + "file: model.gguf, upstream: {kind: sglang, endpoints: [{url: 'http://a:8000'}, {url: 'https://b'}], retries_max: 5}}\n",
      "t.yaml", folder.path());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  const auto& upstream = config->pool().models(0).upstream();
  CHECK(upstream.kind() == "sglang");
  CHECK(upstream.endpoints(1).url() == "https://b");
  CHECK(upstream.retries_max() == 5);
  CHECK(upstream.stall_timeout_ms() == 30'000);
  const std::pair<const char*, const char*> bad[] = {
      {"upstream: {endpoints: [{url: 'http://a'}]}}", "file is missing"},
      {"file: model.gguf}", "upstream.endpoints is empty"},
      {"file: model.gguf, upstream: {endpoints: [{}]}}", "url is missing"},
      {"file: model.gguf, upstream: {endpoints: [{url: 'http://user:geheim@a'}]}}", "secrets belong into upstream.bearer_file"},
      {"file: model.gguf, upstream: {endpoints: [{url: 'ftp://a'}]}}", "http://HOST:PORT"},
      {"file: model.gguf, upstream: {endpoints: [{url: 'http://a:8000/v1'}]}}", "has a path behind http://HOST:PORT; leave it out, /v1"},
      {"file: model.gguf, upstream: {endpoints: [{url: 'http://a/'}]}}", "has a path behind http://HOST:PORT"},
      {"file: model.gguf, upstream: {bearer_file: open, endpoints: [{url: 'http://a'}]}}", "which others may read; run: chmod 600 /"},
      {"file: model.gguf, upstream: {bearer_file: empty, endpoints: [{url: 'http://a'}]}}", "which is empty; write the secret into it"},
      {"file: model.gguf, upstream: {certificate_file: open, key_file: open, endpoints: [{url: 'http://a'}]}}", "key_file names /"},
      {"file: model.gguf, upstream: {kind: other, endpoints: [{url: 'http://a'}]}}", "it must be vllm or sglang"},
      {"file: model.gguf, upstream: {certificate_file: model.gguf, endpoints: [{url: 'http://a'}]}}", "set both or none"}};
  for (const auto& [rest, refusal] : bad) {
    INFO(rest);
    const std::string message = Refusal(begin + rest + "\n");
    CHECK(message.find(refusal) != std::string::npos);
    CHECK(message.find("geheim") == std::string::npos);
  }
}

struct Row {
  const char* what;
  std::string yaml;
  const char* refusal;  // What the message must begin with or hold.
};

TEST_CASE("What is wrong is refused with its place and the remedy") {
  const auto row = GENERATE(values<Row>({
      {"unknown section", kGood + "listener:\n  grpc: {}\n", "t.yaml:7:1: unknown field listener; did you mean listeners?"},
      {"unknown field", kGood + "pool:\n  models:\n    - name: m\n      engine: scripted\n      slot: 3\n",
       "t.yaml:11:7: unknown field pool.models[0].slot; did you mean slots?"},
      {"field far from any", kGood + "zzzzzzzzzz: 1\n", "t.yaml:7:1: unknown field zzzzzzzzzz; known here: listeners, postgres"},
      {"tls is not a field", kGood + "listeners:\n  grpc:\n    tls_certificate_file: x\n",
       "t.yaml:9:5: unknown field listeners.grpc.tls_certificate_file; known here: enabled"},
      {"text for a number", kGood + "segment_ms: soon\n",
       "t.yaml:7:1: segment_ms must be a whole number from 1 to 10000, written in digits alone; it is \"soon\""},
      {"quoted number", kGood + "segment_ms: \"100\"\n", "t.yaml:7:1: segment_ms must be a whole number"},
      {"number with a unit", kGood + "segment_ms: 100ms\n", "t.yaml:7:1: segment_ms must be a whole number"},
      {"fraction", kGood + "segment_ms: 1.5\n", "t.yaml:7:1: segment_ms must be a whole number"},
      {"under the bound", kGood + "segment_ms: 0\n", "t.yaml:7:1: segment_ms is 0; it must be from 1 to 10000"},
      {"over the bound", kGood + "listeners:\n  http:\n    port: 65536\n",
       "t.yaml:9:5: listeners.http.port is 65536; it must be from 0 to 65535"},
      {"beyond 64 bits", kGood + "segment_ms: 99999999999999999999\n", "segment_ms is 99999999999999999999; it must be from 1 to 10000"},
      {"a word for a switch", kGood + "grpc: {reflection: yes}\n", "t.yaml:7:8: grpc.reflection must be true or false; it is \"yes\""},
      {"a list for a section", kGood + "pool: [1]\n", "pool must be a section of `name: value` lines with the fields models, backends_dir"},
      {"a section for a list", kGood + "pool: {models: {a: 1}}\n", "t.yaml:7:8: pool.models must be a list: one `- ` for each entry"},
      {"a section for a value", kGood + "segment_ms: {a: 1}\n", "t.yaml:7:1: segment_ms must be one value"},
      {"no value", kGood + "state_dir:\n", "t.yaml:7:1: state_dir has no value"},
      {"not one of the words", kGood + "diagnostics: {level: loud}\n",
       "diagnostics.level is \"loud\"; it must be debug or info or warn or error"},
      {"not an address", kGood + "listeners: {grpc: {address: localhost}}\n", "it must be a numeric IPv4 or IPv6 address"},
      {"twice", kGood + "segment_ms: 1\nsegment_ms: 2\n", "t.yaml:8:1: segment_ms is set twice; keep one"},
      {"half an address", kGood + "listeners: {http: {address: 1.2.3}}\n",
       "t.yaml:7:20: listeners.http.address is \"1.2.3\"; it must be a numeric IPv4 or IPv6 address"},
      {"digits for an address", kGood + "listeners: {grpc: {address: fe}}\n", "listeners.grpc.address is \"fe\"; it must be a numeric"},
      {"a proxy by name", kGood + "trusted_proxies: [10.0.0.1, proxy]\n",
       "t.yaml:7:29: trusted_proxies[1] is \"proxy\"; it must be an address or a network, such as 10.0.0.7"},
      {"a network that is longer than an address", kGood + "trusted_proxies: [10.0.0.0/40]\n",
       "trusted_proxies[0]: \"10.0.0.0/40\" is no network"},
      {"everybody for a proxy", kGood + "trusted_proxies: [0.0.0.0/0]\n", "trusted_proxies[0]: \"0.0.0.0/0\" is everybody"},
      {"one proxy without a list", kGood + "trusted_proxies: 10.0.0.1\n", "trusted_proxies must be a list"},
      {"a section for a proxy", kGood + "trusted_proxies: [{a: b}]\n", "trusted_proxies[0] must be one value"},
      {"detector twice", kGood + "detectors:\n  - {name: d, url: 'http://a'}\n  - {name: d, url: 'http://b'}\n",
       "t.yaml:9:6: detectors[1].name is \"d\", as detectors[0] has it already; names must differ"},
      {"password in a detector's URL", kGood + "detectors: [{name: d, url: 'https://user:geheim@a/x'}]\n",
       "detectors[0].url holds a name or a password; a secret belongs into bearer_file"},
      {"bearer for a stranger's group", kGood + "detectors: [{name: d, url: 'http://a', bearer_file: group}]\n",
       "/group, which others may read; run: chmod 600 /"},
      {"empty bearer", kGood + "detectors: [{name: d, url: 'http://a', bearer_file: empty}]\n",
       "/empty, which is empty; write the secret into it"},
      {"open private key", kGood + "detectors: [{name: d, url: 'http://a', certificate_file: open, key_file: open}]\n",
       "detectors[0].key_file names /"},
      {"records that find no room", kGood + "journal: {queue_bytes_max: 1048576}\n",
       "t.yaml:7:11: journal.queue_bytes_max is 1048576, less than twice requests.body_bytes_max, 4194304"},
      {"bodies whose records find no room", kGood + "requests: {body_bytes_max: 67108864}\n",
       "journal.queue_bytes_max is 67108864, less than"},
      {"same port", kGood + "listeners: {grpc: {port: 9000}, http: {port: 9000}}\n",
       "listeners.http.port is 9000, as that of listeners.grpc"},
      {"default over most", kGood + "requests: {deadline_max_ms: 1000}\n",
       "requests.deadline_default_ms is 120000, more than requests.deadline_max_ms, 1000"},
      {"model without a file", kGood + "pool:\n  models:\n    - name: m\n", "t.yaml:9:7: pool.models[0].file is missing"},
      {"model without a name", kGood + "pool:\n  models:\n    - engine: scripted\n", "t.yaml:9:7: pool.models[0].name is missing"},
      {"model twice", kGood + "pool:\n  models:\n    - {name: m, engine: scripted}\n    - {name: m, engine: scripted}\n",
       "t.yaml:10:8: pool.models[1].name is \"m\", as pool.models[0]"},
      {"model's digest", kGood + "pool:\n  models:\n    - {name: m, engine: scripted, sha256: abc}\n", "it must be 64 hexadecimal digits"},
      {"too few cells to share", kGood + "pool:\n  models:\n    - {name: m, engine: scripted, kv_tokens: 1}\n",
       "t.yaml:9:35: pool.models[0].kv_tokens is 1; it must be at least context_tokens, 2048, and less than slots x context_tokens, 16384"},
      {"more cells than slots can use", kGood + "pool:\n  models:\n    - {name: m, engine: scripted, kv_tokens: 16384}\n",
       "pool.models[0].kv_tokens is 16384; it must be"},
      {"cells of what does not chat", kGood + "pool:\n  models:\n    - {name: m, engine: scripted, kv_tokens: 4096, pooling: rank}\n",
       "pool.models[0].kv_tokens is set; leave it out"},
      {"strict where nobody chats", kGood + "pool:\n  models:\n    - {name: m, engine: scripted, strict: true, pooling: mean}\n",
       "pool.models[0].strict is true; strict answers are of models that chat"},
      {"missing file", kGood + "pool:\n  models:\n    - {name: m, file: gone.gguf}\n", "gone.gguf, which does not exist"},
      {"folder for a file", kGood + "pool:\n  models:\n    - {name: m, file: /tmp}\n", "names /tmp, which is not a file"},
      {"required field", "postgres:\n  url: host=/tmp\nsecrets:\n  root_key_file: root\n  pepper_file: pepper\n",
       "t.yaml:1:1: postgres.keys_url is missing"},
      {"required section", "state_dir: /tmp\n", "t.yaml:1:1: secrets.root_key_file is missing"},
      {"open key", "secrets:\n  root_key_file: open\n", "which others may read; run: chmod 600 /"},
      {"key for a group", "secrets:\n  pepper_file: group\n", "which others may read; run: chmod 600 /"},
      {"missing key", "secrets:\n  root_key_file: nope\n",
       "does not exist; correct the path, or make the file: (umask 077; openssl rand -hex 32 > /"},
      {"short key", "secrets:\n  pepper_file: short\n",
       "does not hold 64 hexadecimal digits; make the file: (umask 077; openssl rand -hex 32 > /"},
      {"URL for a key", "secrets:\n  root_key_file: url\n", "does not hold 64 hexadecimal digits"},
      {"missing URL file", "postgres:\n  url: file:nope\n",
       "does not exist; correct the path, or make the file and write the database's URL into it, such as "
       "postgresql://USER:PASSWORD@HOST/DATABASE"},
      {"open URL file", "postgres:\n  url: file:open\n", "which others may read; run: chmod 600 /"},
      {"key for a URL", "postgres:\n  url: file:root\n", "/root holds no URL of a Postgres database; write one such as postgresql://"},
      {"empty URL file", "postgres:\n  keys_url: file:empty\n", "/empty holds no URL of a Postgres database"},
      {"two URLs in a file", "postgres:\n  url: file:two\n", "/two holds no URL of a Postgres database; write one such as "},
      {"no URL", "postgres:\n  url: tollgate\n", "t.yaml:2:3: postgres.url holds no URL of a Postgres database"},
      {"password in a URL", "postgres:\n  url: postgresql://u:geheim@db/x\n", "t.yaml:2:3: postgres.url holds a password in the clear"},
      {"password in a string", "postgres:\n  url: host=db password=geheim\n", "holds a password in the clear"},
      {"a long text", "postgres:\n  url: postgresql://" + std::string(5000, 'x') + "\n",
       "postgres.url has 5013 bytes; at most 4096 are taken"},
      {"unset variable", "postgres:\n  url: env:TG_TEST_NOT_SET\n", "the environment has no TG_TEST_NOT_SET"},
      {"polled too seldom", kGood + "directory_poll_ms: 251\n", "directory_poll_ms is 251; it must be from 20 to 250"},
      {"not YAML", "a: [1\nb: }", "this is not YAML"},
      {"two documents", kGood + "---\n" + kGood, "a second YAML document begins here; keep one"},
      {"empty", "", "t.yaml:1:1: the file is empty; `tollgate config example`"},
      {"another encoding", "\xFF\xFEs\x01", "t.yaml:1:1: the file is UTF-16; save it as UTF-8"},
      {"a mere word", "hello", "t.yaml:1:1: the file must be a section"},
  }));
  INFO(row.what);
  CHECK_THAT(Refusal(row.yaml), Catch::Matchers::ContainsSubstring(row.refusal));
}

TEST_CASE("Every problem is told, not the first alone") {
  const std::string refusal = Refusal(kGood + "segment_ms: 0\ndrain_ms: x\nnonsense_field: 1\n");
  CHECK_THAT(refusal, Catch::Matchers::ContainsSubstring("t.yaml:7:1:"));
  CHECK_THAT(refusal, Catch::Matchers::ContainsSubstring("t.yaml:8:1:"));
  CHECK_THAT(refusal, Catch::Matchers::ContainsSubstring("t.yaml:9:1:"));
}

TEST_CASE("Problems of every kind are told at once, in the order of the file, and none of them twice") {
  const std::string yaml =
      "segment_ms: 0\n"                                                    // 1 Out of range,
      "listeners: {http: {port: 9000}, grpc: {port: 9000}}\n"              // 2 one port for two,
      "requests: {deadline_max_ms: soon, deadline_default_ms: 3600000}\n"  // 3 no number, which is compared with nothing,
      "pool:\n"                                                            // 4
      "  models:\n"                                                        // 5
      "    - {name: m, file: gone.gguf}\n"                                 // 6 a file that is not there, which is not missing,
      "    - {name: u, engine: openai, file: model.gguf, upstream: {endpoints: [{url: 'ftp://a'}]}}\n"  // 7 a malformed URL,
      "    - {engine: scripted}\n"                                                                      // 8 no name,
      "postgres:\n"                                                                                     // 9 one URL missing,
      "  urll: host=/tmp\n"                                                                             // 10 the other misspelt,
      "secrets: {root_key_file: short, pepper_file: pepper}\n";                                         // 11 and no key in the file.
  const std::string refusal = Refusal(yaml);
  INFO(refusal);
  const char* expected[] = {"t.yaml:1:1: segment_ms is 0",
                            "t.yaml:2:20: listeners.http.port is 9000",
                            "t.yaml:3:12: requests.deadline_max_ms must be",
                            "t.yaml:6:17: pool.models[0].file names",
                            "t.yaml:7:75: pool.models[1].upstream.endpoints[0].url is \"ftp://a\"",
                            "t.yaml:8:7: pool.models[2].name is missing",
                            "t.yaml:9:1: postgres.keys_url is missing",
                            "t.yaml:10:3: unknown field postgres.urll; did you mean url?",
                            "t.yaml:11:11: secrets.root_key_file names"};
  std::istringstream lines(refusal);
  std::string line;
  for (const char* begin : expected) {
    REQUIRE(std::getline(lines, line));
    CHECK_THAT(line, Catch::Matchers::StartsWith(begin));
  }
  CHECK_FALSE(std::getline(lines, line));
}

TEST_CASE("A model has 64 servers at most") {
  std::string yaml =
      kGood + "pool:\n  models:\n    - name: m\n      engine: openai\n      file: model.gguf\n      upstream:\n        endpoints:\n";
  for (int i = 0; i < 64; ++i) yaml += "          - url: http://a\n";
  CHECK(Refusal(yaml) == "accepted");
  CHECK_THAT(Refusal(yaml + "          - url: http://a\n"),
             Catch::Matchers::ContainsSubstring("pool.models[0].upstream.endpoints has 65 entries; at most 64 are taken"));
}

TEST_CASE("Trusted proxies are a list of addresses and networks, and nobody unless they are named") {
  const Folder folder;
  const auto none = config::Parse(kGood + "trusted_proxies: []\n", "t.yaml", folder.path());
  REQUIRE(none.ok());
  CHECK(none->trusted_proxies_size() == 0);
  const auto two = config::Parse(kGood + "trusted_proxies:\n  - 10.0.0.0/8\n  - 'fd00::1'\n", "t.yaml", folder.path());
  INFO(two.status().ToString());
  REQUIRE(two.ok());
  REQUIRE(two->trusted_proxies_size() == 2);
  CHECK(two->trusted_proxies(1) == "fd00::1");
  CHECK_THAT(config::Dump(*two), Catch::Matchers::ContainsSubstring("trusted_proxies:\n  - \"10.0.0.0/8\"\n  - \"fd00::1\"\n"));
}

TEST_CASE("Where models and secrets are not looked at, the databases' URLs still are") {
  const Folder folder;
  const std::string elsewhere = "secrets: {root_key_file: gone, pepper_file: gone}\npool: {models: [{name: m, file: gone.gguf}]}\n";
  const std::string urls = "postgres: {url: file:url, keys_url: file:url}\n";
  const auto config = config::Parse(urls + elsewhere, "t.yaml", folder.path(), config::Files::kDatabaseUrls);
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->postgres().url() == "postgresql://u:geheim@db/x");
  CHECK(config->secrets().pepper_file() == folder.path() + "/gone");
  CHECK_FALSE(config::Parse(urls + elsewhere, "t.yaml", folder.path()).ok());
  for (const char* bad :
       {"postgres: {url: file:gone, keys_url: file:url}\n", "segment_ms: 0\npostgres: {url: file:url, keys_url: file:url}\n"})
    CHECK_FALSE(config::Parse(bad + elsewhere, "t.yaml", folder.path(), config::Files::kDatabaseUrls).ok());
}

TEST_CASE("A key that root gives to a group of this process is taken, as a mounted Secret has it") {
  if (::geteuid() != 0) return;  // Only root can make such a file.
  Folder folder;
  REQUIRE(::chmod((folder.path() + "/root").c_str(), 0440) == 0);
  REQUIRE(::chown((folder.path() + "/root").c_str(), 0, ::getegid()) == 0);
  CHECK(config::Parse(kGood, "t.yaml", folder.path()).ok());
  folder.Strangers("root");
  CHECK_FALSE(config::Parse(kGood, "t.yaml", folder.path()).ok());
}

TEST_CASE("A password never comes back in a refusal or a dump") {
  CHECK_THAT(Refusal("postgres:\n  url: postgresql://u:geheim@db/x\n"), !Catch::Matchers::ContainsSubstring("geheim"));
  const Folder folder;
  const auto config =
      config::Parse("postgres:\n  url: file:url\n  keys_url: file:url\nsecrets:\n  root_key_file: root\n  pepper_file: pepper\n", "t.yaml",
                    folder.path());
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->postgres().url() == "postgresql://u:geheim@db/x");
  CHECK_THAT(config::Dump(*config), !Catch::Matchers::ContainsSubstring("geheim"));
  CHECK_THAT(config::Redacted(*config).DebugString(), !Catch::Matchers::ContainsSubstring("geheim"));
  CHECK(config::Redacted(*config).postgres().keys_url() == "(hidden)");
}

TEST_CASE("What stands in the query of a detector's URL is not printed") {
  tollgate::v1::Config config = config::Defaults();
  config.add_detectors()->set_url("https://guard.example/judge?code=geheim");
  CHECK(config::Redacted(config).detectors(0).url() == "https://guard.example/judge?(hidden)");
  CHECK_THAT(config::Dump(config), !Catch::Matchers::ContainsSubstring("geheim"));
}

TEST_CASE("A key file may carry comments") {
  std::string yaml = kGood;
  yaml.replace(yaml.find("root\n"), 4, "dev");
  CHECK(Refusal(yaml) == "accepted");
}

TEST_CASE("A URL may come from the environment") {
  ::setenv("TG_TEST_URL", "not a database", 1);
  CHECK_THAT(Refusal("postgres:\n  url: env:TG_TEST_URL\n"),
             Catch::Matchers::ContainsSubstring("the environment's TG_TEST_URL holds no URL of a Postgres database"));
  ::setenv("TG_TEST_URL", "host=/tmp dbname=env", 1);
  const Folder folder;
  const auto config =
      config::Parse("postgres:\n  url: env:TG_TEST_URL\n  keys_url: host=/tmp\nsecrets:\n  root_key_file: root\n  pepper_file: pepper\n",
                    "t.yaml", folder.path());
  REQUIRE(config.ok());
  CHECK(config->postgres().url() == "host=/tmp dbname=env");
}

TEST_CASE("A file that is not there says how to make one") {
  const auto config = config::Load("/nonexistent/tollgate.yaml");
  CHECK(config.status().code() == absl::StatusCode::kNotFound);
  CHECK_THAT(base::Message(config.status()), Catch::Matchers::ContainsSubstring("tollgate config example"));
}

TEST_CASE("A file that is there and cannot be read says why, and not that one has to be made") {
  const auto config = config::Load("/");
  CHECK(config.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(base::Message(config.status()),
             Catch::Matchers::ContainsSubstring("Is a directory") && !Catch::Matchers::ContainsSubstring("config example"));
}

TEST_CASE("Hostile text ends in a refusal") {
  const auto yaml = GENERATE(values<std::string>({std::string(5000, '['), std::string(200000, '{'), std::string("\xff\xfe\x00x", 4),
                                                  "a: &a [*a]", "? [a]\n: b", "postgres: &p\n  url: *p\n", std::string(2 << 20, 'x'),
                                                  "%YAML 9.9\n--- a", "!!binary x", "state_dir: \"\\0\""}));
  CHECK(Refusal(yaml) != "accepted");
}
