// Reader: a YAML document into a message by reflection, collecting what is wrong with it. Only for this room's files.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>

#include "gateway/config/config.h"
#include "gateway/config/schema.h"

namespace YAML {
class Node;
}

namespace tollgate::config {

struct Place {
  int line = 0;  // From 0, as yaml-cpp counts.
  int column = 0;
  auto operator<=>(const Place&) const = default;
};

// What a file is for: it decides who may read it, and what is said when it is not as it must be.
enum class FileKind { kPlain, kKey, kUrl, kPrivate };

class Reader {
 public:
  Reader(std::string name, std::string folder, Files files) : name_(std::move(name)), folder_(std::move(folder)), files_(files) {}

  // Reads `node` into `out`. `path` is the section's dotted path, empty for the whole.
  void ReadSection(const YAML::Node& node, std::string_view path, google::protobuf::Message& out);

  // Adds a problem at the field or section with this path, or the nearest section around it, which is then not sound.
  void Complain(std::string_view path, const std::string& problem);
  void ComplainAt(Place place, const std::string& problem);

  // Whether what was read at this path may be judged further: nothing of it, in it or around it was complained of.
  bool IsSound(std::string_view path) const;

  bool ok() const { return problems_.empty(); }
  std::vector<std::string> Problems() const;  // In the order of the file.

 private:
  void ReadField(const YAML::Node& node, const std::string& path, const Field& field, google::protobuf::Message& out);
  void ReadList(const YAML::Node& node, const std::string& path, const Field& field, google::protobuf::Message& out);
  void ReadNumber(const std::string& text, bool quoted, const std::string& path, const Field& field, google::protobuf::Message& out);
  std::optional<std::string> ReadText(std::string text, const std::string& path, const Field& field);
  bool ReadFiles(std::string& text, const std::string& path, const tollgate::v1::Setting& setting);
  bool ReadSecret(std::string& text, const std::string& path);
  std::string Resolve(const std::string& file) const;
  bool CheckFile(const std::string& file, const std::string& path, FileKind kind);
  bool CheckKey(const std::string& file, const std::string& path);
  bool CheckFilled(const std::string& file, const std::string& path);

  const std::string name_;
  const std::string folder_;
  const Files files_;
  std::map<std::string, Place, std::less<>> places_;
  struct Problem {
    Place place;
    std::string text;
  };
  std::vector<Problem> problems_;
  std::set<std::string, std::less<>> faulty_;  // Paths.
};

}  // namespace tollgate::config
