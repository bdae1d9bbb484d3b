// Everything that is said about the schema is said from the schema: the example file, the explanations, the reference in
// docs/configuration.md and the dump of a configuration in force. They cannot disagree with what Reader accepts.
//
// Tested by tests/gateway/config/describe_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "base/nearest_word.h"
#include "gateway/config/config.h"
#include "gateway/config/schema.h"

namespace tollgate::config {
namespace {
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Indent(int depth) { return std::string(static_cast<std::size_t>(depth) * 2, ' '); }

// Words of `text`, broken to lines of at most `width`, each behind `lead`.
std::string Wrap(std::string_view text, const std::string& lead, std::size_t width) {
  std::string out;
  std::string line;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t space = text.find(' ', at);
    if (space == std::string_view::npos) space = text.size();
    const std::string_view word = text.substr(at, space - at);
    if (!line.empty() && lead.size() + line.size() + 1 + word.size() > width) {
      out += lead + line + "\n";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
    at = space + 1;
  }
  return line.empty() ? out : out + lead + line + "\n";
}

std::string Quoted(const Field& field, const std::string& value) {
  if (field.cpp_type() != Field::CPPTYPE_STRING) return value;
  const bool plain = !value.empty() &&
                     value.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == std::string::npos &&
                     !std::isdigit(static_cast<unsigned char>(value[0]));
  if (plain) return value;
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string SampleOf(std::string_view path) {
  if (path == "postgres.url") return "file:/etc/tollgate/postgres_url";
  if (path == "postgres.keys_url") return "file:/etc/tollgate/keys_url";
  if (path == "secrets.root_key_file") return "/etc/tollgate/root_key";
  if (path == "secrets.pepper_file") return "/etc/tollgate/pepper";
  if (path == "pool.models.name") return "smollm2";
  if (path == "detectors.name") return "toxicity";
  if (path == "detectors.url") return "https://guard.internal/judge";
  if (path == "pool.models.upstream.endpoints.url") return "http://gpu-1.internal:8000";
  if (path == "pool.models.file") return "/var/lib/tollgate/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  return "";
}

std::string Facts(const Entry& entry) {
  const tollgate::v1::Setting& setting = SettingOf(*entry.field);
  std::string out = TypeWords(*entry.field);
  if (entry.field->cpp_type() == Field::CPPTYPE_MESSAGE) return out;
  if (setting.required()) return out + "; required";
  const std::string value = DefaultOf(*entry.field, entry.path);
  return out + "; default " + (value.empty() ? "empty" : value);
}

std::string ValueOf(const Field& field, const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case Field::CPPTYPE_BOOL: return reflection.GetBool(message, &field) ? "true" : "false";
    case Field::CPPTYPE_INT32: return std::to_string(reflection.GetInt32(message, &field));
    case Field::CPPTYPE_INT64: return std::to_string(reflection.GetInt64(message, &field));
    default: return reflection.GetString(message, &field);
  }
}

void Hide(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const Field& field = *message.GetDescriptor()->field(i);
    if (field.cpp_type() != Field::CPPTYPE_MESSAGE) {
      if (SettingOf(field).secret() && reflection.HasField(message, &field)) reflection.SetString(&message, &field, "(hidden)");
    } else if (field.is_repeated()) {
      for (int j = 0; j < reflection.FieldSize(message, &field); ++j) Hide(*reflection.MutableRepeatedMessage(&message, &field, j));
    } else if (reflection.HasField(message, &field)) {
      Hide(*reflection.MutableMessage(&message, &field));
    }
  }
}

void DumpSection(const Message& message, const std::string& path, int depth, std::string& out);

void DumpField(const Field& field, const Message& message, const std::string& path, int depth, std::string& out) {
  const Reflection& reflection = *message.GetReflection();
  if (field.is_repeated() && field.cpp_type() == Field::CPPTYPE_STRING) {
    const int size = reflection.FieldSize(message, &field);
    out += fmt::format("{}{}:{}\n", Indent(depth), field.name(), size == 0 ? " []" : "");
    for (int i = 0; i < size; ++i)
      out += fmt::format("{}- {}\n", Indent(depth + 1), Quoted(field, reflection.GetRepeatedString(message, &field, i)));
  } else if (field.is_repeated()) {
    const int size = reflection.FieldSize(message, &field);
    out += fmt::format("{}{}:{}\n", Indent(depth), field.name(), size == 0 ? " []" : "");
    for (int i = 0; i < size; ++i) {
      std::string entry;
      DumpSection(reflection.GetRepeatedMessage(message, &field, i), path, depth + 2, entry);
      const std::size_t lead = static_cast<std::size_t>(depth + 2) * 2;
      if (entry.size() > lead) entry[lead - 2] = '-';
      out += entry;
    }
  } else if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
    out += fmt::format("{}{}:\n", Indent(depth), field.name());
    DumpSection(reflection.GetMessage(message, &field), path, depth + 1, out);
  } else if (reflection.HasField(message, &field)) {
    const std::string value = ValueOf(field, message);
    const std::string by_default = DefaultOf(field, path);
    const bool changed = !SettingOf(field).required() && value != by_default;
    out += fmt::format("{}{}: {}{}\n", Indent(depth), field.name(), Quoted(field, value),
                       changed ? "  # default " + (by_default.empty() ? "empty" : by_default) : "");
  }
}

