// Cluster: a private Postgres cluster in a folder, on a unix socket that nobody else may use. Made the first time; started and stopped
// with the program; one that a killed program left running is taken over.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "gateway/dev/process.h"

namespace tollgate::dev {

class Cluster {
 public:
  // Blocks for the start: about a second, a few the first time. `folder` is absolute; it is this cluster's alone.
  // FAILED_PRECONDITION names what is missing on this machine. One process at a time per folder: the caller holds a lock.
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(const std::string& folder);
  ~Cluster();  // Stops it.

  // Makes the database, owned by the login `tollgate`, which may make roles but is no superuser. Does nothing if it is there.
  absl::Status EnsureDatabase(const std::string& name);

  // For libpq, as the login `tollgate`.
  std::string Url(const std::string& database) const;
  // The same as the login that the server works under, which owns nothing and has no rights but those that it is given.
  std::string ServeUrl(const std::string& database) const;
  static constexpr const char* kServeLogin = "tollgate_serve";

  // Fast shutdown: transactions under way are rolled back, what was committed stays.
  absl::Status Stop();

  const std::string& data_folder() const { return data_; }
  bool made() const { return made_; }        // The cluster is new.
  bool adopted() const { return adopted_; }  // It was running already.

 private:
  Cluster() = default;
  absl::Status Locate(const std::string& folder);
  absl::StatusOr<std::string> Elsewhere(const std::string& folder);
  absl::Status Make();
  absl::Status WriteSettings();
  absl::StatusOr<bool> IsRunning();
  absl::Status Run(const std::vector<std::string>& argv);

  std::string bin_;  // Folder of pg_ctl.
  std::optional<User> user_;
  std::string home_;  // Folder of data, log and, if its path is short enough, the socket.
  std::string data_;
  std::string socket_;
  bool made_ = false;
  bool adopted_ = false;
  bool running_ = false;
};

}  // namespace tollgate::dev
