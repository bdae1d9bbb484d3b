// One pass over the YAML tree, the schema's descriptors beside it. Nothing stops at the first problem: whoever mends a file wants to see
// them all. Each path's place in the text is kept, so that checks between fields can name a line too.
//
// yaml-cpp keeps a repeated key of a map as two entries; both are seen here and the second is a problem (a reader that takes the first and
// one that takes the last would differ). Its exceptions end in config.cpp, which calls the parser; the calls here are on nodes whose kind
// was asked before, which do not throw.
//
// Tested by tests/gateway/config/config_test.cpp.
#include "gateway/config/reader.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <regex>
#include <set>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/nearest_word.h"
#include "base/secret_file.h"

namespace tollgate::config {
namespace {
Place PlaceOf(const YAML::Node& node) { return {std::max(node.Mark().line, 0), std::max(node.Mark().column, 0)}; }

std::vector<std::string_view> FieldNames(const Descriptor& type) {
  std::vector<std::string_view> names;
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  return names;
}

std::string Join(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

constexpr std::size_t kTextBytesMax = 4096;  // Of one value; std::regex recurses with its length.
constexpr std::size_t kKeyDigits = 64;
constexpr const char* kSampleUrl = "postgresql://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full";

std::string HowToMakeKey(const std::string& file) { return fmt::format("(umask 077; openssl rand -hex 32 > {})", file); }

// One of libpq's two forms, on one line: a URL, or words such as host=/run/postgresql dbname=tollgate.
bool IsPostgresUrl(std::string_view text) {
  if (text.find_first_of("\r\n") != std::string_view::npos) return false;
  if (text.starts_with("postgresql://") || text.starts_with("postgres://")) return true;
  const std::size_t word_end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  if (word_end == 0 || word_end == std::string_view::npos) return false;
  const std::size_t sign = text.find_first_not_of(' ', word_end);
  return sign != std::string_view::npos && text[sign] == '=';
}
}  // namespace

void Reader::ComplainAt(Place place, const std::string& problem) { problems_.push_back({place, problem}); }

std::vector<std::string> Reader::Problems() const {
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) { return a.place < b.place; });
  std::vector<std::string> out;
  for (const Problem& problem : sorted)
    out.push_back(fmt::format("{}:{}:{}: {}", name_, problem.place.line + 1, problem.place.column + 1, problem.text));
  return out;
}

bool Reader::IsSound(std::string_view path) const {
  const auto within = [](std::string_view inner, std::string_view outer) {
    return outer.empty() ||
           (inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '.' || inner[outer.size()] == '['));
  };
  return std::none_of(faulty_.begin(), faulty_.end(),
                      [&](const std::string& faulty) { return within(faulty, path) || within(path, faulty); });
}

void Reader::Complain(std::string_view path, const std::string& problem) {
  faulty_.emplace(path);
  std::string_view at = path;
  while (!at.empty() && !places_.contains(at)) {
    const std::size_t dot = at.find_last_of(".[");
    at = dot == std::string_view::npos ? std::string_view() : at.substr(0, dot);
  }
  const auto found = places_.find(at);
  ComplainAt(found == places_.end() ? Place() : found->second, problem);
}

void Reader::ReadSection(const YAML::Node& node, std::string_view path, google::protobuf::Message& out) {
  const Descriptor& type = *out.GetDescriptor();
  if (!node.IsMap()) {
    const std::string what = path.empty() ? "the file" : std::string(path);
    faulty_.emplace(path);
    ComplainAt(PlaceOf(node),
               fmt::format("{} must be a section of `name: value` lines with the fields {}", what, fmt::join(FieldNames(type), ", ")));
    return;
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) {
      ComplainAt(PlaceOf(entry.first), "a field's name must be a plain word");
      continue;
    }
    const std::string key = entry.first.Scalar();
    const std::string field_path = Join(path, key);
    const Field* field = type.FindFieldByName(key);
    if (field == nullptr) {
      const std::vector<std::string_view> known = FieldNames(type);
      const std::string_view near = base::NearestWord(key, known);
      const std::string hint = near.empty() ? fmt::format("known here: {}", fmt::join(known, ", ")) : fmt::format("did you mean {}?", near);
      ComplainAt(PlaceOf(entry.first), fmt::format("unknown field {}; {}", field_path, hint));
      if (!near.empty()) faulty_.insert(Join(path, near));  // It is there, under a wrong name.
      continue;
    }
    if (!seen.insert(key).second) {
      ComplainAt(PlaceOf(entry.first), fmt::format("{} is set twice; keep one", field_path));
      continue;
    }
    places_[field_path] = PlaceOf(entry.first);
    ReadField(entry.second, field_path, *field, out);
  }
}

