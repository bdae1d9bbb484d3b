// The documents are first gone through as events, which ends at the second that holds something, and then the first is built. The library's
// own LoadAll never returns where a text holds what begins no document: it stays there, and every document that it makes of it is empty.
//
// Tested by tests/base/yaml_documents_test.cpp.
#include "base/yaml_documents.h"

#include <sstream>
#include <utility>
#include <vector>

#include <yaml-cpp/eventhandler.h>

namespace tollgate::base {
namespace {

// Where documents begin that hold something. Builds nothing of them.
class Beginnings final : public YAML::EventHandler {
 public:
  explicit Beginnings(std::size_t values_max) : values_max_(values_max) {}
  std::vector<YAML::Mark> found;
  YAML::Mark begin;  // Of the document that is read.

  void OnDocumentStart(const YAML::Mark& mark) override {
    begin = mark;
    holds_ = false;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Hold(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override { Hold(mark); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { Hold(mark); }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { Hold(mark); }
  void OnMapEnd() override {}

 private:
  void Hold(const YAML::Mark& mark) {
    if (!std::exchange(holds_, true)) found.push_back(begin);
    Count(mark);
  }
  void Count(const YAML::Mark& mark) {
    if (values_++ == values_max_) throw TooManyValues(mark, "more than " + std::to_string(values_max_) + " values in one document");
  }
  const std::size_t values_max_;
  std::size_t values_ = 0;
  bool holds_ = false;
};

// With blanks for what stands before the mark: places stay what they are.
std::string Blanked(std::string text, const YAML::Mark& until) {
  int line = 0, column = 0;
  for (char& c : text) {
    if (line == until.line && column == until.column) break;
    column = c == '\n' ? 0 : column + 1;
    c == '\n' ? ++line : c = ' ';
  }
  return text;
}

}  // namespace

YamlDocuments ReadYaml(const std::string& text, std::size_t values_max) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  Beginnings documents(values_max);
  for (int before = -1; documents.found.size() < 2 && parser.HandleNextDocument(documents); before = documents.begin.pos) {
    // At what begins no document the library stays where it is, for ever.
    if (documents.begin.pos == before) throw YAML::ParserException(documents.begin, "nothing can begin here");
  }
  YamlDocuments out;
  if (!documents.found.empty()) out.first = YAML::Load(Blanked(text, documents.found[0]));
  if (documents.found.size() > 1) out.second = documents.found[1];
  return out;
}

}  // namespace tollgate::base
