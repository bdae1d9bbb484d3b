// An installation of Tollgate for one test: two databases, secrets, the first owner's key, and a sample company made through the admin API.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

namespace tollgate::e2e {

// What an instance's configuration differs in, test by test. Everything listens on 127.0.0.1, on any free port.
struct InstanceOptions {
  std::string state = "a";  // Name of its state folder: the same name is the same instance, restarted.
  std::string model_name = "scripted";
  std::string model_file;                        // Empty: the scripted engine.
  std::string chat_template;                     // Empty: the file's own.
  std::vector<std::string> upstreams;            // URLs of the servers that run the model of model_file; empty: this process does.
  std::map<std::string, std::string> upstream;   // "ca_file" -> path: further fields of the model's upstream.
  std::string pooling;                           // Empty: it chats.
  std::map<std::string, std::string> detectors;  // Name -> URL of an external detector.
  int slots = 8;
  int context_tokens = 100'000;
  int queue_max = 64;
  std::int64_t memory_bytes = 0;             // For all models together; 0 = what there is.
  std::string isolation = "thread";          // pool.isolation.
  std::string program;                       // Empty: TollgateBinary.
  std::map<std::string, std::string> model;  // "prefix_cache_bytes" -> "0": further fields of the model.
  std::map<std::string, std::string> extra;  // "requests.body_bytes_max" -> "65536": one field of one section.
};

// The databases are copies of one that `tollgate migrate` made, so each costs a fraction of a second. One thread.
class Installation {
 public:
  Installation();
  ~Installation();

  // Writes the configuration of an instance and returns its path.
  std::string Configure(const InstanceOptions& options) const;

  // Of an owner of the whole installation.
  const std::string& owner_key() const;
  test::PostgresCluster& cluster() const { return test::PostgresCluster::Shared(); }
  // As the superuser: to look at what is stored, and to hold locks.
  std::unique_ptr<base::Session> Sql() const { return cluster().Connect(main_url_); }
  std::unique_ptr<base::Session> KeysSql() const { return cluster().Connect(keys_url_); }
  const std::string& main_url() const { return main_url_; }
  const std::string& folder() const { return dir_.path(); }
  std::string models_dir() const { return dir_.path(); }  // Of every instance.

 private:
  test::TempDir dir_;
  std::string main_url_;
  std::string keys_url_;
};

}  // namespace tollgate::e2e
