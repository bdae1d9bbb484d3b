// The same patterns in Vectorscan, block mode: ends of matches, no spans. Where libvectorscan-dev is not installed, nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace tollgate::bench {

class Vectorscan {
 public:
  virtual ~Vectorscan() = default;
  virtual std::size_t patterns() const = 0;                     // Those that it takes.
  virtual std::size_t Scan(const std::string& text) const = 0;  // How many ends it tells.
};

std::unique_ptr<Vectorscan> MakeVectorscan(const std::vector<std::string>& regexes);  // Null: not installed.

}  // namespace tollgate::bench
