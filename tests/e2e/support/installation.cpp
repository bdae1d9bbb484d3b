// The template is migrated by the real program, under a login that owns the databases and is no superuser, as an operator would. Instances
// run under another, which owns nothing.
#include "tests/e2e/support/installation.h"

#include <sys/stat.h>

#include <filesystem>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "tests/e2e/support/process.h"

namespace tollgate::e2e {
namespace {

constexpr char kOwner[] = "tollgate";
constexpr char kServe[] = "tollgate_serve";

void Check(const absl::Status& status) { TG_CHECK(status.ok(), base::Message(status)); }

std::string DatabaseOf(const std::string& url) {
  const auto begin = url.find("///") + 3;
  return url.substr(begin, url.find('?') - begin);
}

// A database that is nobody's, to work from.
const std::string& AnyUrl() {
  static const std::string url = test::PostgresCluster::Shared().NewDatabase();
  return url;
}

std::string NewFrom(const std::string& source) {
  static int made = 0;
  base::PostgresOptions options = test::PostgresCluster::Shared().Options(AnyUrl());
  options.statement_timeout = std::chrono::seconds(120);
  auto admin = base::Session::Connect(options);
  Check(admin.status());
  const std::string name = fmt::format("e2e_{}", ++made);
  Check((*admin)->Run("copy a database", fmt::format("CREATE DATABASE {} TEMPLATE {} OWNER {}", name, source, kOwner)).status());
  std::string url = options.url;
  url.replace(url.find("///") + 3, DatabaseOf(url).size(), name);
  return url;
}

void WriteSecret(const std::string& path) { Check(base::WriteFileAtomically(path, base::HexEncode(base::RandomBytes(32)) + "\n", 0600)); }

std::string BasicConfig(const std::string& main_url, const std::string& keys_url, const std::string& secrets, const std::string& state) {
  return fmt::format(
      "state_dir: {}\n"
      "postgres:\n  url: {}\n  keys_url: {}\n"
      "secrets:\n  root_key_file: {}/root_key\n  pepper_file: {}/pepper\n",
      state, main_url, keys_url, secrets, secrets);
}

// What every installation of this process is a copy of.
struct Template {
  Template() {
    test::PostgresCluster& cluster = test::PostgresCluster::Shared();
    auto admin = cluster.Connect(AnyUrl());
    Check(admin->Run("make the owner's login", fmt::format("CREATE ROLE {} LOGIN CREATEROLE", kOwner)).status());
    Check(admin->Run("make serve's login", fmt::format("CREATE ROLE {} LOGIN", kServe)).status());
    const std::string main_url = NewFrom("template0");
    const std::string keys_url = NewFrom("template0");
    WriteSecret(secrets.File("root_key"));
    WriteSecret(secrets.File("pepper"));
    const std::string config = secrets.File("migrate.yaml");
    const std::string text =
        BasicConfig(cluster.UrlAs(main_url, kServe), cluster.UrlAs(keys_url, kServe), secrets.path(), secrets.File("state"));
    Check(base::WriteFileAtomically(config, text, 0644));
    const std::string url_file = secrets.File("owner_url"), keys_url_file = secrets.File("owner_keys_url");
    Check(base::WriteFileAtomically(url_file, cluster.UrlAs(main_url, kOwner) + "\n", 0600));
    Check(base::WriteFileAtomically(keys_url_file, cluster.UrlAs(keys_url, kOwner) + "\n", 0600));
    const Finished migrated =
        RunTollgate({"migrate", "--config", config, "--database-url", url_file, "--keys-url", keys_url_file, "--owner", "olga@example.com"},
                    milliseconds(120'000));
    TG_CHECK(migrated.code == 0, "tollgate migrate failed: " + migrated.err);
    owner_key = migrated.out.substr(0, migrated.out.find('\n'));
    TG_CHECK(owner_key.starts_with("tg_live_"), "tollgate migrate did not print the first key: " + migrated.out + migrated.err);
    main_database = DatabaseOf(main_url);
    keys_database = DatabaseOf(keys_url);
  }

  test::TempDir secrets;
  std::string main_database;
  std::string keys_database;
  std::string owner_key;
};

const Template& Made() {
  static const Template made;
  return made;
}

}  // namespace

Installation::Installation() {
  const Template& made = Made();
  main_url_ = NewFrom(made.main_database);
  keys_url_ = NewFrom(made.keys_database);
}

// The cluster stays small: after a crash it must look at each of its files.
Installation::~Installation() {
  base::PostgresOptions options = cluster().Options(AnyUrl());
  options.statement_timeout = std::chrono::seconds(120);
  const auto admin = base::Session::Connect(options);
  if (!admin.ok()) return;
  for (const std::string& url : {main_url_, keys_url_}) {
    (*admin)->Run("drop a database", fmt::format("DROP DATABASE {} WITH (FORCE)", DatabaseOf(url))).IgnoreError();
  }
}

const std::string& Installation::owner_key() const { return Made().owner_key; }

std::string Installation::Configure(const InstanceOptions& options) const {
  std::map<std::string, std::map<std::string, std::string>> sections;
  for (const char* listener : {"grpc", "http", "admin_grpc", "probes"}) sections["listeners"][listener] = "{ port: 0 }";
  sections["postgres"] = {{"url", cluster().UrlAs(main_url_, kServe)}, {"keys_url", cluster().UrlAs(keys_url_, kServe)}};
  sections["secrets"] = {{"root_key_file", Made().secrets.File("root_key")}, {"pepper_file", Made().secrets.File("pepper")}};
  sections[""] = {{"state_dir", dir_.File("state_" + options.state)},
                  {"directory_poll_ms", "50"},
                  {"segment_ms", "20"},
                  {"drain_ms", "8000"},
                  {"drain_wait_ms", "0"}};
  for (const auto& [field, value] : options.extra) {
    const auto dot = field.rfind('.');
    sections[dot == std::string::npos ? "" : field.substr(0, dot)][field.substr(dot == std::string::npos ? 0 : dot + 1)] = value;
  }
  std::string text;
  for (const auto& [section, fields] : sections) {
    if (!section.empty()) text += section + ":\n";
    for (const auto& [field, value] : fields) text += fmt::format("{}{}: {}\n", section.empty() ? "" : "  ", field, value);
  }
  text += fmt::format(
      "pool:\n  models_dir: {}\n  memory_bytes: {}\n  isolation: {}\n  models:\n    - name: {}\n      engine: {}\n      slots: {}\n      "
      "context_tokens: {}\n      queue_max: {}\n",
      models_dir(), options.memory_bytes, options.isolation, options.model_name,
      options.model_file.empty()  ? "scripted"
      : options.upstreams.empty() ? "llama"
                                  : "openai",
      options.slots, options.context_tokens, options.queue_max);
  if (!options.model_file.empty()) text += "      file: " + options.model_file + "\n";
  for (const auto& [field, value] : options.model) text += fmt::format("      {}: {}\n", field, value);
  if (!options.chat_template.empty()) text += "      chat_template: " + options.chat_template + "\n";
  if (!options.pooling.empty()) text += "      pooling: " + options.pooling + "\n";
  if (!options.upstreams.empty()) text += "      upstream:\n        model: upstream-model\n";
  for (const auto& [field, value] : options.upstream) text += fmt::format("        {}: {}\n", field, value);
  if (!options.upstreams.empty()) text += "        endpoints:\n";
  for (const std::string& url : options.upstreams) text += "          - url: " + url + "\n";
  if (!options.detectors.empty()) text += "detectors:\n";
  for (const auto& [name, url] : options.detectors) text += fmt::format("  - name: {}\n    url: {}\n    deadline_ms: 30000\n", name, url);
  const std::string path = dir_.File("config_" + options.state + ".yaml");
  Check(base::WriteFileAtomically(path, text, 0644));
  return path;
}

}  // namespace tollgate::e2e
