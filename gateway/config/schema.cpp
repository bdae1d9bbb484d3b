// The schema is walked by protobuf's descriptors; what a field means hangs on it as the option `setting`. Listener ports are the one
// default that depends on where a message stands, so DefaultOf takes the path.
//
// Tested by tests/gateway/config/describe_test.cpp.
#include "gateway/config/schema.h"

#include <algorithm>
#include <numeric>

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
  if (field.is_repeated()) return "list of sections";
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

std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}
}  // namespace

std::vector<Entry> AllFields() {
  std::vector<Entry> out;
  Walk(*tollgate::v1::Config::descriptor(), "", 0, out);
  return out;
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    std::size_t distance = Distance(word, candidate);
    if (candidate.starts_with(word) || word.starts_with(candidate)) distance = std::min<std::size_t>(distance, 2);  // "slot", "port_number"
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace tollgate::config
