// The compiler knows a policy by its name; whoever mends it knows its file. Places are told apart from other words by the line's number
// behind the name, or the path of an included file.
//
// Tested by tests/gateway/cli/policy_text_test.cpp.
#include "gateway/cli/policy_text.h"

#include <cctype>
#include <sstream>

namespace tollgate::cli {
namespace {

// Where `line` names a place in the policy; npos: nowhere.
std::size_t PlaceIn(const std::string& line, const std::string& name) {
  for (std::size_t at = line.find(name); at != std::string::npos; at = line.find(name, at + 1)) {
    const bool begins = at == 0 || (at >= 2 && line.compare(at - 2, 2, ": ") == 0);
    const std::string_view rest = std::string_view(line).substr(at + name.size());
    const bool place = rest.starts_with('/') || (rest.size() > 1 && rest[0] == ':' && std::isdigit(static_cast<unsigned char>(rest[1])));
    if (begins && place) return at;
  }
  return std::string::npos;
}

}  // namespace

std::string PathOf(const std::string& called, const std::string& name, const std::string& file) {
  if (called == name) return file == "-" ? "standard input" : file;
  return called.starts_with(name + "/") ? file.substr(0, file.rfind('/') + 1) + called.substr(name.size() + 1) : called;  // None = 0.
}

std::string ToldOfFile(const std::string& told, const std::string& name, const std::string& file) {
  if (name.empty() || file.empty()) return told;
  std::istringstream lines(told);
  std::string out;
  bool named = false;
  for (std::string line; std::getline(lines, line);) {
    if (const std::size_t at = PlaceIn(line, name); at != std::string::npos) {
      const std::size_t end = line.find(':', at + name.size());
      line = line.substr(0, at) + PathOf(line.substr(at, end - at), name, file) + (end == std::string::npos ? "" : line.substr(end));
      named = true;
    }
    out += (out.empty() ? "" : "\n") + line;
  }
  return named ? fmt::format("{} is refused:\n{}", PathOf(name, name, file), out) : told;
}

}  // namespace tollgate::cli
