// The two files by which `tollgate dev` tells the command line where it listens and which keys it made, so that nothing has to be typed:
// FOLDER/keys.json (mode 0600; stays) and FOLDER/endpoints.json (written at each start, removed at the end).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace tollgate::cli {

struct DevKey {
  std::string name;    // "owner", "web", "batch", "helpdesk", "trial" …
  std::string secret;  // tg_dev_…
  std::string place;   // "acme/search/web"
  std::string use;     // For people.
};

struct DevEndpoints {
  int http_port = 0;
  int grpc_port = 0;
  int admin_port = 0;
  int probes_port = 0;
  std::string model;  // Name of the model that is served.
  std::string org;    // The sample company.
  int pid = 0;
};

// NOT_FOUND if the file is missing; DATA_LOSS if it is not what WriteX wrote.
absl::StatusOr<std::vector<DevKey>> ReadDevKeys(const std::string& folder);
absl::Status WriteDevKeys(const std::string& folder, const std::vector<DevKey>& keys);
absl::StatusOr<DevEndpoints> ReadDevEndpoints(const std::string& folder);
absl::Status WriteDevEndpoints(const std::string& folder, const DevEndpoints& endpoints);
void RemoveDevEndpoints(const std::string& folder);

// The secret of the key with this name; empty if there is none.
std::string SecretOf(const std::vector<DevKey>& keys, const std::string& name);

}  // namespace tollgate::cli
