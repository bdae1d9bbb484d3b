// A transfer: brings what a part still lacks from a server, over HTTP(S) or from S3.
#pragma once

#include <string>

#include "base/status.h"
#include "gateway/fetch/fetch.h"
#include "gateway/fetch/part.h"

namespace tollgate::fetch {

bool IsUrl(const std::string& source);

// The source as it may be shown: a URL's user and query can be credentials, as they are in presigned ones.
std::string Shown(const std::string& source);

// OK: the server has nothing to add. The statuses are Fetch's.
absl::Status Transfer(const FetchOptions& options, Part& part);

}  // namespace tollgate::fetch
