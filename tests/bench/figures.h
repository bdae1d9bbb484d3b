// What benchmarks print, and how they judge what they measured: `name value unit` a line, medians of interleaved runs, and the spread.
#pragma once

#include <string>
#include <vector>

namespace tollgate::bench {

double Median(std::vector<double> values);  // 0 for none.
double Quantile(const std::vector<double>& sorted, double share);
// Distance of the quartiles as a share of the median, in percent. Above 15, a figure is unstable.
double SpreadPercent(std::vector<double> values);

void Print(const std::string& name, double value, const char* unit, int digits = 2);
// The median, its spread, and `unstable` where it is.
void PrintMedian(const std::string& name, const std::vector<double>& values, const char* unit, int digits = 2);

double FromEnvironment(const char* name, double otherwise);
[[noreturn]] void Fail(const std::string& why);  // On standard error.

}  // namespace tollgate::bench
