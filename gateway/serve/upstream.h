// The servers that run a model, from the configuration.
#pragma once

#include <string>

#include "base/status.h"
#include "inference/upstream.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::serve {

// Reads the secret that goes with requests. FAILED_PRECONDITION, naming the file: it cannot be read, is empty, or others may read it too.
absl::StatusOr<inference::UpstreamOptions> UpstreamFrom(const tollgate::v1::Config::Model& model, const std::string& salt_key);

// The secret in the file that `setting` names, without the white space at its end; empty for no file. Errors as above.
absl::StatusOr<std::string> ReadBearer(std::string_view setting, const std::string& file);

}  // namespace tollgate::serve
