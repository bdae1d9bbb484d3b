// A thin layer over yaml-cpp: mappings with known fields only, and errors that name line and column. Inside policy/ only.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "base/status.h"
#include "policy/budget.h"

namespace tollgate::policy {

// May throw YAML::Exception; whoever owns the outermost call catches it.
class YamlReader {
 public:
  // What is read is taken from `budget`.
  YamlReader(std::string source, Budget& budget) : source_(std::move(source)), budget_(budget) {}
  Budget& budget() const { return budget_; }

  // What the nodes stand in, which must live as long as they are asked about.
  void ReadFrom(std::string_view text);
  bool IsBlock(const YAML::Node& scalar) const;  // Written as one, behind | or >.

  absl::Status Wrong(const YAML::Node& at, std::string_view what) const;
  absl::Status Wrong(const YAML::Mark& at, std::string_view what) const;

  // Refuses anything but a mapping, unknown fields (with the nearest known one) and fields given twice. `what` names it: "a rule".
  using Fields = std::map<std::string, YAML::Node>;
  absl::StatusOr<Fields> Map(const YAML::Node& node, std::string_view what, std::initializer_list<std::string_view> known) const;

  // INVALID_ARGUMENT of the budget, with the place.
  absl::Status Taken(const YAML::Node& at, const absl::Status& taken) const;

  absl::StatusOr<std::string> Text(const YAML::Node& node, std::string_view field) const;  // Any scalar but null, valid UTF-8.
  absl::StatusOr<std::vector<std::string>> Texts(const YAML::Node& node, std::string_view field) const;  // A scalar or a list of them.
  absl::StatusOr<bool> Bool(const YAML::Node& node, std::string_view field) const;
  absl::StatusOr<std::int64_t> Int(const YAML::Node& node, std::string_view field, std::int64_t least, std::int64_t most) const;

  // The index of the scalar in `words`; the error lists them.
  absl::StatusOr<std::size_t> OneOf(const YAML::Node& node, std::string_view field, const std::vector<std::string_view>& words) const;

 private:
  std::string source_;
  Budget& budget_;
  std::string_view text_;
};

}  // namespace tollgate::policy
