// The schema is walked by protobuf's descriptors; what a field means hangs on it as the option `setting`. Listener ports are the one
// default that depends on where a message stands, so DefaultOf takes the path.
//
// Tested by tests/gateway/config/describe_test.cpp.
#include "gateway/config/schema.h"

#include <fmt/format.h>

namespace tollgate::config {

const tollgate::v1::Setting& SettingOf(const Field& field) { return field.options().GetExtension(tollgate::v1::setting); }

std::string DefaultOf(const Field& field, std::string_view path) {
  if (path == "listeners.grpc.port") return "8081";
  if (path == "listeners.http.port") return "8080";
  if (path == "listeners.admin_grpc.port") return "8083";
  if (path == "listeners.probes.port") return "8084";
  return SettingOf(field).by_default();
}

std::string TypeWords(const Field& field) {
  const tollgate::v1::Setting& setting = SettingOf(field);
  if (field.is_repeated()) return field.cpp_type() == Field::CPPTYPE_MESSAGE ? "list of sections" : "list, each " + setting.pattern_words();
  switch (field.cpp_type()) {
    case Field::CPPTYPE_MESSAGE: return "section";
    case Field::CPPTYPE_BOOL: return "true or false";
    case Field::CPPTYPE_INT32:
    case Field::CPPTYPE_INT64: return fmt::format("whole number, {} to {}", setting.min(), setting.max());
    default: break;
  }
  if (setting.one_of_size() > 0) return fmt::format("{}", fmt::join(setting.one_of(), " or "));
  if (!setting.pattern_words().empty()) return setting.pattern_words();
  if (setting.file()) return "path of a file";
  if (setting.path()) return "path of a folder";
  if (setting.secret()) return "URL, file:PATH or env:NAME";
  return "text";
}

namespace {
void Walk(const Descriptor& type, const std::string& prefix, int depth, std::vector<Entry>& out) {
  std::vector<const Field*> fields;
  for (int i = 0; i < type.field_count(); ++i) fields.push_back(type.field(i));
  for (const Field* field : fields) {
    const std::string path = prefix.empty() ? field->name() : prefix + "." + field->name();
    out.push_back({field, path, depth});
    if (field->cpp_type() == Field::CPPTYPE_MESSAGE) Walk(*field->message_type(), path, depth + 1, out);
  }
}
}  // namespace

std::vector<Entry> AllFields() {
  std::vector<Entry> out;
  Walk(*tollgate::v1::Config::descriptor(), "", 0, out);
  return out;
}

}  // namespace tollgate::config
