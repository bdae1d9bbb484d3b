// The sample company's policy, policy/samples/acme.yaml, as the build embedded it. Room-internal.
#pragma once

#include <string_view>

namespace tollgate::dev {

std::string_view SamplePolicy();

}  // namespace tollgate::dev
