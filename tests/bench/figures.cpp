#include "tests/bench/figures.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace tollgate::bench {

double Quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return Quantile(values, 0.5);
}

double SpreadPercent(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double median = Quantile(values, 0.5);
  return median == 0 ? 0 : 100 * (Quantile(values, 0.75) - Quantile(values, 0.25)) / median;
}

void Print(const std::string& name, double value, const char* unit, int digits) {
  fmt::print("{} {:.{}f} {}\n", name, value, digits, unit);
  std::fflush(stdout);
}

void PrintMedian(const std::string& name, const std::vector<double>& values, const char* unit, int digits) {
  const double spread = SpreadPercent(values);
  fmt::print("{} {:.{}f} {} spread {:.0f}%{}\n", name, Median(values), digits, unit, spread, spread > 15 ? " unstable" : "");
  std::fflush(stdout);
}

double FromEnvironment(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atof(text) : otherwise;
}

void Fail(const std::string& why) {
  fmt::print(stderr, "benchmark: {}\n", why);
  std::exit(1);
}

}  // namespace tollgate::bench