void Reader::ReadField(const YAML::Node& node, const std::string& path, const Field& field, google::protobuf::Message& out) {
  if (field.is_repeated()) return ReadList(node, path, field, out);
  if (node.IsNull()) return Complain(path, fmt::format("{} has no value; give it one ({}) or remove the line", path, TypeWords(field)));
  if (field.cpp_type() == Field::CPPTYPE_MESSAGE) return ReadSection(node, path, *out.GetReflection()->MutableMessage(&out, &field));
  if (!node.IsScalar()) return Complain(path, fmt::format("{} must be one value: {}", path, TypeWords(field)));
  const bool quoted = node.Tag() == "!";
  if (field.cpp_type() == Field::CPPTYPE_STRING) {
    if (auto text = ReadText(node.Scalar(), path, field)) out.GetReflection()->SetString(&out, &field, *std::move(text));
    return;
  }
  if (field.cpp_type() != Field::CPPTYPE_BOOL) return ReadNumber(node.Scalar(), quoted, path, field, out);
  if (quoted || (node.Scalar() != "true" && node.Scalar() != "false")) {
    return Complain(path, fmt::format("{} must be true or false; it is \"{}\"", path, node.Scalar()));
  }
  out.GetReflection()->SetBool(&out, &field, node.Scalar() == "true");
}

void Reader::ReadList(const YAML::Node& node, const std::string& path, const Field& field, google::protobuf::Message& out) {
  if (node.IsNull()) return;
  if (!node.IsSequence()) return Complain(path, fmt::format("{} must be a list: one `- ` for each entry", path));
  for (std::size_t i = 0; i < node.size(); ++i) {
    const std::string entry_path = fmt::format("{}[{}]", path, i);
    places_[entry_path] = PlaceOf(node[i]);
    if (field.cpp_type() == Field::CPPTYPE_STRING) {
      if (!node[i].IsScalar()) {
        Complain(entry_path, fmt::format("{} must be one value: {}", entry_path, SettingOf(field).pattern_words()));
      } else if (auto text = ReadText(node[i].Scalar(), entry_path, field)) {
        out.GetReflection()->AddString(&out, &field, *std::move(text));
      }
      continue;
    }
    ReadSection(node[i], entry_path, *out.GetReflection()->AddMessage(&out, &field));
  }
}

void Reader::ReadNumber(const std::string& text, bool quoted, const std::string& path, const Field& field, google::protobuf::Message& out) {
  const tollgate::v1::Setting& setting = SettingOf(field);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (quoted || error == std::errc::invalid_argument || end != text.data() + text.size()) {
    return Complain(path, fmt::format("{} must be a whole number from {} to {}, written in digits alone; it is \"{}\"", path, setting.min(),
                                      setting.max(), text));
  }
  if (error != std::errc() || value < setting.min() || value > setting.max()) {
    return Complain(path, fmt::format("{} is {}; it must be from {} to {}", path, text, setting.min(), setting.max()));
  }
  if (field.cpp_type() == Field::CPPTYPE_INT32) return out.GetReflection()->SetInt32(&out, &field, static_cast<std::int32_t>(value));
  out.GetReflection()->SetInt64(&out, &field, value);
}

std::optional<std::string> Reader::ReadText(std::string text, const std::string& path, const Field& field) {
  const tollgate::v1::Setting& setting = SettingOf(field);
  const auto no = [&](const std::string& problem) { return Complain(path, problem), std::nullopt; };
  if (!base::IsValidUtf8(text) || text.find('\0') != std::string::npos) return no(fmt::format("{} is not plain UTF-8 text", path));
  if (text.size() > kTextBytesMax) return no(fmt::format("{} has {} bytes; at most {} are taken", path, text.size(), kTextBytesMax));
  if (setting.one_of_size() > 0 && std::find(setting.one_of().begin(), setting.one_of().end(), text) == setting.one_of().end()) {
    return no(fmt::format("{} is \"{}\"; it must be {}", path, text, fmt::join(setting.one_of(), " or ")));
  }
  if (!setting.pattern().empty() && !std::regex_match(text, std::regex(setting.pattern()))) {
    return no(fmt::format("{} is \"{}\"; it must be {}", path, text, setting.pattern_words()));
  }
  if (setting.required() && text.empty()) return no(fmt::format("{} is empty; {}", path, setting.about()));
  if (!ReadFiles(text, path, setting)) return std::nullopt;
  return text;
}

