// Processor time of this process and all that it started, by program: a figure that other load on the machine hardly moves.
#pragma once

#include <map>
#include <string>

namespace tollgate::bench {

// Seconds so far, by name of the program: "tollgate", "postgres"; this process counts as "load".
std::map<std::string, double> CpuSeconds();

// What was used since, all programs together and by name.
struct CpuSince {
  std::map<std::string, double> before = CpuSeconds();
  std::map<std::string, double> Used() const;
};
double Total(const std::map<std::string, double>& seconds);

}  // namespace tollgate::bench
