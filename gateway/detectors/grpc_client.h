// A client of detectors that speak gRPC, in the form of one of HTTP: what is posted to it goes as a call of tollgate.v1.Detector, what
// comes back is the answer's JSON with status 200, or what a status of gRPC's would be over HTTP. So all that waits, counts and gives up is
// written once.
#pragma once

#include <memory>
#include <string>

#include "base/http_client.h"
#include "base/status.h"

namespace tollgate::detectors {

// "grpc://HOST:PORT", or "grpcs://HOST:PORT" with TLS.
bool IsGrpcUrl(const std::string& url);

// For this one URL: those of requests are not looked at. Errors as base::HttpClient::Create. An answer has at most `answer_bytes_max`.
absl::StatusOr<std::unique_ptr<base::HttpClient>> MakeGrpcClient(const std::string& url, const base::HttpClientOptions& options,
                                                                 std::size_t answer_bytes_max);

}  // namespace tollgate::detectors
