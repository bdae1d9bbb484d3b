// The sample company's policies, as the build embedded them: policy/samples/acme.yaml and batch.yaml. Room-internal.
#pragma once

#include <span>
#include <string_view>

namespace tollgate::dev {

struct SamplePolicy {
  std::string_view name;
  std::string_view yaml;
};
std::span<const SamplePolicy> SamplePolicies();

}  // namespace tollgate::dev
