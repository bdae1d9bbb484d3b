// The shorter of two ways to the running program, from the root and from where the user stands, quoted as a shell wants it.
//
// Tested by tests/gateway/dev/banner_test.cpp.
#include "gateway/dev/program_line.h"

#include <filesystem>

#include "gateway/cli/cli.h"

namespace tollgate::dev {
namespace fs = std::filesystem;
namespace {
// As a shell takes it for one word.
std::string OneWord(const std::string& text) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,@";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}
}  // namespace

std::string ProgramLine(const std::string& folder) {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path near = fs::relative(self, error);
  const bool shorter = !error && near.string().size() < self.string().size() && !near.string().starts_with("../..");
  const std::string program = shorter ? near.string() : self.string();
  return OneWord(program) + (folder == cli::DevCommand().folder ? "" : " --folder " + OneWord(folder));
}

}  // namespace tollgate::dev
