// One command line, run in this process, with what it printed.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "gateway/cli/cli.h"

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

inline Result RunLine(const std::vector<std::string>& args, const std::string& input = "", tollgate::cli::Programs programs = {},
                      bool terminal = false) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  if (programs.version.empty()) programs.version = "test";
  Result result;
  result.code = tollgate::cli::Run(args, programs, {in, out, err, false, terminal, terminal});
  result.out = out.str();
  result.err = err.str();
  return result;
}
