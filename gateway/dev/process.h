// Runs a helper program, as another user if asked, and waits for it. Room-internal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/status.h"

namespace tollgate::dev {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Whom a Postgres server may run as: nobody else (nullopt) unless this process is root, whom Postgres refuses; then `postgres`, or
// `nobody`.
absl::StatusOr<std::optional<User>> ServerUser();

// Runs `argv` (a path first) to its end with standard output and error in the file `output`. INTERNAL with the output's last lines if it
// fails. The program inherits no descriptor but those and no blocked signal.
absl::Status RunProgram(const std::optional<User>& user, const std::vector<std::string>& argv, const std::string& output);

// Starts `argv` and returns its process id at once.
absl::StatusOr<pid_t> StartProgram(const std::optional<User>& user, const std::vector<std::string>& argv, const std::string& output);

}  // namespace tollgate::dev
