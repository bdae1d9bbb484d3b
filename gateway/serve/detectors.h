// External detectors as the configuration lists them. Reads files.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/detectors/external_detectors.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::serve {

// Whether what a detector is asked, and its secret, leave this machine unencrypted.
bool GoesInClear(std::string_view url);

// Warns of detectors that are asked in clear beyond this machine. FAILED_PRECONDITION names the setting and the remedy: a bearer file that
// others may read, or that is empty.
absl::StatusOr<std::vector<detectors::DetectorOptions>> DetectorsFrom(const tollgate::v1::Config& config);

}  // namespace tollgate::serve
