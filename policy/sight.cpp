// Masks of roles and parts, and a list of names.
//
// Tested by tests/policy/sight_test.cpp.
#include "policy/sight.h"

#include <algorithm>

namespace tollgate::policy {
namespace {

bool Has(const std::vector<std::string>& tools, const std::string& tool) {
  return tools.empty() || std::find(tools.begin(), tools.end(), tool) != tools.end();
}

Part PartOf(Role role, const Channel& channel) { return role == Role::kTool ? Part::kToolResult : channel.part; }

}  // namespace

const char* PartName(Part part) {
  static constexpr const char* kNames[] = {"text", "reasoning", "tool_definitions", "tool_calls", "tool_results"};
  return kNames[static_cast<std::size_t>(part)];
}

bool Sight::Sees(Role role, const Channel& channel) const {
  const Part part = PartOf(role, channel);
  const bool anyones = part == Part::kToolResult && channel.tool.empty();
  return SeesRole(role) && SeesPart(part) && (anyones || Has(tools, channel.tool));
}

bool Sight::SeesSurely(Role role, const Channel& channel) const {
  return SeesRole(role) && SeesPart(PartOf(role, channel)) && Has(tools, channel.tool);
}

bool Sight::Holds(const Sight& narrow) const {
  const bool all_tools = tools.empty() || (!narrow.tools.empty() && std::all_of(narrow.tools.begin(), narrow.tools.end(),
                                                                                [&](const std::string& tool) { return Has(tools, tool); }));
  return (narrow.roles & 0xF & ~roles) == 0 && (narrow.parts & 0x1F & ~parts) == 0 && all_tools;
}

}  // namespace tollgate::policy