// What stands in a file, or names one.
bool Reader::ReadFiles(std::string& text, const std::string& path, const tollgate::v1::Setting& setting) {
  if (setting.secret() && !ReadSecret(text, path)) return false;
  if ((setting.file() || setting.path()) && !text.empty()) text = Resolve(text);
  if (!setting.file() || files_ != Files::kAll) return true;
  const FileKind kind = setting.secret_file() ? FileKind::kKey : setting.private_file() ? FileKind::kPrivate : FileKind::kPlain;
  if (!CheckFile(text, path, kind)) return false;
  return kind == FileKind::kKey ? CheckKey(text, path) : kind != FileKind::kPrivate || CheckFilled(text, path);
}

bool Reader::ReadSecret(std::string& text, const std::string& path) {
  std::string where = path;
  if (text.starts_with("file:")) {
    where = Resolve(text.substr(5));
    if (!CheckFile(where, path, FileKind::kUrl)) return false;
    auto read = base::ReadFile(where);
    if (!read.ok()) return Complain(path, base::Message(read.status())), false;
    text = *read;
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  } else if (text.starts_with("env:")) {
    where = "the environment's " + text.substr(4);
    const char* value = std::getenv(text.substr(4).c_str());
    if (value == nullptr || *value == '\0') {
      return Complain(path, fmt::format("the environment has no {}; set it, or write file:PATH", text.substr(4))), false;
    }
    text = value;
  } else {
    static const std::regex clear_password("://[^/@]*:[^/@]+@|(^|[ ?&])password *=");
    if (std::regex_search(text, clear_password)) {
      Complain(path, fmt::format("{} holds a password in the clear; put the whole URL into a file that only Tollgate reads and write "
                                 "file:PATH here",
                                 path));
      return false;
    }
  }
  if (IsPostgresUrl(text)) return true;
  return Complain(path, fmt::format("{} holds no URL of a Postgres database; write one such as {}, and nothing else", where, kSampleUrl)),
         false;
}

std::string Reader::Resolve(const std::string& file) const {
  const std::filesystem::path given(file);
  return given.is_absolute() || folder_.empty() ? file : (std::filesystem::path(folder_) / given).lexically_normal().string();
}

bool Reader::CheckFile(const std::string& file, const std::string& path, FileKind kind) {
  const auto complain = [&](const std::string& what) {
    return Complain(path, fmt::format("{} names {}, which {}", path, file, what)), false;
  };
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) {
    std::string remedy = "correct the path";
    if (kind == FileKind::kKey) remedy += fmt::format(", or make the file: {}", HowToMakeKey(file));
    if (kind == FileKind::kUrl) remedy += fmt::format(", or make the file and write the database's URL into it, such as {}", kSampleUrl);
    return complain(fmt::format("{}; {}", errno == ENOENT ? "does not exist" : std::strerror(errno), remedy));
  }
  if (!S_ISREG(info.st_mode)) return complain("is not a file");
  if (::access(file.c_str(), R_OK) != 0) return complain("this user may not read; give it to the user that runs Tollgate");
  if (kind == FileKind::kPlain) return true;
  const std::string fault =
      base::SecretFileFault(file, kind == FileKind::kUrl ? base::SecretReaders::kAnyGroup : base::SecretReaders::kByRule);
  return fault.empty() || complain(fault);
}

bool Reader::CheckFilled(const std::string& file, const std::string& path) {
  auto text = base::ReadFile(file);
  if (!text.ok()) return Complain(path, base::Message(text.status())), false;
  const bool empty = text->find_first_not_of(" \t\r\n") == std::string::npos;
  base::Wipe(*text);
  if (empty) Complain(path, fmt::format("{} names {}, which is empty; write the secret into it", path, file));
  return !empty;
}

bool Reader::CheckKey(const std::string& file, const std::string& path) {
  auto text = base::ReadFile(file);
  if (!text.ok()) return Complain(path, base::Message(text.status())), false;
  std::size_t digits = 0;
  bool good = true;
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t end = std::min(text->find('\n', at), text->size());
    const std::string_view line = std::string_view(*text).substr(at, end - at);
    at = end + 1;
    if (line.starts_with('#')) continue;
    for (const char c : line) {
      digits += std::isxdigit(static_cast<unsigned char>(c)) ? 1 : 0;
      good = good && (std::isxdigit(static_cast<unsigned char>(c)) || std::isspace(static_cast<unsigned char>(c)));
    }
  }
  base::Wipe(*text);
  if (good && digits == kKeyDigits) return true;
  Complain(path, fmt::format("{} names {}, which does not hold 64 hexadecimal digits; make the file: {}", path, file, HowToMakeKey(file)));
  return false;
}

}  // namespace tollgate::config
