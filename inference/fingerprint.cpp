// In plain words, so that no two models have one; adapters by name, whatever the order in which they were loaded.
//
// Tested by tests/inference/adapter_pool_test.cpp.
#include "inference/fingerprint.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::inference {

std::string FingerprintOf(const ModelInfo& model) {
  std::vector<std::string> adapters;
  for (const AdapterInfo& adapter : model.adapters)
    adapters.push_back(fmt::format("|{}={}*{}", adapter.name, base::HexEncode(base::View(adapter.sha256)), adapter.scale));
  std::sort(adapters.begin(), adapters.end());
  std::string out = base::HexEncode(base::View(model.sha256));
  for (const std::string& adapter : adapters) out += adapter;
  return out;
}

}  // namespace tollgate::inference
