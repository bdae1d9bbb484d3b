// Small JSON files, written atomically so that a reader never sees half of one.
//
// Tested by tests/gateway/cli/dev_files_test.cpp.
#include "gateway/cli/dev_files.h"

#include <fmt/format.h>
#include <unistd.h>
#include <boost/json.hpp>

#include "base/encoding.h"

namespace tollgate::cli {
namespace {
namespace json = boost::json;

std::string KeysPath(const std::string& folder) { return folder + "/keys.json"; }
std::string EndpointsPath(const std::string& folder) { return folder + "/endpoints.json"; }

absl::StatusOr<json::object> ReadObject(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return base::NotFound(fmt::format("there is no {}; `tollgate dev` makes it", path));
  TG_ASSIGN(const std::string text, base::ReadFile(path));
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object())
    return base::DataLoss(fmt::format("{} is damaged; stop `tollgate dev`, remove the folder and start it again", path));
  return std::move(value.as_object());
}

std::string TextOf(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->as_string().c_str()) : "";
}

int IntOf(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? static_cast<int>(value->as_int64()) : 0;
}
}  // namespace

absl::StatusOr<std::vector<DevKey>> ReadDevKeys(const std::string& folder) {
  TG_ASSIGN(const json::object object, ReadObject(KeysPath(folder)));
  std::vector<DevKey> keys;
  const json::value* list = object.if_contains("keys");
  if (list == nullptr || !list->is_array()) return base::DataLoss(fmt::format("{} holds no keys", KeysPath(folder)));
  for (const json::value& entry : list->as_array()) {
    if (!entry.is_object()) continue;
    const json::object& key = entry.as_object();
    keys.push_back({TextOf(key, "name"), TextOf(key, "secret"), TextOf(key, "place"), TextOf(key, "use")});
  }
  return keys;
}

absl::Status WriteDevKeys(const std::string& folder, const std::vector<DevKey>& keys) {
  json::array list;
  for (const DevKey& key : keys)
    list.push_back(json::object{{"name", key.name}, {"secret", key.secret}, {"place", key.place}, {"use", key.use}});
  return base::WriteFileAtomically(KeysPath(folder), json::serialize(json::object{{"keys", std::move(list)}}) + "\n", 0600);
}

absl::StatusOr<DevEndpoints> ReadDevEndpoints(const std::string& folder) {
  TG_ASSIGN(const json::object object, ReadObject(EndpointsPath(folder)));
  return DevEndpoints{IntOf(object, "http_port"), IntOf(object, "grpc_port"), IntOf(object, "admin_port"), IntOf(object, "probes_port"),
                      TextOf(object, "model"),    TextOf(object, "org"),      IntOf(object, "pid")};
}

absl::Status WriteDevEndpoints(const std::string& folder, const DevEndpoints& at) {
  const json::object object{{"http_port", at.http_port},
                            {"grpc_port", at.grpc_port},
                            {"admin_port", at.admin_port},
                            {"probes_port", at.probes_port},
                            {"model", at.model},
                            {"org", at.org},
                            {"pid", at.pid}};
  return base::WriteFileAtomically(EndpointsPath(folder), json::serialize(object) + "\n", 0644);
}

void RemoveDevEndpoints(const std::string& folder) { ::unlink(EndpointsPath(folder).c_str()); }

std::string SecretOf(const std::vector<DevKey>& keys, const std::string& name) {
  for (const DevKey& key : keys) {
    if (key.name == name) return key.secret;
  }
  return "";
}

}  // namespace tollgate::cli