void DumpSection(const Message& message, const std::string& path, int depth, std::string& out) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const Field& field = *message.GetDescriptor()->field(i);
    DumpField(field, message, path.empty() ? field.name() : path + "." + field.name(), depth, out);
  }
}
}  // namespace

tollgate::v1::Config Redacted(tollgate::v1::Config config) {
  Hide(config);
  // Where a service takes its key in the query.
  for (auto& detector : *config.mutable_detectors()) {
    const std::size_t query = detector.url().find('?');
    if (query != std::string::npos) detector.mutable_url()->replace(query + 1, std::string::npos, "(hidden)");
  }
  return config;
}

std::string Dump(const tollgate::v1::Config& config) {
  std::string out;
  DumpSection(Redacted(config), "", 0, out);
  return out;
}

std::string Example() {
  std::string out =
      "# tollgate.yaml: the configuration of one Tollgate instance.\n"
      "# Lines behind a # show the default. `tollgate config check FILE` checks it, `tollgate config explain FIELD` says more.\n";
  for (const Entry& entry : AllFields()) {
    const int depth = entry.depth + (entry.path.starts_with("pool.models.") ? 1 : 0) +
                      (entry.path.starts_with("pool.models.upstream.endpoints.") || entry.path.starts_with("detectors.") ? 1 : 0);
    const std::string indent = Indent(depth);
    // The whole section: for another engine, or where somebody runs a detector.
    const bool optional = entry.path.starts_with("pool.models.upstream") || entry.path.starts_with("detectors");
    if (entry.depth == 0) out += "\n";
    out += Wrap(SettingOf(*entry.field).about(), indent + "# ", 120);
    if (entry.field->cpp_type() == Field::CPPTYPE_MESSAGE) {
      out += fmt::format("{}{}{}:\n", indent, optional ? "# " : "", entry.field->name());
      continue;
    }
    const std::string sample = SampleOf(entry.path);
    // A section whose lines are all comments would be empty, which the reader refuses: the first field of each stands in the clear.
    const bool first = entry.field->index() == 0;
    const std::string value =
        entry.field->is_repeated() ? "[]" : Quoted(*entry.field, sample.empty() ? DefaultOf(*entry.field, entry.path) : sample);
    std::string lead = indent;
    if (entry.path == "pool.models.name") lead = lead.substr(0, lead.size() - 2) + "- ";
    const bool opens = entry.path == "pool.models.upstream.endpoints.url" || entry.path == "detectors.name";
    const char* entry_mark = opens ? "- " : "";
    const bool clear = !optional && (first || !sample.empty());
    out += fmt::format("{}{}{}{}: {}\n", lead, clear ? "" : "# ", entry_mark, entry.field->name(), value);
  }
  return out;
}

absl::StatusOr<std::string> Explain(std::string_view field) {
  std::vector<std::string> paths;
  std::string out;
  for (const Entry& entry : AllFields()) {
    paths.push_back(entry.path);
    const bool it = entry.path == field;
    const bool inside = field.empty() ? entry.depth == 0 : entry.path.starts_with(std::string(field) + ".");
    if (!it && !inside) continue;
    out += fmt::format("{}\n", entry.path);
    out += Wrap(Facts(entry), "    ", 100);
    out += Wrap(SettingOf(*entry.field).about(), "    ", 100);
  }
  if (!out.empty()) return out;
  for (const std::string& path : paths) {
    if (path.ends_with("." + std::string(field))) out += (out.empty() ? "" : ", ") + path;
  }
  if (out.empty()) out = base::NearestWord(field, std::vector<std::string_view>(paths.begin(), paths.end()));
  const std::string hint = out.empty() ? "`tollgate config explain` alone lists the sections" : "did you mean " + out + "?";
  return base::NotFound(fmt::format("there is no field {}; {}", field, hint));
}

std::string ReferenceMarkdown() {
  std::string out;
  for (const Entry& entry : AllFields()) {
    const bool section = entry.field->cpp_type() == Field::CPPTYPE_MESSAGE;
    if (section) {
      out += fmt::format("\n### `{}`\n\n{}\n", entry.path, SettingOf(*entry.field).about());
      const bool only_sections = entry.field->message_type()->field(0)->cpp_type() == Field::CPPTYPE_MESSAGE &&
                                 !entry.field->message_type()->field(0)->is_repeated();
      if (!only_sections) out += "\n| field | value | meaning |\n|---|---|---|\n";
    } else if (entry.depth > 0) {
      out += fmt::format("| `{}` | {} | {} |\n", entry.path, Facts(entry), SettingOf(*entry.field).about());
    }
  }
  std::string top = "\n### The file itself\n\n| field | value | meaning |\n|---|---|---|\n";
  for (const Entry& entry : AllFields()) {
    if (entry.depth > 0 || entry.field->cpp_type() == Field::CPPTYPE_MESSAGE) continue;
    top += fmt::format("| `{}` | {} | {} |\n", entry.path, Facts(entry), SettingOf(*entry.field).about());
  }
  return top + out;
}

}  // namespace tollgate::config
