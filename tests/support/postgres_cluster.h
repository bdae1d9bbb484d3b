// A throw-away Postgres cluster for the tests of one process: on a unix socket in /tmp, with every login trusted, durable (fsync on) and
// small. Started on first use, which should be on the main thread, and removed when the process ends, or dies.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/postgres.h"
#include "tests/support/temp_dir.h"

namespace tollgate::test {

// One thread.
class PostgresCluster {
 public:
  // The process's one cluster; runs when this returns. A test that stops it must start it again.
  static PostgresCluster& Shared();

  PostgresCluster();
  ~PostgresCluster();
  PostgresCluster(const PostgresCluster&) = delete;
  PostgresCluster& operator=(const PostgresCluster&) = delete;

  // Makes a new database with the migrations of these folders applied, each folder's *.sql in order of name, and returns its URL, for the
  // superuser. Folders are relative to the repository: {"migrations/main"}, {"migrations/keys"}; none gives an empty database.
  std::string NewDatabase(const std::vector<std::string>& folders = {});
  // The same database for another role.
  std::string UrlAs(const std::string& url, const std::string& role) const;
  base::PostgresOptions Options(const std::string& url) const;
  std::unique_ptr<base::Session> Connect(const std::string& url) const;  // Fails the process if it cannot.

  void Start();    // Returns when it answers.
  void Stop();     // As an administrator would: sessions are ended, everything is written.
  void Kill9();    // The postmaster and all its children at once; returns when they are gone.
  void SigStop();  // The same processes freeze …
  void SigCont();  // … and go on.
  bool running() const { return pid_ > 0; }
  std::string Log() const;  // What the server has written to its log so far.

 private:
  std::string UrlOf(const std::string& database) const;
  std::vector<int> Processes() const;
  void Signal(int signal) const;
  void Reap();

  TempDir dir_;
  int pid_ = 0;
  int databases_ = 0;
  std::map<std::vector<std::string>, std::string> templates_;  // Folders to the database that is copied.
};

}  // namespace tollgate::test
