// Sight: which texts of a call a rule looks at. A value; pure.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/verdict.h"

namespace tollgate::policy {

struct Sight {
  std::uint8_t roles = 0xFF;       // Bit 1 << Role.
  std::uint8_t parts = 0xFF;       // Bit 1 << Part.
  std::vector<std::string> tools;  // Empty: all, and what is no tool's.

  // A result of a tool that is not known counts as every tool's.
  bool Sees(Role role, const Channel& channel) const;
  // For what exempts: it counts as no tool's.
  bool SeesSurely(Role role, const Channel& channel) const;
  bool Holds(const Sight& narrow) const;  // All that `narrow` sees.
  bool SeesRole(Role role) const { return (roles & (1u << static_cast<unsigned>(role))) != 0; }
  bool SeesPart(Part part) const { return (parts & (1u << static_cast<unsigned>(part))) != 0; }
  auto operator<=>(const Sight&) const = default;
};

}  // namespace tollgate::policy
