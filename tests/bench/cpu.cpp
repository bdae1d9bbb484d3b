#include "tests/bench/cpu.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <unistd.h>

namespace tollgate::bench {
namespace {

struct Stat {
  std::string name;
  int parent = 0;
  double seconds = 0;
};

bool Read(const std::string& path, Stat& out) {
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) return false;
  const auto begin = text.find('('), end = text.rfind(')');
  if (end == std::string::npos) return false;
  out.name = text.substr(begin + 1, end - begin - 1);
  std::istringstream rest(text.substr(end + 2));
  std::string word;
  double ticks = 0;
  for (int field = 3; field <= 15 && rest >> word; ++field) {
    if (field == 4) out.parent = std::atoi(word.c_str());
    if (field >= 14) ticks += std::atof(word.c_str());
  }
  out.seconds = ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return true;
}

}  // namespace

std::map<std::string, double> CpuSeconds() {
  std::map<int, Stat> all;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (Stat stat; pid > 0 && Read(entry.path() / "stat", stat)) all[pid] = stat;
  }
  std::map<std::string, double> out;
  const int self = ::getpid();
  for (const auto& [pid, stat] : all) {
    int at = pid;
    for (int steps = 0; at != self && at > 1 && steps < 8; ++steps) at = all.contains(at) ? all[at].parent : 0;
    if (at == self) out[pid == self ? "load" : stat.name] += stat.seconds;
  }
  return out;
}

std::map<std::string, double> CpuSince::Used() const {
  std::map<std::string, double> used = CpuSeconds();
  for (const auto& [name, seconds] : before) used[name] -= seconds;
  return used;
}

double Total(const std::map<std::string, double>& seconds) {
  double sum = 0;
  for (const auto& [name, part] : seconds) sum += part;
  return sum;
}

}  // namespace tollgate::bench
